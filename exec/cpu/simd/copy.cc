// SPDX-License-Identifier: Apache-2.0
// Strided copies and transposes (copy.h): planning and the loops over outer dims.
#include "exec/cpu/simd/copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "exec/cpu/simd/transpose.h"

namespace onnxtool::simd {

namespace {

constexpr int64_t kItemBytes = 64 << 10;  // what one item should move, about

struct Dim {
  int64_t extent, src, dst;
};

// Outermost first. Rank after merging is at most kMaxRank outer + 2 inner.
struct Dims {
  int n = 0;
  bool overflow = false;
  Dim d[kMaxRank + 2];

  // Appends a dim inside the others, joining the last where both strides allow.
  void push(Dim x) {
    if (x.extent == 1) return;
    if (n > 0 && d[n - 1].src == x.src * x.extent && d[n - 1].dst == x.dst * x.extent) {
      d[n - 1] = {d[n - 1].extent * x.extent, x.src, x.dst};
      return;
    }
    if (n == kMaxRank + 2) {
      overflow = true;
      return;
    }
    d[n++] = x;
  }
  Dim take(int i) {
    const Dim x = d[i];
    for (int k = i; k + 1 < n; ++k) d[k] = d[k + 1];
    --n;
    return x;
  }
};

bool supported(int elem_size) {
  return elem_size == 1 || elem_size == 2 || elem_size == 4 || elem_size == 8 || elem_size == 16;
}

// A short dense run becomes one wider element where every other stride is a multiple of it.
void widen(Dims* dims, int* elem_size) {
  while (dims->n > 1) {
    const Dim in = dims->d[dims->n - 1];
    if (in.src != 1 || in.dst != 1) return;
    int64_t take = in.extent;  // the whole run, or nothing
    if (take > 16 / *elem_size || !supported(static_cast<int>(take) * *elem_size)) return;
    for (int i = 0; i + 1 < dims->n; ++i)
      if (dims->d[i].src % take != 0 || dims->d[i].dst % take != 0) return;
    --dims->n;
    for (int i = 0; i < dims->n; ++i) {
      dims->d[i].src /= take;
      dims->d[i].dst /= take;
    }
    *elem_size *= static_cast<int>(take);
  }
}

bool finish(Dims dims, int elem_size, CopyPlan* plan) {
  *plan = CopyPlan();
  if (dims.overflow) return false;
  // The dim that is dense in dst goes innermost (stable among the rest).
  std::stable_sort(dims.d, dims.d + dims.n, [](const Dim& a, const Dim& b) {
    return std::llabs(a.dst) > std::llabs(b.dst);
  });
  Dims merged;
  for (int i = 0; i < dims.n; ++i) merged.push(dims.d[i]);
  widen(&merged, &elem_size);
  plan->elem_size = elem_size;

  Dim inner = {1, 1, 1};
  if (merged.n > 0) inner = merged.take(merged.n - 1);
  plan->cols = inner.extent;
  plan->src_col = inner.src;
  plan->dst_col = inner.dst;
  plan->kind = inner.dst != 1   ? CopyPlan::kStrided
               : inner.src == 1 ? CopyPlan::kRun
               : inner.src == 0 ? CopyPlan::kFill
                                : CopyPlan::kStrided;
  if (inner.dst == 1 && plan->kind == CopyPlan::kStrided) {
    for (int i = merged.n; i-- > 0;) {
      if (merged.d[i].src != 1) continue;
      const Dim row = merged.take(i);
      plan->kind = CopyPlan::kTranspose;
      plan->rows = row.extent;
      plan->dst_row = row.dst;
      break;
    }
  }
  if (merged.n > kMaxRank) return false;
  plan->rank = merged.n;
  int64_t outer = 1;
  for (int i = 0; i < merged.n; ++i) {
    plan->dims[i] = merged.d[i].extent;
    plan->src[i] = merged.d[i].src;
    plan->dst[i] = merged.d[i].dst;
    outer *= merged.d[i].extent;
  }
  const bool tile = plan->kind == CopyPlan::kTranspose;
  const int64_t split = tile ? plan->rows : plan->cols;  // the loop that is cut into blocks
  const int64_t unit = (tile ? plan->cols : 1) * elem_size;
  int64_t block = std::max<int64_t>(kItemBytes / std::max<int64_t>(unit, 1), 1);
  if (tile) block = std::max<int64_t>(block / 16 * 16, 16);
  plan->block = std::clamp<int64_t>(block, 1, std::max<int64_t>(split, 1));
  plan->blocks = (split + plan->block - 1) / plan->block;
  plan->items = outer * plan->blocks;
  plan->item_bytes = plan->block * unit;
  return true;
}

template <class T>
void strided_row(const char* src, int64_t ss, char* dst, int64_t ds, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    std::memcpy(dst + i * ds * static_cast<int64_t>(sizeof(T)),
                src + i * ss * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

struct Bytes16 {
  uint64_t a, b;
};

void strided_any(const char* src, int64_t ss, char* dst, int64_t ds, int64_t n, int elem_size) {
  switch (elem_size) {
    case 1: return strided_row<uint8_t>(src, ss, dst, ds, n);
    case 2: return strided_row<uint16_t>(src, ss, dst, ds, n);
    case 4: return strided_row<uint32_t>(src, ss, dst, ds, n);
    case 8: return strided_row<uint64_t>(src, ss, dst, ds, n);
    default: return strided_row<Bytes16>(src, ss, dst, ds, n);
  }
}

}  // namespace

void fill(void* dst, const void* value, int elem_size, int64_t n) {
  if (elem_size == 1 && n > 0) {
    std::memset(dst, *static_cast<const unsigned char*>(value), static_cast<size_t>(n));
    return;
  }
  strided_any(static_cast<const char*>(value), 0, static_cast<char*>(dst), 1, n, elem_size);
}

bool plan_copy(std::span<const int64_t> dims, std::span<const int64_t> src_strides,
               std::span<const int64_t> dst_strides, int elem_size, CopyPlan* plan) {
  *plan = CopyPlan();
  if (!supported(elem_size) || src_strides.size() != dims.size() ||
      dst_strides.size() != dims.size())
    return false;
  Dims list;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) return true;  // nothing to do: no items
    list.push({dims[i], src_strides[i], dst_strides[i]});
  }
  return finish(list, elem_size, plan);
}

bool plan_transpose(std::span<const int64_t> dims, std::span<const int64_t> perm, int elem_size,
                    CopyPlan* plan) {
  *plan = CopyPlan();
  if (!supported(elem_size) || perm.size() != dims.size()) return false;
  // Pushed in output order, so that the dims of the destination are walked front to back.
  int64_t dst = 1;
  for (int64_t d : dims) {
    if (d == 0) return true;
    dst *= d;
  }
  Dims list;
  for (int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(dims.size())) return false;
    int64_t src = 1;
    for (size_t k = static_cast<size_t>(axis) + 1; k < dims.size(); ++k) src *= dims[k];
    const int64_t extent = dims[static_cast<size_t>(axis)];
    dst /= extent;
    list.push({extent, src, dst});
  }
  return finish(list, elem_size, plan);
}

