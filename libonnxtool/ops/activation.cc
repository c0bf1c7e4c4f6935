// SPDX-License-Identifier: Apache-2.0
// Elementwise activations with parameters (attributes, bounds, slopes), of ai.onnx and
// com.microsoft.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

double sigmoid(double x) {
  if (x >= 0) return 1.0 / (1.0 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1.0 + e);
}
double gelu(double x) { return 0.5 * x * (1.0 + std::erf(x * 0.70710678118654752440)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1.0 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}
double elu(double x, double alpha) { return x < 0 ? alpha * std::expm1(x) : x; }

double alpha_of(const EvalContext& ctx, float def) { return ctx.node().attr_float("alpha", def); }

Status eval_hard_sigmoid(EvalContext& ctx) {
  const double a = alpha_of(ctx, 0.2F), b = ctx.node().attr_float("beta", 0.5F);
  return eval_unary(ctx, [=](double x) {
    const double y = a * x + b;
    return y < 0 ? 0.0 : y > 1 ? 1.0 : y;
  });
}

Status eval_leaky_relu(EvalContext& ctx) {
  const double a = alpha_of(ctx, 0.01F);
  return eval_unary(ctx, [=](double x) { return x < 0 ? a * x : x; });
}

Status eval_thresholded_relu(EvalContext& ctx) {
  const double a = alpha_of(ctx, 1.0F);
  return eval_unary(ctx, [=](double x) { return x > a ? x : 0.0; });
}

Status eval_elu(EvalContext& ctx) {
  const double a = alpha_of(ctx, 1.0F);
  return eval_unary(ctx, [=](double x) { return elu(x, a); });
}

Status eval_selu(EvalContext& ctx) {
  const bool old = ctx.version() < 6;
  const double a = alpha_of(ctx, old ? 1.6732F : 1.67326319217681884765625F);
  const double g = ctx.node().attr_float("gamma", old ? 1.0507F : 1.05070102214813232421875F);
  return eval_unary(ctx, [=](double x) { return g * elu(x, a); });
}

Status eval_celu(EvalContext& ctx) {
  const double a = alpha_of(ctx, 1.0F);
  return eval_unary(ctx, [=](double x) { return x < 0 ? a * std::expm1(x / a) : x; });
}

Status eval_swish(EvalContext& ctx) {
  const double a = alpha_of(ctx, 1.0F);
  return eval_unary(ctx, [=](double x) { return x * sigmoid(a * x); });
}

Status eval_quick_gelu(EvalContext& ctx) {
  const double a = alpha_of(ctx, 1.702F);
  return eval_unary(ctx, [=](double x) { return x * sigmoid(a * x); });
}

Status eval_gelu(EvalContext& ctx) {
  const std::string_view mode = ctx.node().attr_str("approximate", "none");
  if (mode != "none" && mode != "tanh")
    return ctx.error(format("attribute 'approximate' is {}", quoted(mode)));
  return eval_unary(ctx, mode == "tanh" ? gelu_tanh : gelu);
}

Status eval_ms_gelu(EvalContext& ctx) { return eval_unary(ctx, gelu); }

Status check_bias(const Shape* x, const Shape* b) {
  if (x && b && (b->size() != 1 || x->empty() || Dim::differ((*b)[0], x->back())))
    return invalid(
        format("bias of shape {} does not fit an input of shape {}", to_string(*b), to_string(*x)));
  return ok();
}

Status check_bias(const EvalContext& ctx) {
  const Shape x = to_shape(ctx.in(0).dims()), b = to_shape(ctx.in(1).dims());
  return check_bias(&x, &b);
}

Status eval_bias_gelu(EvalContext& ctx) {
  TRY(check_bias(ctx));
  return eval_binary(ctx, [](double x, double b) { return gelu(x + b); });
}

Status eval_fast_gelu(EvalContext& ctx) {
  if (!ctx.has(1)) return eval_unary(ctx, gelu_tanh);
  TRY(check_bias(ctx));
  return eval_binary(ctx, [](double x, double b) { return gelu_tanh(x + b); });
}

Status eval_shrink(EvalContext& ctx) {
  const double bias = ctx.node().attr_float("bias", 0.0F);
  const double lambd = ctx.node().attr_float("lambd", 0.5F);
  auto f = [=](double x) { return x < -lambd ? x + bias : x > lambd ? x - bias : 0.0; };
  return eval_unary(
      ctx, f, [=](int64_t x) { return to_int64(f(static_cast<double>(x))); },
      [=](uint64_t x) { return static_cast<uint64_t>(to_int64(f(static_cast<double>(x)))); });
}

// ------------------------------------------------------------------------------------------ Clip
// One bound: input i, or before version 11 the attribute. Null where it is left out.
struct Bound {
  bool given = false;
  double f = 0;
  int64_t i = 0;
};

Result<Bound> bound_of(const EvalContext& ctx, size_t i, const char* attr) {
  if (const Attribute* a = ctx.node().attr(attr); a && a->type == AttrType::kFloat)
    return Bound{true, a->f(), 0};
  if (!ctx.has(i)) return Bound{};
  const Tensor& t = ctx.in(i);
  if (t.size() != 1)
    return ctx.error(format("'{}' has shape {}, it must be a scalar", attr, to_string(t.dims())));
  if (t.dtype() != ctx.in(0).dtype())
    return ctx.error(format("'{}' is {}, the input is {}", attr, dtype_name(t.dtype()),
                            dtype_name(ctx.in(0).dtype())));
  return Bound{true, t.f64_at(0), t.i64_at(0)};
}

template <typename T>
T clip(T x, const Bound& lo, T low, const Bound& hi, T high) {
  if (lo.given && x < low) x = low;
  return hi.given && x > high ? high : x;
}

Status eval_clip(EvalContext& ctx) {
  TRY_ASSIGN(const Bound lo, bound_of(ctx, 1, "min"));
  TRY_ASSIGN(const Bound hi, bound_of(ctx, 2, "max"));
  return eval_unary(
      ctx, [=](double x) { return clip(x, lo, lo.f, hi, hi.f); },
      [=](int64_t x) { return clip(x, lo, lo.i, hi, hi.i); },
      [=](uint64_t x) {
        return clip(x, lo, static_cast<uint64_t>(lo.i), hi, static_cast<uint64_t>(hi.i));
      });
}

Status infer_clip(InferContext& ctx) {
  for (size_t i = 1; i < 3; ++i)
    if (const Shape* s = ctx.shape(i)) {
      const Dim n = element_count(*s);
      if (n.is_const() && n.value() != 1)
        return ctx.error(format("'{}' has shape {}, it must be a scalar", i == 1 ? "min" : "max",
                                to_string(*s)));
    }
  TRY(infer_same(ctx));
  if (!ctx.has_input(1) && !ctx.has_input(2)) return ok();
  const auto lo = ctx.has_input(1) ? partial_of(ctx, 1) : std::nullopt;
  const auto hi = ctx.has_input(2) ? partial_of(ctx, 2) : std::nullopt;
  if ((ctx.has_input(1) && !lo) || (ctx.has_input(2) && !hi)) return ok();
  if ((lo && lo->size() != 1) || (hi && hi->size() != 1)) return ok();
  map_partial(ctx, 1, ctx.dtype(0), [&](std::span<const Dim> a) {
    Dim r = a[0];
    if (lo) r = max(r, (*lo)[0]);
    return hi ? min(r, (*hi)[0]) : r;
  });
  return ok();
}

Result<bool> clip_up(Model& m, NodeId n) {
  static constexpr const char* kAttrs[] = {"min", "max"};
  for (const char* a : kAttrs)
    if (refers(m.node(n), a)) return false;
  if (!m.node(n).attr("min") && !m.node(n).attr("max")) return true;
  const DType t = declared_dtype(m, m.node(n).input(0));
  if (!is_float(t)) return false;
  for (size_t i = 0; i < 2; ++i) {
    if (!m.node(n).attr(kAttrs[i])) continue;
    const double value = m.node(n).attr_float(kAttrs[i], 0);
    TRY_ASSIGN(Tensor c, Tensor::from_f64(t, {}, {&value, 1}));
    m.remove_attr(n, kAttrs[i]);
    set_constant_input(m, n, i + 1, kAttrs[i], std::move(c));
  }
  return true;
}

Status clip_down(Model& m, NodeId n) {
  static constexpr const char* kAttrs[] = {"min", "max"};
  for (size_t i = 1; i < 3; ++i) {
    const ValueId v = m.node(n).input(i);
    if (!v.valid()) continue;
    const Tensor* t = m.constant(v);
    if (!t || t->size() != 1 || !is_float(t->dtype()))
      return step_error(
          format("input '{}' is not a constant of a float type, and it is an "
                 "attribute there",
                 kAttrs[i - 1]));
  }
  for (size_t i = 3; --i > 0;) {
    if (!m.node(n).has_input(i)) continue;
    const float value = static_cast<float>(m.constant(m.node(n).input(i))->f64_at(0));
    m.set_attr(n, Attribute::of(kAttrs[i - 1], value));
    drop_input(m, n, i);
  }
  return ok();
}

// ----------------------------------------------------------------------------------------- PRelu
// Before version 7 a slope of one dim belongs to axis 1, as [C, 1, ...].
bool slope_is_channels(int version, size_t x_rank, size_t slope_rank) {
  return version < 7 && slope_rank == 1 && x_rank > 2;
}

Status eval_prelu(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor slope = ctx.in(1);
  if (slope_is_channels(ctx.version(), x.dims().size(), slope.dims().size())) {
    Dims d(x.dims().size() - 1, 1);
    d[0] = slope.size();
    slope = slope.reshaped(std::move(d));
  }
  const auto out = broadcast_dims(x.dims(), slope.dims());
  if (!out || *out != x.dims())
    return ctx.error(format("slope of shape {} does not broadcast to {}", to_string(slope.dims()),
                            to_string(x.dims())));
  TRY_ASSIGN(Tensor r, map_binary(
                           ctx, x, slope, [](double a, double s) { return a < 0 ? a * s : a; },
                           [](int64_t a, int64_t s) {
                             return a < 0 ? static_cast<int64_t>(static_cast<uint64_t>(a) *
                                                                 static_cast<uint64_t>(s))
                                          : a;
                           },
                           [](uint64_t a, uint64_t) { return a; }));
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_prelu(InferContext& ctx) {
  const Shape* x = ctx.shape(0);
  const Shape* s = ctx.shape(1);
  if (x && s) {
    const bool channels = slope_is_channels(ctx.version(), x->size(), s->size());
    bool fits = s->size() <= x->size();
    for (size_t i = 0; fits && i < s->size(); ++i) {
      const Dim a = channels ? (*x)[1] : (*x)[x->size() - s->size() + i];
      const Dim b = (*s)[i];
      fits = !(a.is_const() && b.is_const() && b.value() != 1 && a.value() != b.value());
    }
    if (!fits)
      return ctx.error(
          format("slope of shape {} does not broadcast to {}", to_string(*s), to_string(*x)));
  }
  return infer_same(ctx);
}

Result<bool> prelu_up7(Model& m, NodeId n) {
  const ValueId v = m.node(n).input(1);
  const Tensor* slope = v.valid() ? m.constant(v) : nullptr;
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (slope && slope->size() == 1 && slope->rank() <= rank.value_or(1)) return true;
  if (!rank || !slope) return false;
  if (slope->rank() != 1 || *rank <= 2) return *rank == 2 || slope->rank() == 0;
  Dims d(static_cast<size_t>(*rank - 1), 1);
  d[0] = slope->size();
  set_constant_input(m, n, 1, "slope", slope->reshaped(std::move(d)));
  return true;
}

Status prelu_down7(Model& m, NodeId n) {
  const ValueId v = m.node(n).input(1);
  const Tensor* slope = v.valid() ? m.constant(v) : nullptr;
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (slope && slope->size() == 1) return ok();
  const bool channels = slope && rank && *rank >= 2 && slope->rank() == *rank - 1 &&
                        slope->dims()[0] == slope->size();
  if (!channels) return step_error("the slope is not a constant for each channel");
  if (*rank > 2) set_constant_input(m, n, 1, "slope", slope->reshaped({slope->size()}));
  return ok();
}

Status eval_swiglu(EvalContext& ctx) {
  if (ctx.in(0).dims() != ctx.in(1).dims())
    return ctx.error(format("shapes {} and {} differ", to_string(ctx.in(0).dims()),
                            to_string(ctx.in(1).dims())));
  const double a = alpha_of(ctx, 1.0F);
  return eval_binary(ctx, [=](double x, double y) { return x * sigmoid(a * x) * y; });
}

Status infer_swiglu(InferContext& ctx) {
  auto t = merge(Type::tensor(DType::kUndefined, ctx.input(0).shape),
                 Type::tensor(DType::kUndefined, ctx.input(1).shape));
  if (!t)
    return ctx.error(
        format("shapes {} and {} differ", to_string(*ctx.shape(0)), to_string(*ctx.shape(1))));
  return ctx.set(0, ctx.dtype(0), t->shape);
}

Status infer_gelu(InferContext& ctx) {
  const std::string_view mode = ctx.node().attr_str("approximate", "none");
  if (mode != "none" && mode != "tanh")
    return ctx.error(
        format("attribute 'approximate' is {}, must be 'none' or 'tanh'", quoted(mode)));
  return infer_same(ctx);
}

Status infer_bias_gelu(InferContext& ctx) {
  TRY(check_bias(ctx.shape(0), ctx.shape(1)));
  return infer_same(ctx);
}

// Selu 6 changed the defaults of both attributes in the last digits.
void keep_selu_defaults(Model& m, NodeId n, float alpha, float gamma) {
  if (!m.node(n).attr("alpha")) m.set_attr(n, Attribute::of("alpha", alpha));
  if (!m.node(n).attr("gamma")) m.set_attr(n, Attribute::of("gamma", gamma));
}
Result<bool> selu_up(Model& m, NodeId n) {
  keep_selu_defaults(m, n, 1.6732F, 1.0507F);
  return drop_consumed_inputs(m, n);
}
Status selu_down(Model& m, NodeId n) {
  keep_selu_defaults(m, n, 1.67326319217681884765625F, 1.05070102214813232421875F);
  return ok();
}

constexpr VersionStep kSteps6[] = {kConsumedInputsStep};
constexpr VersionStep kSeluSteps[] = {{6, selu_up, selu_down}};
constexpr VersionStep kClipSteps[] = {kConsumedInputsStep, {11, clip_up, clip_down}};
constexpr VersionStep kPReluSteps[] = {kConsumedInputsStep, {7, prelu_up7, prelu_down7}};
constexpr const char* kMs = "com.microsoft";

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    activation,
    {.name = "HardSigmoid",
     .infer = infer_same,
     .eval = eval_hard_sigmoid,
     .steps = kSteps6,
     .flags = kElementwise},
    {.name = "LeakyRelu",
     .infer = infer_same,
     .eval = eval_leaky_relu,
     .steps = kSteps6,
     .flags = kElementwise},
    {.name = "ThresholdedRelu",
     .infer = infer_same,
     .eval = eval_thresholded_relu,
     .flags = kElementwise},
    {.name = "Elu", .infer = infer_same, .eval = eval_elu, .steps = kSteps6, .flags = kElementwise},
    {.name = "Selu",
     .infer = infer_same,
     .eval = eval_selu,
     .steps = kSeluSteps,
     .flags = kElementwise},
    {.name = "Celu", .infer = infer_same, .eval = eval_celu, .flags = kElementwise},
    {.name = "Swish", .infer = infer_same, .eval = eval_swish, .flags = kElementwise},
    {.name = "Gelu", .infer = infer_gelu, .eval = eval_gelu, .flags = kElementwise},
    {.name = "Shrink", .infer = infer_same, .eval = eval_shrink, .flags = kElementwise},
    {.name = "Clip",
     .infer = infer_clip,
     .eval = eval_clip,
     .steps = kClipSteps,
     .flags = kElementwise},
    {.name = "PRelu",
     .infer = infer_prelu,
     .eval = eval_prelu,
     .steps = kPReluSteps,
     .flags = kElementwise},
    {.name = "SwiGLU", .infer = infer_swiglu, .eval = eval_swiglu, .flags = kElementwise},
    {.name = "Gelu",
     .domain = kMs,
     .infer = infer_same,
     .eval = eval_ms_gelu,
     .flags = kElementwise},
    {.name = "QuickGelu",
     .domain = kMs,
     .infer = infer_same,
     .eval = eval_quick_gelu,
     .flags = kElementwise},
    {.name = "BiasGelu",
     .domain = kMs,
     .infer = infer_bias_gelu,
     .eval = eval_bias_gelu,
     .flags = kElementwise},
    {.name = "FastGelu",
     .domain = kMs,
     .infer = infer_bias_gelu,
     .eval = eval_fast_gelu,
     .flags = kElementwise}, )
