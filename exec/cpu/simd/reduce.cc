// SPDX-License-Identifier: Apache-2.0
// Reductions (reduce.h): rows in vector accumulators and blocks, strided lanes over a block of
// accumulators in L1.
#include "exec/cpu/simd/reduce.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/reduce.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/cpu/simd/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kBlock = 1024;  // of a row: summed in vectors, blocks are added in double
constexpr int64_t kRun = 32;      // of a strided axis: runs are summed, then added up
constexpr float kInf = std::numeric_limits<float>::infinity();

// How to accumulate: start value, one more element, two accumulators, double totals.
struct SumOp {
  static constexpr float kStart = 0;
  static HWY_INLINE VF add(VF acc, VF x) { return hn::Add(acc, x); }
  static HWY_INLINE VF merge(VF a, VF b) { return hn::Add(a, b); }
  static double total(double a, double b) { return a + b; }
};
struct AbsOp : SumOp {
  static HWY_INLINE VF add(VF acc, VF x) { return hn::Add(acc, hn::Abs(x)); }
};
struct SquareOp : SumOp {
  static HWY_INLINE VF add(VF acc, VF x) { return hn::MulAdd(x, x, acc); }
};
struct ProdOp {
  static constexpr float kStart = 1;
  static HWY_INLINE VF add(VF acc, VF x) { return hn::Mul(acc, x); }
  static HWY_INLINE VF merge(VF a, VF b) { return hn::Mul(a, b); }
  static double total(double a, double b) { return a * b; }
};
struct MaxOp {
  static constexpr float kStart = -kInf;
  static HWY_INLINE VF add(VF acc, VF x) { return max_nan(DF(), acc, x); }
  static HWY_INLINE VF merge(VF a, VF b) { return max_nan(DF(), a, b); }
  static double total(double a, double b) { return std::isnan(a) || a > b ? a : b; }
};
struct MinOp {
  static constexpr float kStart = kInf;
  static HWY_INLINE VF add(VF acc, VF x) { return min_nan(DF(), acc, x); }
  static HWY_INLINE VF merge(VF a, VF b) { return min_nan(DF(), a, b); }
  static double total(double a, double b) { return std::isnan(a) || a < b ? a : b; }
};

// The lanes of v, one after the other.
template <class Op>
HWY_INLINE double lanes_of(VF v) {
  alignas(64) float buf[HWY_MAX_BYTES / 4];
  hn::Store(v, DF(), buf);
  double t = buf[0];
  for (size_t i = 1; i < hn::Lanes(DF()); ++i) t = Op::total(t, buf[i]);
  return t;
}

template <class Op>
double row(const float* x, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF start = hn::Set(d, Op::kStart);
  double total = Op::kStart;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t end = std::min(n, b + kBlock);
    VF a0 = start, a1 = start, a2 = start, a3 = start;
    int64_t i = b;
    for (; i + 4 * lanes <= end; i += 4 * lanes) {
      a0 = Op::add(a0, hn::LoadU(d, x + i));
      a1 = Op::add(a1, hn::LoadU(d, x + i + lanes));
      a2 = Op::add(a2, hn::LoadU(d, x + i + 2 * lanes));
      a3 = Op::add(a3, hn::LoadU(d, x + i + 3 * lanes));
    }
    for (; i < end; i += lanes) {
      const size_t rest = static_cast<size_t>(end - i);
      const VF more = Op::add(a0, load_n(d, x + i, rest));
      a0 =
          rest >= static_cast<size_t>(lanes) ? more : hn::IfThenElse(hn::FirstN(d, rest), more, a0);
    }
    const VF all = Op::merge(Op::merge(a0, a1), Op::merge(a2, a3));
    total = Op::total(total, lanes_of<Op>(all));
  }
  return total;
}

