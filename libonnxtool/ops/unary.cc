// SPDX-License-Identifier: Apache-2.0
// Elementwise operators of one input: arithmetic, rounding, trigonometry, activations, predicates.
// Activations with parameters: ops/activation.cc.
#include <cmath>

#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

using F = double (*)(double);
using I = int64_t (*)(int64_t);
using U = uint64_t (*)(uint64_t);

template <F f, I i = nullptr, U u = nullptr>
Status eval(EvalContext& ctx) {
  return eval_unary(ctx, f, i, u);
}

double f_neg(double x) { return -x; }
int64_t i_neg(int64_t x) { return static_cast<int64_t>(0 - static_cast<uint64_t>(x)); }
int64_t i_abs(int64_t x) { return x < 0 ? i_neg(x) : x; }
uint64_t u_same(uint64_t x) { return x; }
double f_sign(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x; }
int64_t i_sign(int64_t x) { return (x > 0) - (x < 0); }
uint64_t u_sign(uint64_t x) { return x != 0; }
double f_reciprocal(double x) { return 1.0 / x; }
double f_sigmoid(double x) {
  if (x >= 0) return 1.0 / (1.0 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1.0 + e);
}
double f_hard_swish(double x) {
  const double gate = x / 6.0 + 0.5;
  return x * (gate < 0 ? 0.0 : gate > 1 ? 1.0 : gate);
}
double f_relu(double x) { return x < 0 ? 0.0 : x; }
int64_t i_relu(int64_t x) { return x < 0 ? 0 : x; }
double f_softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double f_softsign(double x) { return x / (1.0 + std::fabs(x)); }
double f_mish(double x) { return x * std::tanh(f_softplus(x)); }
int64_t i_not(int64_t x) { return x == 0; }
int64_t i_bit_not(int64_t x) { return ~x; }
// Erf 9 took integers as well: the result is the truncated one.
int64_t i_erf(int64_t x) { return static_cast<int64_t>(std::erf(static_cast<double>(x))); }
uint64_t u_erf(uint64_t x) { return static_cast<uint64_t>(std::erf(static_cast<double>(x))); }

Status eval_is_nan(EvalContext& ctx) {
  return eval_unary(
      ctx, [](double x) { return std::isnan(x) ? 1.0 : 0.0; }, nullptr, nullptr, DType::kBool);
}

Status eval_is_inf(EvalContext& ctx) {
  const bool neg = ctx.node().attr_int("detect_negative", 1) != 0;
  const bool pos = ctx.node().attr_int("detect_positive", 1) != 0;
  return eval_unary(
      ctx, [=](double x) { return std::isinf(x) && (x > 0 ? pos : neg) ? 1.0 : 0.0; }, nullptr,
      nullptr, DType::kBool);
}

Status infer_bool(InferContext& ctx) { return ctx.set(0, DType::kBool, ctx.input(0).shape); }

Dim d_neg(Dim x) { return Dim(0) - x; }
Dim d_abs(Dim x) {
  const auto low = x.lower_bound();
  if (low && *low >= 0) return x;
  if (x.is_const()) return Dim(0) - x;
  const auto high = x.upper_bound();
  return high && *high <= 0 ? Dim(0) - x : max(x, Dim(0) - x);
}
Dim d_sign(Dim x) {
  if (x.is_const()) return i_sign(x.value());
  if (x.lower_bound().value_or(0) > 0) return 1;
  if (x.upper_bound().value_or(0) < 0) return -1;
  return {};
}
Dim d_relu(Dim x) { return max(x, Dim(0)); }
Dim d_not(Dim x) { return x.is_const() ? Dim(x.value() == 0) : Dim(); }

template <Dim (*f)(Dim)>
Status infer(InferContext& ctx) {
  TRY(infer_same(ctx));
  map_partial(ctx, f);
  return ok();
}

constexpr VersionStep kSteps6[] = {kConsumedInputsStep};
constexpr VersionStep kErfSteps[] = {{13, floats_only_up, step_same_down}};

constexpr OpDef row(const char* name, Status (*eval_fn)(EvalContext&),
                    Status (*infer_fn)(InferContext&) = infer_same,
                    std::span<const VersionStep> steps = {}) {
  return {.name = name, .infer = infer_fn, .eval = eval_fn, .steps = steps, .flags = kElementwise};
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(unary, row("Abs", eval<std::fabs, i_abs, u_same>, infer<d_abs>, kSteps6),
             row("Neg", eval<f_neg, i_neg>, infer<d_neg>, kSteps6),
             row("Sign", eval<f_sign, i_sign, u_sign>, infer<d_sign>),
             row("Ceil", eval<std::ceil>, infer_same, kSteps6),
             row("Floor", eval<std::floor>, infer_same, kSteps6),
             row("Round", eval<std::nearbyint>), row("Sqrt", eval<std::sqrt>, infer_same, kSteps6),
             row("Reciprocal", eval<f_reciprocal>, infer_same, kSteps6),
             row("Exp", eval<std::exp>, infer_same, kSteps6),
             row("Log", eval<std::log>, infer_same, kSteps6),
             row("Erf", eval<std::erf, i_erf, u_erf>, infer_same, kErfSteps),
             row("Sin", eval<std::sin>), row("Cos", eval<std::cos>), row("Tan", eval<std::tan>),
             row("Asin", eval<std::asin>), row("Acos", eval<std::acos>),
             row("Atan", eval<std::atan>), row("Sinh", eval<std::sinh>),
             row("Cosh", eval<std::cosh>), row("Tanh", eval<std::tanh>, infer_same, kSteps6),
             row("Asinh", eval<std::asinh>), row("Acosh", eval<std::acosh>),
             row("Atanh", eval<std::atanh>), row("Sigmoid", eval<f_sigmoid>, infer_same, kSteps6),
             row("HardSwish", eval<f_hard_swish>),
             row("Relu", eval<f_relu, i_relu>, infer<d_relu>, kSteps6),
             row("Softplus", eval<f_softplus>), row("Softsign", eval<f_softsign>),
             row("Mish", eval<f_mish>), row("IsNaN", eval_is_nan, infer_bool),
             row("IsInf", eval_is_inf, infer_bool), row("Not", eval<nullptr, i_not>, infer<d_not>),
             row("BitwiseNot", eval<nullptr, i_bit_not>), )
