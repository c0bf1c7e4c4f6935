// SPDX-License-Identifier: Apache-2.0
// Softmax, LogSoftmax and QLinearSoftmax. Before version 13 all dims from `axis` on are normalized
// together.
#include <algorithm>
#include <cmath>

#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

// Version 13 normalizes along one dim. QLinearSoftmax names the version it stands for.
bool along_one_dim(const Node& node) {
  return node.op.view() == "QLinearSoftmax" ? node.attr_int("opset", 13) >= 13 : node.version >= 13;
}
int64_t default_axis(const Node& node) { return along_one_dim(node) ? -1 : 1; }

Status infer(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  // A scalar has no axis to be out of range of.
  if (s != nullptr && !s->empty())
    TRY(ctx.axis("axis", default_axis(ctx.node()), static_cast<int64_t>(s->size())));
  return infer_same(ctx);
}

// Softmax along the middle dim of values[n, inner], in place. `round`: each step of the function
// body to bfloat16, the sum at each term.
void normalize(std::span<double> values, int64_t n, int64_t inner, bool log, bool round,
               std::vector<double>& top, std::vector<double>& sum) {
  const auto rounded = [round](double v) { return round ? as_bfloat16(v) : v; };
  const size_t width = static_cast<size_t>(inner);
  top.assign(values.begin(), values.begin() + inner);
  for (size_t i = width; i < values.size(); i++)
    top[i % width] = std::isnan(values[i]) ? values[i] : std::max(top[i % width], values[i]);
  sum.assign(width, 0.0);
  for (int64_t r = 0; r < n; r++)
    for (size_t c = 0; c < width; c++) {
      double& v = values[static_cast<size_t>(r) * width + c];
      v = rounded(v - top[c]);
      const double e = rounded(std::exp(v));
      sum[c] = rounded(sum[c] + e);
      if (!log) v = e;
    }
  for (size_t c = 0; log && c < width; c++) sum[c] = rounded(std::log(sum[c]));
  for (size_t i = 0; i < values.size(); i++)
    values[i] = log ? values[i] - sum[i % width] : values[i] / sum[i % width];
}

// before(values) and after(values, first element) surround each normalization.
template <typename Before, typename After>
Status for_slices(EvalContext& ctx, bool log, Before before, After after) {
  const Tensor& x = ctx.in(0);
  int64_t n = 1, inner = 1;
  if (x.rank() > 0) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", default_axis(ctx.node()), x.rank()));
    n = x.dims()[static_cast<size_t>(axis)];
    for (int64_t i = axis + 1; i < x.rank() && x.size() > 0; i++)
      (along_one_dim(ctx.node()) ? inner : n) *= x.dims()[static_cast<size_t>(i)];
  }
  if (x.size() == 0) return ok();
  TRY_ASSIGN(auto values, scratch(ctx, {n, inner}));
  std::vector<double> top, sum;
  for (int64_t at = 0; at < x.size(); at += n * inner) {
    load_f64(x, at, values);
    before(values);
    normalize(values, n, inner, log, x.dtype() == DType::kBfloat16, top, sum);
    after(values, at);
  }
  return ok();
}

Status softmax(EvalContext& ctx, bool log) {
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), ctx.in(0).dims()));
  TRY(for_slices(
      ctx, log, [](std::vector<double>&) {},
      [&](const std::vector<double>& v, int64_t at) { store_f64(y, at, v); }));
  ctx.set(0, std::move(y));
  return ok();
}

Status eval_softmax(EvalContext& ctx) { return softmax(ctx, false); }
Status eval_log_softmax(EvalContext& ctx) { return softmax(ctx, true); }

// Inputs: x, its scale and zero point, scale and zero point of the result.
Status check_quantized(const InShapes& in) {
  for (size_t i = 1; i < 5; i++) TRY(expect_scalar(in[i], "scale or zero point"));
  return ok();
}
Status infer_quantized(InferContext& ctx) {
  TRY(check_quantized(InShapes(ctx)));
  return infer(ctx);
}
Status eval_quantized(EvalContext& ctx) {
  TRY(check_quantized(InShapes(ctx)));
  const DType type = ctx.in(0).dtype();
  TRY_ASSIGN(Tensor y, ctx.allocate(type, ctx.in(0).dims()));
  const double x_scale = ctx.in(1).f64_at(0), y_scale = ctx.in(3).f64_at(0);
  const int64_t zero = ctx.in(4).i64_at(0);
  std::vector<int64_t> codes;
  TRY(for_slices(
      ctx, false,
      [&](std::vector<double>& v) {
        for (double& x : v) x *= x_scale;  // the zero point shifts all alike
      },
      [&](const std::vector<double>& v, int64_t at) {
        codes.clear();
        for (double x : v) codes.push_back(quantize(x, y_scale, zero, type));
        store_i64(y, at, codes);
      }));
  ctx.set(0, std::move(y));
  return ok();
}

// 11 allowed negative axes.
Status negative_axis_down(Model& m, NodeId n) {
  const int64_t axis = m.node(n).attr_int("axis", 1);
  if (refers(m.node(n), "axis")) return step_error("attribute 'axis' is not known");
  if (axis >= 0) return ok();
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (!rank) return step_error("attribute 'axis' is negative, the rank is not known");
  m.set_attr(n, Attribute::of("axis", int64_t{axis + *rank}));
  return ok();
}

constexpr VersionStep kSteps[] = {{11, step_same_up, negative_axis_down},
                                  {13, coerced_axis_up, coerced_axis_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(softmax, {.name = "Softmax", .infer = infer, .eval = eval_softmax, .steps = kSteps},
             {.name = "LogSoftmax", .infer = infer, .eval = eval_log_softmax, .steps = kSteps},
             {.name = "QLinearSoftmax",
              .domain = "com.microsoft",
              .infer = infer_quantized,
              .eval = eval_quantized})
