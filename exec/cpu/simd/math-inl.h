// SPDX-License-Identifier: Apache-2.0
// Per-target fp32 functions on one vector. Polynomials are minimax fits of our own (relative error
// of each is stated); range reductions after Cody and Waite, "Software Manual for the Elementary
// Functions" (1980), and Muller, "Elementary Functions" (3rd ed., 2016). Bounds stand in eltwise.h.
#if defined(ONNXTOOL_EXEC_CPU_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONNXTOOL_EXEC_CPU_SIMD_MATH_INL_H_
#undef ONNXTOOL_EXEC_CPU_SIMD_MATH_INL_H_
#else
#define ONNXTOOL_EXEC_CPU_SIMD_MATH_INL_H_
#endif

#include <cmath>
#include <limits>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {

// c0 + x (c1 + x (c2 + ...)), Horner.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V poly(D d, V, double c) {
  return hn::Set(d, static_cast<hn::TFromD<D>>(c));
}
template <class D, class V = hn::Vec<D>, class... C>
HWY_INLINE V poly(D d, V x, double c, C... rest) {
  return hn::MulAdd(poly(d, x, rest...), x, hn::Set(d, static_cast<hn::TFromD<D>>(c)));
}

// x * 2^n for integral float n with |n| <= 300.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V scale_by(D d, V x, V n) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16) return V{_mm512_scalef_ps(x.raw, n.raw)};
#endif
  const hn::RebindToSigned<D> di;
  const auto i = hn::ConvertTo(di, n);
  const auto h = hn::ShiftRight<1>(i);
  const auto bias = hn::Set(di, 127);
  const V s1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(h, bias)));
  const V s2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(i, h), bias)));
  return hn::Mul(hn::Mul(x, s1), s2);
}

// x = n ln2 + r, |r| <= ln2 / 2 (for |x| <= 150).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V reduce_exp(D d, V x, V& n) {
  n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504088896341f)));
  const V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);  // 10 bits: n times it is exact
  return hn::NegMulAdd(n, hn::Set(d, -2.12194440054690583e-4f), r);
}

// e^r, |r| <= ln2 / 2: 2^-28.3.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_core(D d, V r) {
  const V q = poly(d, r, 0.49999994f, 0.166665196f, 0.0416683927f, 0.00836878084f, 0.00138144649f);
  return hn::Add(hn::Set(d, 1.0f), hn::MulAdd(hn::Mul(r, r), q, r));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_v(D d, V x) {
  V n;
  x = clamp_keep_nan(d, x, hn::Set(d, -105.0f), hn::Set(d, 90.0f));
  const V r = reduce_exp(d, x, n);
  return scale_by(d, exp_core(d, r), n);
}

// e^x for x <= 0 (or NaN), the softmax form: results below 2^-126 are flushed to zero.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_neg(D d, V x) {
  const V floor = hn::Set(d, -87.33654f);
  const auto dead = hn::Lt(x, floor);
  V n;
  const V r = reduce_exp(d, hn::IfThenElse(dead, floor, x), n);
  const hn::RebindToSigned<D> di;
#if HWY_TARGET == HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16)
    return hn::IfThenZeroElse(dead, V{_mm512_scalef_ps(exp_core(d, r).raw, n.raw)});
#endif
  const V s = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127))));
  return hn::IfThenZeroElse(dead, hn::Mul(exp_core(d, r), s));
}

// e^x - 1: 2^-32 before scaling.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V expm1_v(D d, V x) {
  V n;
  const V c = clamp_keep_nan(d, x, hn::Set(d, -20.0f), hn::Set(d, 89.0f));
  const V r = reduce_exp(d, c, n);
  const V q = poly(d, r, 0.5f, 0.166666657f, 0.0416663587f, 0.00833338965f, 0.00139407208f,
                   0.000198458845f);
  const V m = hn::MulAdd(hn::Mul(r, r), q, r);  // e^r - 1
  // 2^n m + (2^n - 1), by halves so that n = 128 does not overflow early.
  const V half = hn::Set(d, 0.5f);
  const V t = scale_by(d, half, n);
  const V y = hn::MulAdd(t, m, hn::Sub(t, half));
  const V big = hn::Add(y, y);
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, hn::IfThenElse(hn::Eq(n, hn::Zero(d)), m, big));
}

