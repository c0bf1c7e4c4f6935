// SPDX-License-Identifier: Apache-2.0
// Unary elementwise kernels (eltwise.h): one functor per op, one loop for all.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/unary.cc"
#include <hwy/foreach_target.h>

#include "exec/cpu/simd/math-inl.h"
#include "exec/cpu/simd/tables.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// A functor is given the tag, the vector and both parameters as vectors.
#define ONNXTOOL_UNARY(name, ...)                        \
  struct name {                                          \
    static HWY_INLINE VF apply(DF d, VF x, VF a, VF b) { \
      (void)d, (void)a, (void)b;                         \
      __VA_ARGS__                                        \
    }                                                    \
  };

HWY_INLINE VF num(float v) { return hn::Set(DF(), v); }
HWY_INLINE VF hard_sigmoid_v(DF d, VF x, VF a, VF b) {
  return clamp_keep_nan(d, hn::Add(hn::Mul(a, x), b), hn::Zero(d), num(1));
}

ONNXTOOL_UNARY(Copy, return x;)
ONNXTOOL_UNARY(Neg, return hn::Neg(x);)
ONNXTOOL_UNARY(Abs, return hn::Abs(x);)
ONNXTOOL_UNARY(Sign, {
  const VF one = hn::CopySign(num(1), x);
  return hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Zero(d)), one, x);
})
ONNXTOOL_UNARY(Floor, return hn::Floor(x);)
ONNXTOOL_UNARY(Ceil, return hn::Ceil(x);)
ONNXTOOL_UNARY(Round, return hn::Round(x);)
ONNXTOOL_UNARY(Trunc, return hn::Trunc(x);)
ONNXTOOL_UNARY(Reciprocal, return hn::Div(num(1), x);)
ONNXTOOL_UNARY(Sqrt, return hn::Sqrt(x);)
ONNXTOOL_UNARY(Rsqrt, return hn::Div(num(1), hn::Sqrt(x));)
ONNXTOOL_UNARY(Square, return hn::Mul(x, x);)
ONNXTOOL_UNARY(Cube, return hn::Mul(hn::Mul(x, x), x);)
ONNXTOOL_UNARY(Exp, return exp_v(d, x);)
ONNXTOOL_UNARY(Expm1, return expm1_v(d, x);)
ONNXTOOL_UNARY(Log, return log_v(d, x);)
ONNXTOOL_UNARY(Log1p, return log1p_v(d, x);)
ONNXTOOL_UNARY(Sin, return sin_cos<false>(d, x);)
ONNXTOOL_UNARY(Cos, return sin_cos<true>(d, x);)
ONNXTOOL_UNARY(Tanh, return tanh_v(d, x);)
ONNXTOOL_UNARY(Erf, return erf_v(d, x);)
ONNXTOOL_UNARY(Sigmoid, return sigmoid_v(d, x);)
ONNXTOOL_UNARY(LogSigmoid, return hn::Neg(softplus_v(d, hn::Neg(x)));)
ONNXTOOL_UNARY(Softplus, return softplus_v(d, x);)
ONNXTOOL_UNARY(Softsign, return hn::Div(x, hn::Add(num(1), hn::Abs(x)));)
ONNXTOOL_UNARY(Relu, return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);)
ONNXTOOL_UNARY(LeakyRelu, return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(a, x), x);)
ONNXTOOL_UNARY(ThresholdedRelu, return hn::IfThenElseZero(hn::Gt(x, a), x);)
ONNXTOOL_UNARY(Elu, return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(a, expm1_v(d, x)), x);)
ONNXTOOL_UNARY(Selu, {
  const VF neg = hn::Mul(a, expm1_v(d, x));
  return hn::Mul(b, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), neg, x));
})
ONNXTOOL_UNARY(Celu, {
  const VF neg = hn::Mul(a, expm1_v(d, hn::Div(x, a)));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), neg, x);
})
ONNXTOOL_UNARY(HardSigmoid, return hard_sigmoid_v(d, x, a, b);)
ONNXTOOL_UNARY(HardSwish, return hn::Mul(x, hard_sigmoid_v(d, x, num(1.0f / 6.0f), num(0.5f)));)
ONNXTOOL_UNARY(Silu, return silu_v(d, x, a);)
ONNXTOOL_UNARY(Mish, return mish_v(d, x);)
ONNXTOOL_UNARY(Gelu, return gelu_v(d, x, a);)
ONNXTOOL_UNARY(GeluTanh, return hn::Mul(a, gelu_tanh_v(d, x));)
ONNXTOOL_UNARY(Clip, {
  const VF t = hn::IfThenElse(hn::Lt(x, a), a, x);
  return hn::IfThenElse(hn::Gt(t, b), b, t);
})
ONNXTOOL_UNARY(Affine, return hn::MulAdd(a, x, b);)
ONNXTOOL_UNARY(PowAny, return pow_v(d, x, a);)
ONNXTOOL_UNARY(PowHalf, {  // pow(-inf, 0.5) = inf, pow(-0, 0.5) = 0
  const VF inf = num(std::numeric_limits<float>::infinity());
  return hn::IfThenElse(hn::Eq(x, hn::Neg(inf)), inf, hn::Sqrt(hn::Add(x, hn::Zero(d))));
})
ONNXTOOL_UNARY(Shrink, {
  const VF high = hn::IfThenElseZero(hn::Gt(x, a), hn::Sub(x, b));
  return hn::IfThenElse(hn::Lt(x, hn::Neg(a)), hn::Add(x, b), high);
})

