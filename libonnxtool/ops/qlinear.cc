// SPDX-License-Identifier: Apache-2.0
// Elementwise operators on quantized tensors (com.microsoft, per-tensor scales): dequantize,
// compute in float, quantize with round half to even.
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/quant_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

struct Scale {
  double scale = 1;
  int64_t zero = 0;
  double dequantize(double q) const { return (q - static_cast<double>(zero)) * scale; }
};

// Scale at input i, zero point (optional) at i + 1.
Result<Scale> scale_at(const EvalContext& ctx, size_t i) {
  if (!ctx.has(i) || ctx.in(i).size() != 1)
    return invalid(format("input {} must be a scalar scale", i));
  Scale s{ctx.in(i).f64_at(0), 0};
  if (ctx.has(i + 1)) {
    if (ctx.in(i + 1).size() != 1)
      return invalid(format("input {} must be a scalar zero point", i + 1));
    s.zero = ctx.in(i + 1).i64_at(0);
  }
  return s;
}

int64_t requantize(double value, const Scale& s, DType t) {
  return quantize(static_cast<float>(static_cast<float>(value) / s.scale), s.zero, t);
}

template <bool multiply>
Status eval_binary_q(EvalContext& ctx) {
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(3);
  TRY_ASSIGN(const Scale sa, scale_at(ctx, 1));
  TRY_ASSIGN(const Scale sb, scale_at(ctx, 4));
  TRY_ASSIGN(const Scale sc, scale_at(ctx, 6));
  const DType t = a.dtype();
  TRY_ASSIGN(Tensor r, map_binary(
                           ctx, a, b, nullptr,
                           [=](int64_t x, int64_t y) {
                             const double fx = sa.dequantize(static_cast<double>(x)),
                                          fy = sb.dequantize(static_cast<double>(y));
                             return requantize(multiply ? fx * fy : fx + fy, sc, t);
                           },
                           nullptr));
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_binary_q(InferContext& ctx) {
  const Shape* a = ctx.shape(0);
  const Shape* b = ctx.shape(3);
  if (!a || !b) return ctx.set(0, ctx.dtype(0), std::optional<Shape>());
  TRY_ASSIGN(Shape s, broadcast_shapes(*a, *b));
  return ctx.set(0, ctx.dtype(0), std::move(s));
}

Status eval_unary_q(EvalContext& ctx, const UnaryF& f) {
  TRY_ASSIGN(const Scale sx, scale_at(ctx, 1));
  TRY_ASSIGN(const Scale sy, scale_at(ctx, 3));
  const DType t = ctx.in(0).dtype();
  return eval_unary(ctx, nullptr, [=](int64_t x) {
    return requantize(f(sx.dequantize(static_cast<double>(x))), sy, t);
  });
}

Status eval_leaky_relu(EvalContext& ctx) {
  const double alpha = ctx.node().attr_float("alpha", 0.01F);
  return eval_unary_q(ctx, [=](double x) { return x < 0 ? alpha * x : x; });
}

Status eval_sigmoid(EvalContext& ctx) {
  return eval_unary_q(ctx, [](double x) { return 1.0 / (1.0 + std::exp(-x)); });
}

// Y_scale, Y_zero_point, then (X, scale, zero point) for each part.
Status eval_concat(EvalContext& ctx) {
  const size_t parts = ctx.num_inputs() < 2 ? 0 : (ctx.num_inputs() - 2) / 3;
  if (parts == 0 || ctx.num_inputs() != 2 + 3 * parts) return ctx.error("inputs are not in threes");
  TRY_ASSIGN(const Scale sy, scale_at(ctx, 0));
  Dims dims = ctx.in(2).dims();
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(dims.size())));
  const auto ax = static_cast<size_t>(axis);
  const DType t = ctx.in(2).dtype();
  int64_t total = 0;
  for (size_t p = 0; p < parts; ++p) {
    const Tensor& x = ctx.in(2 + 3 * p);
    Dims d = x.dims();
    if (d.size() == dims.size()) {
      const auto sum = checked_add(total, d[ax]);
      if (!sum) return unsupported("the result is too large");
      total = *sum;
      d[ax] = dims[ax];
    }
    if (d != dims || x.dtype() != t)
      return ctx.error(
          format("shapes {} and {} do not agree", to_string(x.dims()), to_string(dims)));
  }
  dims[ax] = total;
  TRY_ASSIGN(Tensor r, ctx.allocate(t, dims));
  if (r.size() == 0) {
    ctx.set(0, std::move(r));
    return ok();
  }
  int64_t inner = 1;
  for (size_t i = ax + 1; i < dims.size(); ++i) inner *= dims[i];
  int64_t start = 0;
  for (size_t p = 0; p < parts; ++p) {
    const Tensor& x = ctx.in(2 + 3 * p);
    TRY_ASSIGN(const Scale sx, scale_at(ctx, 3 + 3 * p));
    std::vector<int64_t> q = x.to_i64();
    for (int64_t& v : q) v = requantize(sx.dequantize(static_cast<double>(v)), sy, t);
    const int64_t row = x.dims()[ax] * inner;
    for (int64_t o = 0; row > 0 && o < x.size() / row; ++o)
      store_i64(r, o * total * inner + start,
                std::span(q).subspan(static_cast<size_t>(o * row), static_cast<size_t>(row)));
    start += row;
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_concat(InferContext& ctx) {
  const size_t n = ctx.num_inputs();
  if (n < 5 || (n - 2) % 3 != 0) return ctx.error(format("{} inputs, expected 2 and threes", n));
  const DType t = ctx.dtype(2);
  std::optional<Shape> out;
  for (size_t i = 2; i < n; i += 3) {
    const Shape* s = ctx.shape(i);
    if (!s) return ctx.set(0, t, std::optional<Shape>());
    if (!out) {
      out = *s;
      continue;
    }
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(out->size())));
    if (s->size() != out->size())
      return ctx.error(format("ranks of {} and {} differ", to_string(*s), to_string(*out)));
    for (size_t d = 0; d < s->size(); ++d) {
      if (d == static_cast<size_t>(axis))
        (*out)[d] = (*out)[d] + (*s)[d];
      else if (Dim::differ((*out)[d], (*s)[d]))
        return ctx.error(
            format("shapes {} and {} differ outside of the axis", to_string(*s), to_string(*out)));
      else if (!(*out)[d].is_const())
        (*out)[d] = (*s)[d];
    }
  }
  return ctx.set(0, t, std::move(out));
}

constexpr const char* kMs = "com.microsoft";

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    qlinear,
    {.name = "QLinearAdd", .domain = kMs, .infer = infer_binary_q, .eval = eval_binary_q<false>},
    {.name = "QLinearMul", .domain = kMs, .infer = infer_binary_q, .eval = eval_binary_q<true>},
    {.name = "QLinearLeakyRelu", .domain = kMs, .infer = infer_same, .eval = eval_leaky_relu},
    {.name = "QLinearSigmoid", .domain = kMs, .infer = infer_same, .eval = eval_sigmoid},
    {.name = "QLinearConcat", .domain = kMs, .infer = infer_concat, .eval = eval_concat}, )