// log(x * 2^-k0) parts: x > 0 normal. Returns f = m - 1 with m in [sqrt 1/2, sqrt 2), and k.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_split(D d, V x, V& k) {
  const hn::RebindToSigned<D> di;
  const auto off = hn::Set(di, 0x3f3504f3);
  const auto i = hn::Sub(hn::BitCast(di, x), off);
  k = hn::ConvertTo(d, hn::ShiftRight<23>(i));
  const V m = hn::BitCast(d, hn::Add(hn::And(i, hn::Set(di, 0x7fffff)), off));
  return hn::Sub(m, hn::Set(d, 1.0f));
}

// log(1 + f) + k ln2 + extra, |f| in the range above: 2^-30.3.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_core(D d, V f, V k, V extra) {
  const V p = poly(d, f, 0.333333135f, -0.250000089f, 0.200021192f, -0.166679963f, 0.142195508f,
                   -0.124055915f, 0.118881747f, -0.116756409f, 0.0674660131f);
  const V f2 = hn::Mul(f, f);
  V t = hn::MulAdd(hn::Mul(f2, f), p, hn::MulAdd(k, hn::Set(d, -2.12194440054690583e-4f), extra));
  t = hn::NegMulAdd(f2, hn::Set(d, 0.5f), t);
  return hn::MulAdd(k, hn::Set(d, 0.693359375f), hn::Add(f, t));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_v(D d, V x) {
  const V zero = hn::Zero(d);
  const auto tiny = hn::Lt(x, hn::Set(d, 1.17549435e-38f));  // denormal, zero, negative
  const V s = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
  V k;
  const V f = log_split(d, s, k);
  k = hn::Sub(k, hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
  V y = log_core(d, f, k, zero);
  const V inf = hn::Set(d, std::numeric_limits<float>::infinity());
  y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(inf), y);
  y = hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), y);
  return hn::IfThenElse(hn::Or(hn::Eq(x, inf), hn::IsNaN(x)), x, y);
}

// log(1 + x) for x >= 0 (finite or +inf): also the body of log1p.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log1p_core(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V u = hn::Add(x, one);
  // What the rounding of 1 + x lost, relative to u.
  const V lost = hn::IfThenElse(hn::Gt(hn::Abs(x), one), hn::Sub(one, hn::Sub(u, x)),
                                hn::Sub(x, hn::Sub(u, one)));
  V k;
  const V f = log_split(d, u, k);
  // Where u needs no scaling m - 1 is x itself, unrounded.
  const auto unscaled = hn::And(hn::Eq(k, hn::Zero(d)), hn::Lt(hn::Abs(x), hn::Set(d, 0.29f)));
  const V extra = hn::IfThenZeroElse(unscaled, hn::Div(lost, u));
  return log_core(d, hn::IfThenElse(unscaled, x, f), k, extra);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V log1p_v(D d, V x) {
  const V inf = hn::Set(d, std::numeric_limits<float>::infinity());
  const V minus_one = hn::Set(d, -1.0f);
  V y = log1p_core(d, x);
  y = hn::IfThenElse(hn::Eq(x, minus_one), hn::Neg(inf), y);
  y = hn::IfThenElse(hn::Lt(x, minus_one), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), y);
  const auto same = hn::Or(hn::Or(hn::Eq(x, inf), hn::IsNaN(x)), hn::Eq(x, hn::Zero(d)));
  return hn::IfThenElse(same, x, y);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_v(D d, V x) {
  const V two = hn::Set(d, 2.0f);
  const V a = clamp_keep_nan(d, hn::Abs(x), hn::Zero(d), hn::Set(d, 10.0f));
  const V e = expm1_v(d, hn::Add(a, a));
  return hn::CopySign(hn::Div(e, hn::Add(e, two)), x);
}

