// SPDX-License-Identifier: Apache-2.0
// Per-target helpers for all kernels: loads and stores of the first n lanes that touch no other
// byte, horizontal sums, and the split of an fp32 vector into two of fp64.
#if defined(ONNXTOOL_EXEC_CPU_SIMD_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONNXTOOL_EXEC_CPU_SIMD_VEC_INL_H_
#undef ONNXTOOL_EXEC_CPU_SIMD_VEC_INL_H_
#else
#define ONNXTOOL_EXEC_CPU_SIMD_VEC_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

// Loops over arrays of vectors must unroll, or the arrays live in memory.
#ifndef ONNXTOOL_UNROLL
#define ONNXTOOL_UNROLL _Pragma("GCC unroll 8")
#endif

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;

// First n elements (all lanes where n >= lanes); the other lanes are zero.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_n(D d, const T* p, size_t n) {
  if (HWY_LIKELY(n >= hn::Lanes(d))) return hn::LoadU(d, p);
#if HWY_TARGET == HWY_AVX3
  return hn::MaskedLoad(hn::FirstN(d, n), d, p);
#else
#if HWY_TARGET == HWY_AVX2
  if constexpr (sizeof(T) >= 4) return hn::MaskedLoad(hn::FirstN(d, n), d, p);
#endif
  alignas(64) T buf[HWY_MAX_BYTES / sizeof(T)] = {};
  std::memcpy(buf, p, n * sizeof(T));
  return hn::Load(d, buf);
#endif
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_n(hn::Vec<D> v, D d, T* p, size_t n) {
  if (HWY_LIKELY(n >= hn::Lanes(d))) return hn::StoreU(v, d, p);
#if HWY_TARGET == HWY_AVX3
  hn::BlendedStore(v, hn::FirstN(d, n), d, p);
#else
#if HWY_TARGET == HWY_AVX2
  if constexpr (sizeof(T) >= 4) {
    hn::BlendedStore(v, hn::FirstN(d, n), d, p);
    return;
  }
#endif
  alignas(64) T buf[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, buf);
  std::memcpy(p, buf, n * sizeof(T));
#endif
}

// Highway's own Min and Max differ by target in what they do with NaN; here NaN of either wins.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V max_nan(D d, V x, V y) {
  (void)d;
  const V m = hn::IfThenElse(hn::Gt(x, y), x, y);  // y where unordered
  return hn::IfThenElse(hn::IsNaN(x), x, m);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V min_nan(D d, V x, V y) {
  (void)d;
  const V m = hn::IfThenElse(hn::Lt(x, y), x, y);
  return hn::IfThenElse(hn::IsNaN(x), x, m);
}
// x limited to [lo, hi]; NaN stays (x86: min and max return their second operand for NaN).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V clamp_keep_nan(D d, V x, V lo, V hi) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  (void)d;
  return hn::Max(lo, hn::Min(hi, x));
#else
  (void)d;
  return hn::IfThenElse(hn::Lt(x, lo), lo, hn::IfThenElse(hn::Gt(x, hi), hi, x));
#endif
}

// f on both halves as fp64 vectors. f is a functor: static V f(DD, V...).
template <class F, class D, class V = hn::Vec<D>>
HWY_INLINE V via_f64(D d, V x, V y) {
  const hn::Repartition<double, D> dd;
  const hn::Half<D> dh;
  const auto lo = F::apply(dd, hn::PromoteTo(dd, hn::LowerHalf(dh, x)),
                           hn::PromoteTo(dd, hn::LowerHalf(dh, y)));
  const auto hi = F::apply(dd, hn::PromoteTo(dd, hn::UpperHalf(dh, x)),
                           hn::PromoteTo(dd, hn::UpperHalf(dh, y)));
  return hn::Combine(d, hn::DemoteTo(dh, hi), hn::DemoteTo(dh, lo));
}

HWY_INLINE float hsum(VF v) { return hn::GetLane(hn::SumOfLanes(DF(), v)); }

}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();
#endif