// Sum of exp(x - max); max finite.
double row_exp(const float* x, int64_t n, float max) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF m = hn::Set(d, max);
  double total = 0;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t end = std::min(n, b + kBlock);
    VF acc = hn::Zero(d);
    for (int64_t i = b; i < end; i += lanes) {
      const size_t rest = static_cast<size_t>(end - i);
      const VF e = exp_neg(d, hn::Sub(load_n(d, x + i, rest), m));
      const auto valid = hn::FirstN(d, std::min<size_t>(rest, static_cast<size_t>(lanes)));
      acc = hn::Add(acc, hn::IfThenElseZero(valid, e));
    }
    total += lanes_of<SumOp>(acc);
  }
  return total;
}

float log_sum_exp(double max, double sum) {
  return static_cast<float>(std::isfinite(max) ? max + std::log(sum) : max);
}

float finish(Reduce op, double v, int64_t n) {
  switch (op) {
    case Reduce::kMean: return static_cast<float>(v / static_cast<double>(n));
    case Reduce::kL2: return static_cast<float>(std::sqrt(v));
    case Reduce::kLogSum: return static_cast<float>(std::log(v));
    default: return static_cast<float>(v);
  }
}

double row_any(Reduce op, const float* x, int64_t n) {
  switch (op) {
    case Reduce::kMax: return row<MaxOp>(x, n);
    case Reduce::kMin: return row<MinOp>(x, n);
    case Reduce::kProd: return row<ProdOp>(x, n);
    case Reduce::kL1: return row<AbsOp>(x, n);
    case Reduce::kL2:
    case Reduce::kSumSquare: return row<SquareOp>(x, n);
    default: return row<SumOp>(x, n);
  }
}

void rows(Reduce op, const float* x, float* y, int64_t n, int64_t count) {
  for (int64_t r = 0; r < count; ++r, x += n) {
    if (op == Reduce::kLogSumExp) {
      const double max = row<MaxOp>(x, n);
      y[r] = log_sum_exp(max, std::isfinite(max) ? row_exp(x, n, static_cast<float>(max)) : 0);
    } else {
      y[r] = finish(op, row_any(op, x, n), n);
    }
  }
}

// out[j] = reduction over k of x[k * stride + j], j < width <= kBlock.
template <class Op>
void lanes_block(const float* x, float* out, int64_t n, int64_t stride, int64_t width) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  alignas(64) float run[kBlock];
  const VF start = hn::Set(d, Op::kStart);
  for (int64_t j = 0; j < width; j += lanes)
    store_n(start, d, out + j, static_cast<size_t>(width - j));
  for (int64_t k0 = 0; k0 < n; k0 += kRun) {
    const int64_t k1 = std::min(n, k0 + kRun);
    for (int64_t k = k0; k < k1; k += 4) {
      const int64_t count = std::min<int64_t>(4, k1 - k);
      const float* p = x + k * stride;
      for (int64_t j = 0; j < width; j += lanes) {
        const size_t rest = static_cast<size_t>(width - j);
        VF acc = k == k0 ? start : hn::Load(d, run + j);
        acc = Op::add(acc, load_n(d, p + j, rest));
        if (count > 1) acc = Op::add(acc, load_n(d, p + stride + j, rest));
        if (count > 2) acc = Op::add(acc, load_n(d, p + 2 * stride + j, rest));
        if (count > 3) acc = Op::add(acc, load_n(d, p + 3 * stride + j, rest));
        hn::Store(acc, d, run + j);
      }
    }
    for (int64_t j = 0; j < width; j += lanes) {
      const size_t rest = static_cast<size_t>(width - j);
      store_n(Op::merge(load_n(d, out + j, rest), hn::Load(d, run + j)), d, out + j, rest);
    }
  }
}

