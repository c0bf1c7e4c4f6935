// SPDX-License-Identifier: Apache-2.0
// Softmax and LogSoftmax. Before version 13 all dims from `axis` on are normalized together.
#include <algorithm>
#include <cmath>

#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

int64_t default_axis(const Node& node) { return node.version < 13 ? 1 : -1; }

Status infer(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  // A scalar has no axis to be out of range of.
  if (s != nullptr && !s->empty())
    TRY(ctx.axis("axis", default_axis(ctx.node()), static_cast<int64_t>(s->size())));
  return infer_same(ctx);
}

// Softmax along the middle dim of values[n, inner], in place.
void normalize(std::span<double> values, int64_t n, int64_t inner, bool log,
               std::vector<double>& top, std::vector<double>& sum) {
  const size_t width = static_cast<size_t>(inner);
  top.assign(values.begin(), values.begin() + inner);
  for (size_t i = width; i < values.size(); i++)
    top[i % width] = std::isnan(values[i]) ? values[i] : std::max(top[i % width], values[i]);
  sum.assign(width, 0.0);
  for (int64_t r = 0; r < n; r++)
    for (size_t c = 0; c < width; c++) {
      double& v = values[static_cast<size_t>(r) * width + c];
      v -= top[c];
      const double e = std::exp(v);
      sum[c] += e;
      if (!log) v = e;
    }
  for (size_t c = 0; log && c < width; c++) sum[c] = std::log(sum[c]);
  for (size_t i = 0; i < values.size(); i++)
    values[i] = log ? values[i] - sum[i % width] : values[i] / sum[i % width];
}

Status softmax(EvalContext& ctx, bool log) {
  const Tensor& x = ctx.in(0);
  int64_t n = 1, inner = 1;
  if (x.rank() > 0) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", default_axis(ctx.node()), x.rank()));
    n = x.dims()[static_cast<size_t>(axis)];
    for (int64_t i = axis + 1; i < x.rank() && x.size() > 0; i++)
      (ctx.version() < 13 ? n : inner) *= x.dims()[static_cast<size_t>(i)];
  }
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), x.dims()));
  if (x.size() > 0) {
    TRY_ASSIGN(auto values, scratch(ctx, {n, inner}));
    std::vector<double> top, sum;
    for (int64_t at = 0; at < x.size(); at += n * inner) {
      load_f64(x, at, values);
      normalize(values, n, inner, log, top, sum);
      store_f64(y, at, values);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

Status eval_softmax(EvalContext& ctx) { return softmax(ctx, false); }
Status eval_log_softmax(EvalContext& ctx) { return softmax(ctx, true); }

// 11 allowed negative axes.
Status negative_axis_down(Model& m, NodeId n) {
  const int64_t axis = m.node(n).attr_int("axis", 1);
  if (refers(m.node(n), "axis")) return step_error(m, n, "attribute 'axis' is not known");
  if (axis >= 0) return ok();
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (!rank) return step_error(m, n, "attribute 'axis' is negative, the rank is not known");
  m.set_attr(n, Attribute::of("axis", int64_t{axis + *rank}));
  return ok();
}

constexpr VersionStep kSteps[] = {{11, step_same_up, negative_axis_down},
                                  {13, coerced_axis_up, coerced_axis_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(softmax, {.name = "Softmax", .infer = infer, .eval = eval_softmax, .steps = kSteps},
             {.name = "LogSoftmax", .infer = infer, .eval = eval_log_softmax, .steps = kSteps})
