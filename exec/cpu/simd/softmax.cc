// SPDX-License-Identifier: Apache-2.0
// Softmax and log-softmax (norm.h): three sweeps over a row, or over a block of adjacent lanes, in
// cache.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/softmax.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/math-inl.h"
#include "exec/cpu/simd/norm.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE VF minus_inf() { return hn::Set(DF(), -std::numeric_limits<float>::infinity()); }

HWY_INLINE float row_max(const float* x, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF m0 = minus_inf(), m1 = m0, m2 = m0, m3 = m0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
    m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * lanes));
    m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    const auto valid = hn::FirstN(d, rest);
    m1 = hn::Max(m1, hn::IfThenElse(valid, load_n(d, x + i, rest), minus_inf()));
  }
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))));
}

// Sum of exp(x - max); where kStore also y = exp(x - max). NaN reaches the sum.
template <bool kStore>
HWY_INLINE float row_exp(const float* x, float* y, int64_t n, float max) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF vmax = hn::Set(d, max);
  float total = 0;
  for (int64_t block = 0; block < n; block += 2048) {
    const int64_t end = std::min(n, block + 2048);
    VF s0 = hn::Zero(d), s1 = s0;
    int64_t i = block;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const VF e0 = exp_neg(d, hn::Sub(hn::LoadU(d, x + i), vmax));
      const VF e1 = exp_neg(d, hn::Sub(hn::LoadU(d, x + i + lanes), vmax));
      if (kStore) hn::StoreU(e0, d, y + i);
      if (kStore) hn::StoreU(e1, d, y + i + lanes);
      s0 = hn::Add(s0, e0);
      s1 = hn::Add(s1, e1);
    }
    for (; i < end; i += lanes) {
      const size_t rest = static_cast<size_t>(std::min(lanes, end - i));
      const VF e = exp_neg(d, hn::Sub(load_n(d, x + i, rest), vmax));
      if (kStore) store_n(e, d, y + i, rest);
      s0 = hn::Add(s0, hn::IfThenElseZero(hn::FirstN(d, rest), e));
    }
    total += hsum(hn::Add(s0, s1));
  }
  return total;
}

HWY_INLINE void row_scale(float* y, int64_t n, float by) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF f = hn::Set(d, by);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, y + i), f), d, y + i);
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    store_n(hn::Mul(load_n(d, y + i, rest), f), d, y + i, rest);
  }
}

// y = (x - a) - b
HWY_INLINE void row_sub2(const float* x, float* y, int64_t n, float a, float b) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF va = hn::Set(d, a), vb = hn::Set(d, b);
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    store_n(hn::Sub(hn::Sub(load_n(d, x + i, rest), va), vb), d, y + i, rest);
  }
}

void softmax_rows(bool log, const float* x, float* y, int64_t n, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const float max = row_max(x, n);
    if (log) {
      const float sum = row_exp<false>(x, nullptr, n, max);
      row_sub2(x, y, n, max, std::log(sum));
    } else {
      row_scale(y, n, 1.0f / row_exp<true>(x, y, n, max));
    }
  }
}

// A block of kVectors * lanes adjacent lanes (or fewer than one vector: count < lanes).
template <int kVectors, bool kPartial, bool kLog>
HWY_INLINE void block(const float* x, float* y, int64_t n, int64_t stride, size_t count) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF m[kVectors], s[kVectors];
  const auto load = [&](const float* p, int v) HWY_ATTR {
    return kPartial ? load_n(d, p, count) : hn::LoadU(d, p + static_cast<size_t>(v) * lanes);
  };
  const auto store = [&](VF value, float* p, int v) HWY_ATTR {
    if (kPartial) {
      store_n(value, d, p, count);
    } else {
      hn::StoreU(value, d, p + static_cast<size_t>(v) * lanes);
    }
  };
  ONNXTOOL_UNROLL for (int v = 0; v < kVectors; ++v) m[v] = minus_inf(), s[v] = hn::Zero(d);
  for (int64_t k = 0; k < n; ++k) {
    ONNXTOOL_UNROLL for (int v = 0; v < kVectors; ++v) m[v] =
        hn::Max(m[v], load(x + k * stride, v));
  }
  for (int64_t k = 0; k < n; ++k) {
    ONNXTOOL_UNROLL for (int v = 0; v < kVectors; ++v) {
      const VF e = exp_neg(d, hn::Sub(load(x + k * stride, v), m[v]));
      if (!kLog) store(e, y + k * stride, v);
      s[v] = hn::Add(s[v], e);
    }
  }
  ONNXTOOL_UNROLL for (int v = 0; v < kVectors; ++v) {
    s[v] = kLog ? log_v(d, s[v]) : hn::Div(hn::Set(d, 1.0f), s[v]);
  }
  for (int64_t k = 0; k < n; ++k) {
    ONNXTOOL_UNROLL for (int v = 0; v < kVectors; ++v) {
      const VF t = load((kLog ? x : y) + k * stride, v);
      store(kLog ? hn::Sub(hn::Sub(t, m[v]), s[v]) : hn::Mul(t, s[v]), y + k * stride, v);
    }
  }
}

template <bool kLog>
void strided(const float* x, float* y, int64_t n, int64_t stride, int64_t count) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DF()));
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) block<4, false, kLog>(x + i, y + i, n, stride, 0);
  for (; i + lanes <= count; i += lanes) block<1, false, kLog>(x + i, y + i, n, stride, 0);
  if (i < count) block<1, true, kLog>(x + i, y + i, n, stride, static_cast<size_t>(count - i));
}

void softmax(bool log, const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
             int64_t end) {
  if (n == 0) return;
  if (inner == 1) return softmax_rows(log, x + begin * n, y + begin * n, n, end - begin);
  while (begin < end) {
    const int64_t o = begin / inner, i = begin % inner, count = std::min(end - begin, inner - i);
    const int64_t at = o * n * inner + i;
    if (log) {
      strided<true>(x + at, y + at, n, inner, count);
    } else {
      strided<false>(x + at, y + at, n, inner, count);
    }
    begin += count;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(softmax);

void softmax_f32(const float* x, float* y, int64_t n, int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(softmax)(false, x, y, n, inner, begin, end);
}
void log_softmax_f32(const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
                     int64_t end) {
  HWY_DYNAMIC_DISPATCH(softmax)(true, x, y, n, inner, begin, end);
}

}  // namespace onnxtool::simd
#endif