// erf: x P(x^2) below 1 (2^-29.6), 1 - exp(-Q(x)) above (2^-29.8).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V erf_v(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V a = clamp_keep_nan(d, hn::Abs(x), hn::Zero(d), hn::Set(d, 3.95f));
  const V t = hn::Mul(a, a);
  const V p = poly(d, t, 0.128379166f, -0.37612626f, 0.112835854f, -0.0268538129f, 0.00518832775f,
                   -0.000801019429f, 7.85386292e-05f);
  const V small = hn::MulAdd(a, p, a);
  const V q = poly(d, a, 0.000341512961f, 1.12708926f, 0.638144732f, 0.103106819f, -0.021838095f,
                   0.00294766645f, -0.000186380057f);
  const V large = hn::Sub(one, exp_neg(d, hn::Neg(q)));
  return hn::CopySign(hn::IfThenElse(hn::Lt(a, one), small, large), x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_v(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = exp_v(d, hn::Neg(hn::Abs(x)));
  const V num = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one);
  return hn::Div(num, hn::Add(one, e));
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
template <class D, class V = hn::Vec<D>>
HWY_INLINE V softplus_v(D d, V x) {
  const V e = exp_v(d, hn::Neg(hn::Abs(x)));
  const V y = hn::Add(hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x), log1p_core(d, e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// sin and cos for |x| <= 2^20, reduced in fp64 to x - n pi/2; beyond that each lane through libm.
struct ReduceTrig {
  template <class DD, class VD>
  static HWY_INLINE VD apply(DD dd, VD x, VD n) {
    const VD r = hn::NegMulAdd(n, hn::Set(dd, 1.57079632673412561417e+00), x);  // 33 bits
    return hn::NegMulAdd(n, hn::Set(dd, 6.07710050650619224932e-11), r);
  }
};
template <bool kCosine, class D, class V = hn::Vec<D>>
HWY_INLINE V sin_cos(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto big = hn::Not(hn::Le(hn::Abs(x), hn::Set(d, 1048576.0f)));  // also NaN
  const V s = hn::IfThenZeroElse(big, x);
  const V n = hn::Round(hn::Mul(s, hn::Set(d, 0.636619772f)));
  const V r = via_f64<ReduceTrig>(d, s, n);
  auto q = hn::ConvertTo(di, n);
  if (kCosine) q = hn::Add(q, hn::Set(di, 1));
  const V t = hn::Mul(r, r);
  const V sp = poly(d, t, -0.166666672f, 0.00833332911f, -0.000198393274f, 2.71823728e-06f);
  const V sn = hn::MulAdd(hn::Mul(t, r), sp, r);
  const V cp = poly(d, t, 0.0416666679f, -0.00138888834f, 2.47995122e-05f, -2.72095463e-07f);
  const V cs = hn::MulAdd(hn::Mul(t, t), cp, hn::NegMulAdd(t, hn::Set(d, 0.5f), hn::Set(d, 1.0f)));
  const auto one = hn::Set(di, 1), two = hn::Set(di, 2);
  const auto odd = hn::RebindMask(d, hn::Eq(hn::And(q, one), one));
  const V sign = hn::BitCast(d, hn::ShiftLeft<30>(hn::And(q, two)));
  V y = hn::Xor(hn::IfThenElse(odd, cs, sn), sign);
  if (!kCosine) y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, y);
  if (HWY_UNLIKELY(!hn::AllFalse(d, big))) {
    alignas(64) float in[HWY_MAX_BYTES / 4], out[HWY_MAX_BYTES / 4];
    hn::Store(x, d, in);
    hn::Store(y, d, out);
    for (size_t i = 0; i < hn::Lanes(d); ++i) {
      if (std::fabs(in[i]) <= 1048576.0f) continue;
      out[i] = static_cast<float>(kCosine ? std::cos(static_cast<double>(in[i]))
                                          : std::sin(static_cast<double>(in[i])));
    }
    y = hn::Load(d, out);
  }
  return y;
}

// |x|^y in fp64 as 2^(y log2|x|): 2^-34 relative for results in fp32 range.
struct PowCore {
  template <class DD, class VD>
  static HWY_INLINE VD apply(DD dd, VD x, VD y) {
    const hn::RebindToSigned<DD> di;
    const VD one = hn::Set(dd, 1.0);
    const auto off = hn::Set(di, 0x3FE6A09E667F3BCD);
    const auto i = hn::Sub(hn::BitCast(di, hn::Abs(x)), off);
    const VD m = hn::BitCast(dd, hn::Add(hn::And(i, hn::Set(di, 0xFFFFFFFFFFFFF)), off));
    const auto ki = hn::ShiftRight<52>(i);
    const VD magic = hn::Set(dd, 6755399441055744.0);  // 1.5 * 2^52
    const VD k = hn::Sub(hn::BitCast(dd, hn::Add(ki, hn::BitCast(di, magic))), magic);
    const VD s = hn::Div(hn::Sub(m, one), hn::Add(m, one));
    const VD l =
        poly(dd, hn::Mul(s, s), 2.8853900817778504, 0.96179669411446311, 0.57707794191013784,
             0.4122093065098682, 0.31990321734819166, 0.28293870198996962);
    VD e = hn::Mul(y, hn::MulAdd(l, s, k));
    e = hn::Min(hn::Set(dd, 200.0), hn::Max(hn::Set(dd, -200.0), e));
    const VD biased = hn::Add(e, magic);
    const VD n = hn::Sub(biased, magic);
    const VD p =
        poly(dd, hn::Sub(e, n), 0.99999999999975731, 0.69314718054629454, 0.24022650698931833,
             0.055504109402282051, 0.0096181285353506077, 0.0013333451207043503,
             0.00015403854747930346, 1.5309966246560481e-05, 1.317562088439753e-06);
    return hn::BitCast(dd, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<52>(hn::BitCast(di, biased))));
  }
};
template <class D, class V = hn::Vec<D>>
HWY_INLINE V pow_v(D d, V x, V y) {
  const hn::RebindToUnsigned<D> du;
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0f);
  const V inf = hn::Set(d, std::numeric_limits<float>::infinity());
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V ax = hn::Abs(x), ay = hn::Abs(y);
  V r = via_f64<PowCore>(d, ax, y);
  // Zero, infinite base; infinite exponent.
  const auto y_neg = hn::Lt(y, zero);
  const V of_zero = hn::IfThenElse(y_neg, inf, zero), of_inf = hn::IfThenElse(y_neg, zero, inf);
  r = hn::IfThenElse(hn::Eq(ax, zero), of_zero, r);
  r = hn::IfThenElse(hn::Eq(ax, inf), of_inf, r);
  const auto y_inf = hn::Eq(ay, inf);
  r = hn::IfThenElse(hn::And(y_inf, hn::Gt(ax, one)), of_inf, r);
  r = hn::IfThenElse(hn::And(y_inf, hn::Lt(ax, one)), of_zero, r);
  // Negative base: sign of odd powers, no value for fractions. Floats from 2^24 on are even.
  const auto integral = hn::Eq(hn::Trunc(y), y);
  const V half = hn::Mul(y, hn::Set(d, 0.5f));
  const auto odd = hn::And(hn::And(integral, hn::Lt(ay, hn::Set(d, 16777216.0f))),
                           hn::Ne(hn::Trunc(half), half));
  const V sign = hn::BitCast(d, hn::And(hn::BitCast(du, x), hn::Set(du, 0x80000000u)));
  r = hn::Or(r, hn::IfThenElseZero(odd, sign));
  const auto bad = hn::And(hn::And(hn::Lt(x, zero), hn::Lt(ax, inf)),
                           hn::And(hn::Not(integral), hn::Not(y_inf)));
  r = hn::IfThenElse(bad, nan, r);
  r = hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::IsNaN(y)), nan, r);
  const auto is_one =
      hn::Or(hn::Or(hn::Eq(x, one), hn::Eq(y, zero)), hn::And(hn::Eq(ax, one), y_inf));
  return hn::IfThenElse(is_one, one, r);
}