void lanes_exp(const float* x, float* out, int64_t n, int64_t stride, int64_t width) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  alignas(64) float max[kBlock];
  lanes_block<MaxOp>(x, max, n, stride, width);
  for (int64_t j = 0; j < width; j += lanes) {
    const size_t rest = static_cast<size_t>(width - j);
    const VF m = load_n(d, max + j, rest);
    VF total = hn::Zero(d);
    for (int64_t k0 = 0; k0 < n; k0 += kRun) {
      VF acc = hn::Zero(d);
      for (int64_t k = k0; k < std::min(n, k0 + kRun); ++k)
        acc = hn::Add(acc, exp_neg(d, hn::Sub(load_n(d, x + k * stride + j, rest), m)));
      total = hn::Add(total, acc);
    }
    const VF y = hn::Add(m, log_v(d, total));
    const auto finite = hn::IsFinite(m);
    store_n(hn::IfThenElse(finite, y, m), d, out + j, rest);
  }
}

void lanes_any(Reduce op, const float* x, float* y, int64_t n, int64_t stride, int64_t width) {
  switch (op) {
    case Reduce::kMax: return lanes_block<MaxOp>(x, y, n, stride, width);
    case Reduce::kMin: return lanes_block<MinOp>(x, y, n, stride, width);
    case Reduce::kProd: return lanes_block<ProdOp>(x, y, n, stride, width);
    case Reduce::kL1: return lanes_block<AbsOp>(x, y, n, stride, width);
    case Reduce::kLogSumExp: return lanes_exp(x, y, n, stride, width);
    case Reduce::kL2:
    case Reduce::kSumSquare: lanes_block<SquareOp>(x, y, n, stride, width); break;
    default: lanes_block<SumOp>(x, y, n, stride, width); break;
  }
  if (op == Reduce::kMean || op == Reduce::kL2 || op == Reduce::kLogSum)
    for (int64_t j = 0; j < width; ++j) y[j] = finish(op, y[j], n);
}

void reduce(Reduce op, const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
            int64_t end) {
  if (inner == 1) return rows(op, x + begin * n, y + begin, n, end - begin);
  while (begin < end) {
    const int64_t o = begin / inner, i = begin % inner;
    const int64_t width = std::min({end - begin, inner - i, kBlock});
    lanes_any(op, x + o * n * inner + i, y + begin, n, inner, width);
    begin += width;
  }
}

// A partial is the two floats of a double (high and low part), or (max, sum) of LogSumExp.
void partial(Reduce op, const float* x, int64_t n, float* out, int64_t chunk0, int64_t chunk1) {
  for (int64_t c = chunk0; c < chunk1; ++c) {
    const float* p = x + c * kReduceChunk;
    const int64_t count = std::min(kReduceChunk, n - c * kReduceChunk);
    float* to = out + 2 * c;
    if (op == Reduce::kLogSumExp) {
      const double max = row<MaxOp>(p, count);
      to[0] = static_cast<float>(max);
      to[1] = std::isfinite(max) ? static_cast<float>(row_exp(p, count, to[0])) : 0.0f;
    } else {
      const double v = row_any(op, p, count);
      to[0] = static_cast<float>(v);
      to[1] = std::isfinite(to[0]) ? static_cast<float>(v - to[0]) : 0.0f;
    }
  }
}

// Position of the first or last element equal to v (or NaN where v is NaN).
int64_t find(const float* x, int64_t n, float v, bool from_end) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF want = hn::Set(d, v);
  const bool nan = std::isnan(v);
  const int64_t blocks = (n + lanes - 1) / lanes;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t i = (from_end ? blocks - 1 - b : b) * lanes;
    const VF y = load_n(d, x + i, static_cast<size_t>(n - i));
    if (hn::AllFalse(d, nan ? hn::IsNaN(y) : hn::Eq(y, want))) continue;
    const int64_t end = std::min(n, i + lanes);
    for (int64_t k = 0; k < end - i; ++k) {
      const int64_t at = from_end ? end - 1 - k : i + k;
      if (nan ? std::isnan(x[at]) : x[at] == v) return at;
    }
  }
  return 0;
}

