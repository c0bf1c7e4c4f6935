// SPDX-License-Identifier: Apache-2.0
// Gather and pad (copy.h).
#include <algorithm>
#include <cstring>

#include "exec/cpu/simd/copy.h"

namespace onnxtool::simd {

namespace {

// kBytes: run length known at compile time, or 0.
template <int64_t kBytes, class Index>
int64_t gather_run(const char* src, const Index* idx, char* dst, int64_t axis, int64_t count,
                   int64_t run, int64_t begin, int64_t end) {
  constexpr int64_t kAhead = 8;
  const int64_t bytes = kBytes != 0 ? kBytes : run;
  int64_t bad = 0;
  for (int64_t r = begin; r < end;) {
    const int64_t o = r / count, k0 = r % count, k1 = std::min(count, k0 + end - r);
    const char* base = src + o * axis * bytes;
    for (int64_t k = k0; k < k1; ++k, ++r) {
      if (kBytes == 0 && k + kAhead < k1) {
        const int64_t next = static_cast<int64_t>(idx[k + kAhead]);
        if (next >= 0 && next < axis) __builtin_prefetch(base + next * bytes);
      }
      int64_t i = static_cast<int64_t>(idx[k]);
      if (i < 0) i += axis;
      if (i < 0 || i >= axis) {
        std::memset(dst + r * bytes, 0, static_cast<size_t>(bytes));
        ++bad;
        continue;
      }
      std::memcpy(dst + r * bytes, base + i * bytes, static_cast<size_t>(bytes));
    }
  }
  return bad;
}

template <class Index>
int64_t gather(const void* src, const Index* idx, void* dst, int64_t axis, int64_t count,
               int64_t run, int64_t begin, int64_t end) {
  const char* s = static_cast<const char*>(src);
  char* d = static_cast<char*>(dst);
  switch (run) {
    case 1: return gather_run<1>(s, idx, d, axis, count, run, begin, end);
    case 2: return gather_run<2>(s, idx, d, axis, count, run, begin, end);
    case 4: return gather_run<4>(s, idx, d, axis, count, run, begin, end);
    case 8: return gather_run<8>(s, idx, d, axis, count, run, begin, end);
    default: return gather_run<0>(s, idx, d, axis, count, run, begin, end);
  }
}

}  // namespace

int64_t gather_i32(const void* src, const int32_t* idx, void* dst, int64_t axis, int64_t count,
                   int64_t run_bytes, int64_t begin, int64_t end) {
  return gather(src, idx, dst, axis, count, run_bytes, begin, end);
}
int64_t gather_i64(const void* src, const int64_t* idx, void* dst, int64_t axis, int64_t count,
                   int64_t run_bytes, int64_t begin, int64_t end) {
  return gather(src, idx, dst, axis, count, run_bytes, begin, end);
}

bool plan_pad(std::span<const int64_t> in_dims, std::span<const int64_t> before,
              std::span<const int64_t> after, PadMode mode, int elem_size, PadPlan* plan) {
  *plan = PadPlan();
  if (elem_size != 1 && elem_size != 2 && elem_size != 4 && elem_size != 8 && elem_size != 16)
    return false;
  if (before.size() != in_dims.size() || after.size() != in_dims.size()) return false;
  plan->elem_size = elem_size;
  plan->mode = mode;
  // Innermost first: [0] is the row, the others follow.
  int64_t in[kMaxRank + 1] = {1}, out[kMaxRank + 1] = {1}, lead[kMaxRank + 1] = {0};
  bool plain[kMaxRank + 1] = {true};
  int n = 1;
  for (size_t d = in_dims.size(); d-- > 0;) {
    const int64_t extent = in_dims[d] + before[d] + after[d];
    if (extent < 0) return false;
    if (mode != PadMode::kConstant && in_dims[d] == 0 && extent > 0) return false;
    // What one end crops, the other must not repeat.
    if (mode != PadMode::kConstant && std::min(before[d], after[d]) < 0 &&
        std::max(before[d], after[d]) > 0)
      return false;
    const bool same = before[d] == 0 && after[d] == 0;
    // A dim joins an unpadded one inside it; modes that look at coordinates only when unpadded too.
    if (plain[n - 1] && (same || mode == PadMode::kConstant || (n == 1 && in[0] == 1))) {
      const int64_t unit = in[n - 1];
      in[n - 1] = in_dims[d] * unit;
      out[n - 1] = extent * unit;
      lead[n - 1] = before[d] * unit;
      plain[n - 1] = same;
      continue;
    }
    if (n == kMaxRank + 1) return false;
    in[n] = in_dims[d];
    out[n] = extent;
    lead[n] = before[d];
    plain[n] = same;
    ++n;
  }
  plan->in_cols = in[0];
  plan->out_cols = out[0];
  plan->before_cols = lead[0];
  plan->rank = n - 1;
  for (int d = 0; d < plan->rank; ++d) {
    plan->in_dims[d] = in[n - 1 - d];
    plan->out_dims[d] = out[n - 1 - d];
    plan->before[d] = lead[n - 1 - d];
    plan->rows *= plan->out_dims[d];
  }
  return true;
}

namespace {

// Where position i outside [0, n) reads from; -1: the constant.
int64_t mirror(PadMode mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::kConstant: return -1;
    case PadMode::kEdge: return i < 0 ? 0 : n - 1;
    case PadMode::kWrap: return (i % n + n) % n;
    default: {
      if (n == 1) return 0;
      const int64_t period = 2 * (n - 1), r = (i % period + period) % period;
      return r < n ? r : period - r;
    }
  }
}

}  // namespace

void pad_run(const PadPlan& p, const void* src, void* dst, const void* value, int64_t begin,
             int64_t end) {
  const int64_t elem = p.elem_size;
  // Output columns [low, high) are copied from input columns from low - before on.
  const int64_t low = std::clamp<int64_t>(p.before_cols, 0, p.out_cols);
  const int64_t high = std::clamp<int64_t>(p.before_cols + p.in_cols, low, p.out_cols);
  for (int64_t row = begin; row < end; ++row) {
    char* out = static_cast<char*>(dst) + row * p.out_cols * elem;
    int64_t at = row, from = 0, step = 1;
    for (int d = p.rank - 1; d >= 0 && from >= 0; --d) {
      const int64_t i = mirror(p.mode, at % p.out_dims[d] - p.before[d], p.in_dims[d]);
      at /= p.out_dims[d];
      from = i < 0 ? -1 : from + i * step;
      step *= p.in_dims[d];
    }
    if (from < 0) {
      fill(out, value, p.elem_size, p.out_cols);
      continue;
    }
    const char* in = static_cast<const char*>(src) + from * p.in_cols * elem;
    if (p.mode == PadMode::kConstant) {
      fill(out, value, p.elem_size, low);
      fill(out + high * elem, value, p.elem_size, p.out_cols - high);
    } else {
      const auto edge = [&](int64_t j) {
        const int64_t i = mirror(p.mode, j - p.before_cols, p.in_cols);
        std::memcpy(out + j * elem, in + i * elem, static_cast<size_t>(elem));
      };
      for (int64_t j = 0; j < low; ++j) edge(j);
      for (int64_t j = high; j < p.out_cols; ++j) edge(j);
    }
    if (high > low)
      std::memcpy(out + low * elem, in + (low - p.before_cols) * elem,
                  static_cast<size_t>((high - low) * elem));
  }
}

}  // namespace onnxtool::simd
