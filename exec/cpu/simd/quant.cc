// SPDX-License-Identifier: Apache-2.0
// Linear quantization (convert.h).
#include "exec/cpu/simd/convert.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/quant.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

using VI = hn::Vec<DI>;

// First n elements of a vector with as many lanes as a float vector.
template <class T>
HWY_INLINE hn::Vec<hn::Rebind<T, DF>> load_t(const T* p, size_t n) {
  const hn::Rebind<T, DF> d;
  if (n >= hn::Lanes(d)) return hn::LoadU(d, p);
  alignas(64) T buf[HWY_MAX_BYTES / 4] = {};
  std::memcpy(buf, p, n * sizeof(T));
  return hn::Load(d, buf);
}
template <class T>
HWY_INLINE VI load_int(const T* p, size_t n) {
  if constexpr (sizeof(T) == 4) {
    return load_n(DI(), p, n);
  } else {
    return hn::PromoteTo(DI(), load_t(p, n));
  }
}

template <class T>
HWY_INLINE void quantize_one(const float* x, T* y, VF scale, VI zero, size_t n) {
  const DF d;
  const hn::Rebind<T, DF> dt;
  const VF q = hn::Div(load_n(d, x, n), scale);
  const VF known = hn::IfThenZeroElse(hn::IsNaN(q), q);
  const VF c = hn::Min(hn::Max(known, hn::Set(d, -1e9f)), hn::Set(d, 1e9f));
  const auto v = hn::DemoteTo(dt, hn::Add(hn::NearestInt(c), zero));
  if (n >= hn::Lanes(d)) {
    hn::StoreU(v, dt, y);
    return;
  }
  alignas(64) T buf[HWY_MAX_BYTES / 4];
  hn::Store(v, dt, buf);
  std::memcpy(y, buf, n * sizeof(T));
}
template <class T>
HWY_INLINE void dequantize_one(const T* x, float* y, VF scale, VI zero, size_t n) {
  const DF d;
  const VF v = hn::ConvertTo(d, hn::Sub(load_int(x, n), zero));
  store_n(hn::Mul(v, scale), d, y, n);
}

// Calls one(i, scale, zero, n) for pieces of [begin, end) of a [outer, axis, inner] tensor.
template <class T, class F>
HWY_INLINE void pieces(const float* scale, const T* zero, int64_t axis, int64_t inner,
                       int64_t begin, int64_t end, const F& one) {
  const DF d;
  const DI di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto zero_at = [&](int64_t a) {
    return zero != nullptr ? static_cast<int32_t>(zero[a]) : 0;
  };
  int64_t i = begin;
  while (i < end) {
    if (axis == 1 || inner > 1) {  // one scale for a run
      const int64_t a = axis == 1 ? 0 : i / inner % axis;
      const int64_t stop = axis == 1 ? end : std::min(end, (i / inner + 1) * inner);
      const VF s = hn::Set(d, scale[a]);
      const VI z = hn::Set(di, zero_at(a));
      for (; i < stop; i += lanes) one(i, s, z, static_cast<size_t>(stop - i));
      i = stop;
    } else {  // scales along the run
      const int64_t row = i / axis * axis, stop = std::min(end, row + axis);
      for (; i < stop; i += lanes) {
        const size_t n = static_cast<size_t>(stop - i);
        // Lanes beyond the row divide by 1, not by 0.
        const VF s = n >= static_cast<size_t>(lanes)
                         ? hn::LoadU(d, scale + (i - row))
                         : hn::IfThenElse(hn::FirstN(d, n), load_n(d, scale + (i - row), n),
                                          hn::Set(d, 1.0f));
        const VI z = zero != nullptr ? load_int(zero + (i - row), n) : hn::Zero(di);
        one(i, s, z, n);
      }
      i = stop;
    }
  }
}

template <class T>
void quantize(const float* x, T* y, const float* scale, const T* zero, int64_t axis, int64_t inner,
              int64_t begin, int64_t end) {
  pieces(scale, zero, axis, inner, begin, end,
         [&](int64_t i, VF s, VI z, size_t n) HWY_ATTR { quantize_one(x + i, y + i, s, z, n); });
}
template <class T>
void dequantize(const T* x, float* y, const float* scale, const T* zero, int64_t axis,
                int64_t inner, int64_t begin, int64_t end) {
  pieces(scale, zero, axis, inner, begin, end,
         [&](int64_t i, VF s, VI z, size_t n) HWY_ATTR { dequantize_one(x + i, y + i, s, z, n); });
}