void copy_run(const CopyPlan& p, const void* src, void* dst, int64_t begin, int64_t end) {
  if (begin >= end) return;
  int64_t index[kMaxRank], from = 0, to = 0, row = begin / p.blocks, block = begin % p.blocks;
  for (int d = p.rank - 1; d >= 0; --d) {
    index[d] = row % p.dims[d];
    row /= p.dims[d];
    from += index[d] * p.src[d];
    to += index[d] * p.dst[d];
  }
  const int64_t elem = p.elem_size;
  const int64_t split = p.kind == CopyPlan::kTranspose ? p.rows : p.cols;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t at = block * p.block, n = std::min(p.block, split - at);
    const char* s = static_cast<const char*>(src) + from * elem;
    char* t = static_cast<char*>(dst) + to * elem;
    switch (p.kind) {
      case CopyPlan::kRun:
        std::memcpy(t + at * elem, s + at * elem, static_cast<size_t>(n * elem));
        break;
      case CopyPlan::kFill: fill(t + at * elem, s, p.elem_size, n); break;
      case CopyPlan::kStrided:
        strided_any(s + at * p.src_col * elem, p.src_col, t + at * p.dst_col * elem, p.dst_col, n,
                    p.elem_size);
        break;
      case CopyPlan::kTranspose:
        transpose_tile(s + at * elem, p.src_col, t + at * p.dst_row * elem, p.dst_row, n, p.cols,
                       p.elem_size);
        break;
    }
    if (++block < p.blocks) continue;
    block = 0;
    for (int d = p.rank - 1; d >= 0; --d) {
      from += p.src[d];
      to += p.dst[d];
      if (++index[d] < p.dims[d]) break;
      from -= p.dims[d] * p.src[d];
      to -= p.dims[d] * p.dst[d];
      index[d] = 0;
    }
  }
}

void transpose_2d(const void* src, void* dst, int64_t rows, int64_t cols, int elem_size,
                  int64_t batch0, int64_t batch1) {
  const int64_t bytes = rows * cols * elem_size;
  for (int64_t b = batch0; b < batch1; ++b)
    transpose_tile(static_cast<const char*>(src) + b * bytes, cols,
                   static_cast<char*>(dst) + b * bytes, rows, cols, rows, elem_size);
}

}  // namespace onnxtool::simd
