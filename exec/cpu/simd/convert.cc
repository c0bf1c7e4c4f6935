// SPDX-License-Identifier: Apache-2.0
// Element type conversions (convert.h).
#include "exec/cpu/simd/convert.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/convert.cc"
#include <hwy/foreach_target.h>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// Runs op (From vector -> To vector, as many lanes as a float vector) over n elements.
template <class Op, class From, class To>
void run(const From* x, To* y, int64_t n) {
  const DF d;
  const hn::Rebind<From, DF> df;
  const hn::Rebind<To, DF> dt;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Op::apply(d, hn::LoadU(df, x + i)), dt, y + i);
  if (i == n) return;
  alignas(64) From in[HWY_MAX_BYTES / 4] = {};
  alignas(64) To out[HWY_MAX_BYTES / 4];
  std::memcpy(in, x + i, static_cast<size_t>(n - i) * sizeof(From));
  hn::Store(Op::apply(d, hn::Load(df, in)), dt, out);
  std::memcpy(y + i, out, static_cast<size_t>(n - i) * sizeof(To));
}

// binary16 by integer arithmetic where the target has no instruction (the baseline).
struct F32ToF16 {
  static HWY_INLINE hn::Vec<hn::Rebind<uint16_t, DF>> apply(DF d, VF x) {
    const hn::Rebind<uint16_t, DF> d16;
#if HWY_TARGET == HWY_AVX3
    (void)d;
    return hn::Vec<hn::Rebind<uint16_t, DF>>{_mm512_cvtps_ph(x.raw, 0)};
#elif HWY_TARGET == HWY_AVX2
    (void)d;
    return hn::Vec<hn::Rebind<uint16_t, DF>>{_mm256_cvtps_ph(x.raw, 0)};
#else
    const DU du;
    const auto u = hn::BitCast(du, x);
    const auto sign = hn::And(u, hn::Set(du, 0x80000000u));
    const auto a = hn::Xor(u, sign);
    // Normal results: rebias the exponent and round at bit 13 to even.
    const auto odd = hn::And(hn::ShiftRight<13>(a), hn::Set(du, 1u));
    const auto normal =
        hn::ShiftRight<13>(hn::Add(hn::Add(a, hn::Set(du, 0xc8000fffu)), odd));  // -112 << 23
    // Results below 2^-14: let the adder round at the right bit, 0.5 has its ulp at 2^-24.
    const auto magic = hn::Set(d, 0.5f);
    const auto sub =
        hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, a), magic)), hn::BitCast(du, magic));
    const auto special = hn::IfThenElse(
        hn::Gt(a, hn::Set(du, 0x7f800000u)),
        hn::Or(hn::Set(du, 0x7e00u), hn::And(hn::ShiftRight<13>(a), hn::Set(du, 0x3ffu))),
        hn::Set(du, 0x7c00u));
    auto r = hn::IfThenElse(hn::Lt(a, hn::Set(du, 0x38800000u)), sub, normal);
    r = hn::IfThenElse(hn::Gt(a, hn::Set(du, 0x477fefffu)), special, r);
    r = hn::Or(r, hn::ShiftRight<16>(sign));
    return hn::DemoteTo(d16, hn::BitCast(DI(), r));
#endif
  }
};
struct F16ToF32 {
  static HWY_INLINE VF apply(DF d, hn::Vec<hn::Rebind<uint16_t, DF>> h) {
#if HWY_TARGET == HWY_AVX3
    (void)d;
    return VF{_mm512_cvtph_ps(h.raw)};
#elif HWY_TARGET == HWY_AVX2
    (void)d;
    return VF{_mm256_cvtph_ps(h.raw)};
#else
    const DU du;
    const auto u = hn::PromoteTo(du, h);
    const auto sign = hn::ShiftLeft<16>(hn::And(u, hn::Set(du, 0x8000u)));
    const auto a = hn::ShiftLeft<13>(hn::And(u, hn::Set(du, 0x7fffu)));
    // 2^112 rebiases and normalizes denormals; infinities and NaN need the top exponent instead.
    const auto scaled = hn::BitCast(du, hn::Mul(hn::BitCast(d, a), hn::Set(d, 0x1p112f)));
    auto top = hn::Or(a, hn::Set(du, 0x7f800000u));
    top = hn::IfThenElse(hn::Gt(a, hn::Set(du, 0x0f800000u)), hn::Or(top, hn::Set(du, 0x400000u)),
                         top);
    const auto r = hn::IfThenElse(hn::Gt(a, hn::Set(du, 0x0f7fffffu)), top, scaled);
    return hn::BitCast(d, hn::Or(r, sign));
#endif
  }
};

struct F32ToBf16 {
  static HWY_INLINE hn::Vec<hn::Rebind<uint16_t, DF>> apply(DF d, VF x) {
    const DU du;
    const hn::Rebind<uint16_t, DF> d16;
    const auto u = hn::BitCast(du, x);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
    const auto rounded = hn::Add(hn::Add(u, hn::Set(du, 0x7fffu)), odd);
    const auto quiet = hn::Or(u, hn::Set(du, 0x400000u));
    const auto r = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
    (void)d;
    return hn::DemoteTo(d16, hn::BitCast(DI(), hn::ShiftRight<16>(r)));
  }
};
struct Bf16ToF32 {
  static HWY_INLINE VF apply(DF d, hn::Vec<hn::Rebind<uint16_t, DF>> h) {
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(DU(), h)));
  }
};