void q_u8(const float* x, uint8_t* y, const float* s, const uint8_t* z, int64_t axis, int64_t inner,
          int64_t begin, int64_t end) {
  quantize(x, y, s, z, axis, inner, begin, end);
}
void q_i8(const float* x, int8_t* y, const float* s, const int8_t* z, int64_t axis, int64_t inner,
          int64_t begin, int64_t end) {
  quantize(x, y, s, z, axis, inner, begin, end);
}
void dq_u8(const uint8_t* x, float* y, const float* s, const uint8_t* z, int64_t axis,
           int64_t inner, int64_t begin, int64_t end) {
  dequantize(x, y, s, z, axis, inner, begin, end);
}
void dq_i8(const int8_t* x, float* y, const float* s, const int8_t* z, int64_t axis, int64_t inner,
           int64_t begin, int64_t end) {
  dequantize(x, y, s, z, axis, inner, begin, end);
}
void dq_i32(const int32_t* x, float* y, const float* s, const int32_t* z, int64_t axis,
            int64_t inner, int64_t begin, int64_t end) {
  dequantize(x, y, s, z, axis, inner, begin, end);
}

void min_max(const float* x, int64_t n, float* min, float* max) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF inf = hn::Set(d, std::numeric_limits<float>::infinity());
  VF lo0 = inf, lo1 = inf, hi0 = hn::Neg(inf), hi1 = hi0;
  const auto take = [&](VF v, VF& lo, VF& hi) HWY_ATTR {  // false for NaN
    lo = hn::IfThenElse(hn::Lt(v, lo), v, lo);
    hi = hn::IfThenElse(hn::Gt(v, hi), v, hi);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    take(hn::LoadU(d, x + i), lo0, hi0);
    take(hn::LoadU(d, x + i + lanes), lo1, hi1);
  }
  for (; i + lanes <= n; i += lanes) take(hn::LoadU(d, x + i), lo0, hi0);
  alignas(64) float lo[HWY_MAX_BYTES / 4], hi[HWY_MAX_BYTES / 4];
  hn::Store(hn::Min(lo0, lo1), d, lo);
  hn::Store(hn::Max(hi0, hi1), d, hi);
  *min = *std::min_element(lo, lo + lanes);
  *max = *std::max_element(hi, hi + lanes);
  for (; i < n; ++i) {
    if (x[i] < *min) *min = x[i];
    if (x[i] > *max) *max = x[i];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(q_u8);
HWY_EXPORT(q_i8);
HWY_EXPORT(dq_u8);
HWY_EXPORT(dq_i8);
HWY_EXPORT(dq_i32);
HWY_EXPORT(min_max);

void quantize_u8(const float* x, uint8_t* y, const float* scale, const uint8_t* zero, int64_t axis,
                 int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(q_u8)(x, y, scale, zero, axis, inner, begin, end);
}
void quantize_i8(const float* x, int8_t* y, const float* scale, const int8_t* zero, int64_t axis,
                 int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(q_i8)(x, y, scale, zero, axis, inner, begin, end);
}
void dequantize_u8(const uint8_t* x, float* y, const float* scale, const uint8_t* zero,
                   int64_t axis, int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(dq_u8)(x, y, scale, zero, axis, inner, begin, end);
}
void dequantize_i8(const int8_t* x, float* y, const float* scale, const int8_t* zero, int64_t axis,
                   int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(dq_i8)(x, y, scale, zero, axis, inner, begin, end);
}
void dequantize_i32(const int32_t* x, float* y, const float* scale, const int32_t* zero,
                    int64_t axis, int64_t inner, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(dq_i32)(x, y, scale, zero, axis, inner, begin, end);
}

void min_max_f32(const float* x, int64_t n, float* min, float* max) {
  HWY_DYNAMIC_DISPATCH(min_max)(x, n, min, max);
}

void dynamic_quant_params(float min, float max, float* scale, uint8_t* zero) {
  const float lo = std::min(min, 0.0f), hi = std::max(max, 0.0f);
  const float s = (hi - lo) / 255.0f;
  *scale = s > 0 ? s : 1.0f;
  *zero = static_cast<uint8_t>(std::clamp(std::nearbyint(-lo / *scale), 0.0f, 255.0f));
}

}  // namespace onnxtool::simd
#endif