// One vector of strided lanes; n < 2^31.
void arg_lanes(bool greatest, bool last, const float* x, int64_t* y, int64_t n, int64_t stride,
               size_t width) {
  const DF d;
  const DI di;
  VF best = load_n(d, x, width);
  auto at = hn::Zero(di);
  for (int64_t k = 1; k < n; ++k) {
    const VF v = load_n(d, x + k * stride, width);
    const auto better = greatest ? hn::Gt(v, best) : hn::Lt(v, best);
    const auto tie = hn::Or(hn::Eq(v, best), hn::And(hn::IsNaN(v), hn::IsNaN(best)));
    auto take = hn::Or(better, hn::And(hn::IsNaN(v), hn::Not(hn::IsNaN(best))));
    if (last) take = hn::Or(take, tie);
    take = hn::And(take, hn::Or(hn::Not(hn::IsNaN(best)), hn::IsNaN(v)));
    best = hn::IfThenElse(take, v, best);
    at = hn::IfThenElse(hn::RebindMask(di, take), hn::Set(di, static_cast<int32_t>(k)), at);
  }
  alignas(64) int32_t buf[HWY_MAX_BYTES / 4];
  hn::Store(at, di, buf);
  for (size_t i = 0; i < width; ++i) y[i] = buf[i];
}

void arg_reduce(bool greatest, bool last, const float* x, int64_t* y, int64_t n, int64_t inner,
                int64_t begin, int64_t end) {
  if (inner == 1) {
    for (int64_t r = begin; r < end; ++r) {
      const float* p = x + r * n;
      const double v = greatest ? row<MaxOp>(p, n) : row<MinOp>(p, n);
      y[r] = find(p, n, static_cast<float>(v), last);
    }
    return;
  }
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DF()));
  while (begin < end) {
    const int64_t o = begin / inner, i = begin % inner;
    const int64_t width = std::min({end - begin, inner - i, lanes});
    arg_lanes(greatest, last, x + o * n * inner + i, y + begin, n, inner,
              static_cast<size_t>(width));
    begin += width;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(reduce);
HWY_EXPORT(partial);
HWY_EXPORT(arg_reduce);

void reduce_f32(Reduce op, const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
                int64_t end) {
  HWY_DYNAMIC_DISPATCH(reduce)(op, x, y, n, inner, begin, end);
}

void reduce_partial_f32(Reduce op, const float* x, int64_t n, float* partials, int64_t chunk0,
                        int64_t chunk1) {
  HWY_DYNAMIC_DISPATCH(partial)(op, x, n, partials, chunk0, chunk1);
}

float reduce_combine_f32(Reduce op, const float* partials, int64_t n) {
  const int64_t chunks = reduce_chunks(n);
  if (n == 0) {
    float y;
    reduce_f32(op, nullptr, &y, 0, 1, 0, 1);
    return y;
  }
  double max = partials[0], total = 0;
  for (int64_t c = 0; c < chunks; ++c)
    if (!(max >= partials[2 * c]) && !std::isnan(max)) max = partials[2 * c];
  for (int64_t c = 0; c < chunks; ++c) {
    const double hi = partials[2 * c], v = hi + partials[2 * c + 1];
    switch (op) {
      case Reduce::kMax: total = max; break;
      case Reduce::kMin: total = c == 0 || !(total <= v || std::isnan(total)) ? v : total; break;
      case Reduce::kProd: total = c == 0 ? v : total * v; break;
      case Reduce::kLogSumExp:
        if (std::isfinite(max) && std::isfinite(hi))
          total += std::exp(hi - max) * partials[2 * c + 1];
        break;
      default: total += v; break;
    }
  }
  switch (op) {
    case Reduce::kMean: return static_cast<float>(total / static_cast<double>(n));
    case Reduce::kL2: return static_cast<float>(std::sqrt(total));
    case Reduce::kLogSum: return static_cast<float>(std::log(total));
    case Reduce::kLogSumExp:
      return static_cast<float>(std::isfinite(max) ? max + std::log(total) : max);
    default: return static_cast<float>(total);
  }
}

void arg_reduce_f32(bool greatest, bool select_last, const float* x, int64_t* y, int64_t n,
                    int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(arg_reduce)(greatest, select_last, x, y, n, inner, begin, end);
}

}  // namespace onnxtool::simd
#endif