// The rest of n goes through a buffer and the same loop: each op is inlined once (compile time).
template <class Op>
void run(const float* x, float* y, int64_t n, float a, float b) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF va = hn::Set(d, a), vb = hn::Set(d, b);
  const int64_t full = n / lanes * lanes;
  const size_t rest = static_cast<size_t>(n - full);
  alignas(64) float buf[HWY_MAX_BYTES / sizeof(float)];
  if (rest != 0) hn::Store(load_n(d, x + full, rest), d, buf);
  const float* src = x;
  float* dst = y;
  int64_t count = full;
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t i = 0; i < count; i += lanes)
      hn::StoreU(Op::apply(d, hn::LoadU(d, src + i), va, vb), d, dst + i);
    if (rest == 0) return;
    src = dst = buf;
    count = lanes;
  }
  store_n(hn::Load(d, buf), d, y + full, rest);
}

void run_copy(const float* x, float* y, int64_t n, float, float) {
  if (n > 0 && x != y) std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float));
}

void run_pow(const float* x, float* y, int64_t n, float a, float b) {
  if (a == 2) return run<Square>(x, y, n, a, b);
  if (a == 3) return run<Cube>(x, y, n, a, b);
  if (a == 1) return run_copy(x, y, n, a, b);
  if (a == -1) return run<Reciprocal>(x, y, n, a, b);
  if (a == 0.5f) return run<PowHalf>(x, y, n, a, b);
  run<PowAny>(x, y, n, a, b);
}

const UnaryFn* unary_table() {
  static constexpr UnaryFn table[] = {
      run_copy,        run<Neg>,     run<Abs>,        run<Sign>,
      run<Floor>,      run<Ceil>,    run<Round>,      run<Trunc>,
      run<Reciprocal>, run<Sqrt>,    run<Rsqrt>,      run<Square>,
      run<Cube>,       run<Exp>,     run<Expm1>,      run<Log>,
      run<Log1p>,      run<Sin>,     run<Cos>,        run<Tanh>,
      run<Erf>,        run<Sigmoid>, run<LogSigmoid>, run<Softplus>,
      run<Softsign>,   run<Relu>,    run<LeakyRelu>,  run<ThresholdedRelu>,
      run<Elu>,        run<Selu>,    run<Celu>,       run<HardSigmoid>,
      run<HardSwish>,  run<Silu>,    run<Mish>,       run<Gelu>,
      run<GeluTanh>,   run<Clip>,    run<Affine>,     run_pow,
      run<Shrink>,
  };
  static_assert(sizeof(table) / sizeof(table[0]) == static_cast<size_t>(Unary::kCount));
  return table;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(unary_table);

UnaryFn unary_fn(Unary op) { return HWY_DYNAMIC_DISPATCH(unary_table)()[static_cast<size_t>(op)]; }

void unary_f32(Unary op, const float* x, float* y, int64_t n, float a, float b) {
  unary_fn(op)(x, y, n, a, b);
}

int unary_params(Unary op) {
  switch (op) {
    case Unary::kLeakyRelu:
    case Unary::kThresholdedRelu:
    case Unary::kElu:
    case Unary::kCelu:
    case Unary::kSilu:
    case Unary::kGelu:
    case Unary::kGeluTanh:
    case Unary::kPow: return 1;
    case Unary::kSelu:
    case Unary::kHardSigmoid:
    case Unary::kClip:
    case Unary::kAffine:
    case Unary::kShrink: return 2;
    default: return 0;
  }
}

}  // namespace onnxtool::simd
#endif
