// SPDX-License-Identifier: Apache-2.0
// Random tensors: RandomNormal, RandomUniform and their ...Like forms, Bernoulli, Multinomial.
// A seed gives the numbers of onnx's reference, on every machine.
#include "libonnxtool/ops/random.h"

#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// Fills a tensor of the given shape by draws of `f`.
template <typename F>
Status fill(EvalContext& ctx, DType t, const Dims& dims, F f) {
  TRY_ASSIGN(Tensor r, ctx.allocate(t, dims));
  double v[BroadcastRuns::kMax];
  for (int64_t at = 0; at < r.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(r.size() - at));
    for (size_t k = 0; k < n; ++k) v[k] = f(at + static_cast<int64_t>(k));
    store_f64(r, at, {v, n});
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status check_float(DType t) {
  if (t == DType::kUndefined || is_float(t)) return ok();
  return invalid(format("type {} is no float type", dtype_name(t)));
}

Status draw(EvalContext& ctx, DType t, const Dims& dims, bool normal) {
  TRY(check_float(t));
  const double a = ctx.node().attr_float(normal ? "mean" : "low", 0.0F);
  const double b = ctx.node().attr_float(normal ? "scale" : "high", 1.0F);
  Random rng(seed_of(ctx));
  return fill(ctx, t, dims,
              [&](int64_t) { return normal ? a + b * rng.normal() : a + (b - a) * rng.uniform(); });
}

Result<Dims> shape_attr(const Node& node) {
  const auto* s = node.attr_ints("shape");
  if (!s) return invalid("attribute 'shape' is missing");
  for (int64_t d : *s)
    if (d < 0)
      return invalid(format("attribute 'shape' is {}", to_string(std::span<const int64_t>(*s))));
  return Dims(*s);
}

template <bool normal>
Status eval_random(EvalContext& ctx) {
  TRY_ASSIGN(const Dims dims, shape_attr(ctx.node()));
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kFloat));
  return draw(ctx, t, dims, normal);
}

template <bool normal>
Status eval_like(EvalContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", ctx.in(0).dtype()));
  return draw(ctx, t, ctx.in(0).dims(), normal);
}

Status infer_random(InferContext& ctx) {
  TRY_ASSIGN(const Dims dims, shape_attr(ctx.node()));
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kFloat));
  TRY(check_float(t));
  if (!checked_product(dims))
    return ctx.error(format("attribute 'shape' {} is too large", to_string(dims)));
  return ctx.set(0, t, to_shape(dims));
}

Status infer_like(InferContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", ctx.dtype(0)));
  TRY(check_float(t));
  return ctx.set(0, t, ctx.input(0).shape);
}

Status eval_bernoulli(EvalContext& ctx) {
  const Tensor& p = ctx.in(0);
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", p.dtype()));
  if (t == DType::kString || is_complex(t))
    return unsupported(format("Bernoulli of {} is not supported", dtype_name(t)));
  Random rng(seed_of(ctx));
  return fill(ctx, t, p.dims(), [&](int64_t i) { return rng.bernoulli(p.f64_at(i)) ? 1.0 : 0.0; });
}

Status infer_bernoulli(InferContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", ctx.dtype(0)));
  return ctx.set(0, t, ctx.input(0).shape);
}

// Rows of unnormalized log-probabilities: inverse transform on the running sum.
Status eval_multinomial(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const int64_t samples = ctx.node().attr_int("sample_size", 1);
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kInt32));
  if (x.rank() != 2 || x.dims()[1] < 1)
    return ctx.error(format("input has shape {}", to_string(x.dims())));
  if (samples < 1) return ctx.error(format("attribute 'sample_size' is {}", samples));
  if (t != DType::kInt32 && t != DType::kInt64)
    return ctx.error(format("attribute 'dtype' is {}", dtype_name(t)));
  const int64_t classes = x.dims()[1];
  TRY_ASSIGN(Tensor r, ctx.allocate(t, {x.dims()[0], samples}));
  TRY(ctx.host().reserve(classes * 8));
  std::vector<double> sum(static_cast<size_t>(classes));
  Random rng(seed_of(ctx));
  for (int64_t row = 0; row < x.dims()[0]; ++row) {
    load_f64(x, row * classes, sum);
    const double top = *std::max_element(sum.begin(), sum.end());
    double total = 0;
    for (double& v : sum) v = total += std::exp(v - top);
    for (int64_t k = 0; k < samples; ++k) {
      const auto at = std::upper_bound(sum.begin(), sum.end(), rng.uniform() * total) - sum.begin();
      const int64_t pick = std::min<int64_t>(at, classes - 1);
      store_i64(r, row * samples + k, {&pick, 1});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_multinomial(InferContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kInt32));
  const int64_t samples = ctx.node().attr_int("sample_size", 1);
  const Shape* s = ctx.shape(0);
  if (s && s->size() != 2)
    return ctx.error(format("input has shape {}, must be 2-D", to_string(*s)));
  if (samples < 1) return ctx.error(format("attribute 'sample_size' is {}", samples));
  if (t != DType::kInt32 && t != DType::kInt64)
    return ctx.error(format("attribute 'dtype' is {}", dtype_name(t)));
  return ctx.set(0, t, Shape{s ? (*s)[0] : Dim(), samples});
}

}  // namespace

uint32_t seed_of(const EvalContext& ctx) {
  const Attribute* a = ctx.node().attr("seed");
  if (a && a->type == AttrType::kFloat) return static_cast<uint32_t>(to_int64(a->f()));
  if (a && a->type == AttrType::kInt) return static_cast<uint32_t>(a->i());
  const uint64_t s = ctx.host().random_seed();
  return static_cast<uint32_t>(s ^ s >> 32);
}

}  // namespace onnxtool

ONNXTOOL_OPS(
    random,
    {.name = "RandomNormal", .infer = infer_random, .eval = eval_random<true>, .flags = kRandom},
    {.name = "RandomUniform", .infer = infer_random, .eval = eval_random<false>, .flags = kRandom},
    {.name = "RandomNormalLike", .infer = infer_like, .eval = eval_like<true>, .flags = kRandom},
    {.name = "RandomUniformLike", .infer = infer_like, .eval = eval_like<false>, .flags = kRandom},
    {.name = "Bernoulli", .infer = infer_bernoulli, .eval = eval_bernoulli, .flags = kRandom},
    {.name = "Multinomial",
     .infer = infer_multinomial,
     .eval = eval_multinomial,
     .flags = kRandom}, )