struct IntToF32 {
  template <class V>
  static HWY_INLINE VF apply(DF d, V x) {
    return hn::ConvertTo(d, hn::PromoteTo(DI(), x));
  }
};
struct I32ToF32 {
  static HWY_INLINE VF apply(DF d, hn::Vec<DI> x) { return hn::ConvertTo(d, x); }
};
struct BoolToF32 {
  template <class V>
  static HWY_INLINE VF apply(DF d, V x) {
    const auto i = hn::PromoteTo(DI(), x);
    return hn::ConvertTo(d, hn::Min(i, hn::Set(DI(), 1)));
  }
};

HWY_INLINE VF nan_to_zero(VF x) { return hn::IfThenZeroElse(hn::IsNaN(x), x); }

template <class To>
struct F32ToSmall {  // u8, i8: the saturation of DemoteTo does the rest
  static HWY_INLINE hn::Vec<hn::Rebind<To, DF>> apply(DF d, VF x) {
    const hn::Rebind<To, DF> dt;
    const VF lo = hn::Set(d, -256.0f), hi = hn::Set(d, 256.0f);
    const VF c = hn::Min(hn::Max(nan_to_zero(x), lo), hi);
    return hn::DemoteTo(dt, hn::ConvertTo(DI(), c));
  }
};
struct F32ToI32 {
  static HWY_INLINE hn::Vec<DI> apply(DF d, VF x) {
    // 2^31 is no int32: saturate by hand, all targets alike.
    const auto high = hn::RebindMask(DI(), hn::Ge(x, hn::Set(d, 2147483648.0f)));
    const VF c = hn::IfThenElse(hn::Ge(x, hn::Set(d, 2147483648.0f)), hn::Zero(d),
                                hn::Max(nan_to_zero(x), hn::Set(d, -2147483648.0f)));
    return hn::IfThenElse(high, hn::Set(DI(), INT32_MAX), hn::ConvertTo(DI(), c));
  }
};
struct F32ToBool {
  static HWY_INLINE hn::Vec<hn::Rebind<uint8_t, DF>> apply(DF d, VF x) {
    const hn::Rebind<uint8_t, DF> d8;
    const auto is = hn::VecFromMask(d, hn::Not(hn::Eq(x, hn::Zero(d))));
    return hn::DemoteTo(d8, hn::And(hn::BitCast(DI(), is), hn::Set(DI(), 1)));
  }
};

void cvt_f32_f16(const float* x, uint16_t* y, int64_t n) { run<F32ToF16>(x, y, n); }
void cvt_f16_f32(const uint16_t* x, float* y, int64_t n) { run<F16ToF32>(x, y, n); }
void cvt_f32_bf16(const float* x, uint16_t* y, int64_t n) { run<F32ToBf16>(x, y, n); }
void cvt_bf16_f32(const uint16_t* x, float* y, int64_t n) { run<Bf16ToF32>(x, y, n); }
void cvt_u8_f32(const uint8_t* x, float* y, int64_t n) { run<IntToF32>(x, y, n); }
void cvt_i8_f32(const int8_t* x, float* y, int64_t n) { run<IntToF32>(x, y, n); }
void cvt_i32_f32(const int32_t* x, float* y, int64_t n) { run<I32ToF32>(x, y, n); }
void cvt_bool_f32(const uint8_t* x, float* y, int64_t n) { run<BoolToF32>(x, y, n); }
void cvt_f32_u8(const float* x, uint8_t* y, int64_t n) { run<F32ToSmall<uint8_t>>(x, y, n); }
void cvt_f32_i8(const float* x, int8_t* y, int64_t n) { run<F32ToSmall<int8_t>>(x, y, n); }
void cvt_f32_i32(const float* x, int32_t* y, int64_t n) { run<F32ToI32>(x, y, n); }
void cvt_f32_bool(const float* x, uint8_t* y, int64_t n) { run<F32ToBool>(x, y, n); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

#define ONNXTOOL_CONVERT(fn, name, From, To) \
  HWY_EXPORT(fn);                            \
  void name(const From* x, To* y, int64_t n) { HWY_DYNAMIC_DISPATCH(fn)(x, y, n); }

ONNXTOOL_CONVERT(cvt_f32_f16, f32_to_f16, float, uint16_t)
ONNXTOOL_CONVERT(cvt_f16_f32, f16_to_f32, uint16_t, float)
ONNXTOOL_CONVERT(cvt_f32_bf16, f32_to_bf16, float, uint16_t)
ONNXTOOL_CONVERT(cvt_bf16_f32, bf16_to_f32, uint16_t, float)
ONNXTOOL_CONVERT(cvt_u8_f32, u8_to_f32, uint8_t, float)
ONNXTOOL_CONVERT(cvt_i8_f32, i8_to_f32, int8_t, float)
ONNXTOOL_CONVERT(cvt_i32_f32, i32_to_f32, int32_t, float)
ONNXTOOL_CONVERT(cvt_bool_f32, bool_to_f32, uint8_t, float)
ONNXTOOL_CONVERT(cvt_f32_u8, f32_to_u8, float, uint8_t)
ONNXTOOL_CONVERT(cvt_f32_i8, f32_to_i8, float, int8_t)
ONNXTOOL_CONVERT(cvt_f32_i32, f32_to_i32, float, int32_t)
ONNXTOOL_CONVERT(cvt_f32_bool, f32_to_bool, float, uint8_t)

void i64_to_f32(const int64_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]);
}
void f32_to_i64(const float* x, int64_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    y[i] = v >= 0x1p63f   ? INT64_MAX
           : v < -0x1p63f ? INT64_MIN
           : v == v       ? static_cast<int64_t>(v)
                          : 0;
  }
}
void i32_to_i64(const int32_t* x, int64_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
}
void i64_to_i32(const int64_t* x, int32_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<int32_t>(static_cast<uint64_t>(x[i]));
}

}  // namespace onnxtool::simd
#endif