// a / 2 x (1 + erf(x / sqrt 2))
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_v(D d, V x, V a) {
  const V h = hn::Mul(x, hn::Mul(a, hn::Set(d, 0.5f)));
  return hn::MulAdd(h, erf_v(d, hn::Mul(x, hn::Set(d, 0.707106781f))), h);
}

// x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form without its cancellation.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_tanh_v(D d, V x) {
  const V x2 = hn::Mul(x, x);
  const V u = hn::Mul(x, hn::MulAdd(x2, hn::Set(d, 0.0713548162726f), hn::Set(d, 1.59576912161f)));
  return hn::Mul(x, sigmoid_v(d, u));
}

// x sigmoid(b x)
template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu_v(D d, V x, V b) {
  return hn::Mul(x, sigmoid_v(d, hn::Mul(b, x)));
}

// x tanh(softplus x) = x m / (m + 2), m = e^x (e^x + 2)
template <class D, class V = hn::Vec<D>>
HWY_INLINE V mish_v(D d, V x) {
  const V two = hn::Set(d, 2.0f);
  const V e = exp_v(d, clamp_keep_nan(d, x, hn::Set(d, -104.0f), hn::Set(d, 20.0f)));
  const V m = hn::Mul(e, hn::Add(e, two));
  return hn::Mul(x, hn::Div(m, hn::Add(m, two)));
}

}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();
#endif
