// SPDX-License-Identifier: Apache-2.0
// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: scores [N, C, d1, ...], classes
// [N, d1, ...], optional weight of each class [C].
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

enum class Reduction { kNone, kSum, kMean };

Result<Reduction> reduction_of(const Node& node) {
  const std::string_view r = node.attr_str("reduction", "mean");
  if (r == "none") return Reduction::kNone;
  if (r == "sum") return Reduction::kSum;
  if (r == "mean") return Reduction::kMean;
  return invalid(format("attribute 'reduction' is {}, must be 'none', 'sum' or 'mean'", quoted(r)));
}

Status check_shapes(const Shape& scores, const Shape* labels, const Shape* weight) {
  if (scores.size() < 2)
    return invalid(format("scores have shape {}, need [N, C, ...]", to_string(scores)));
  if (labels) {
    bool fits = labels->size() + 1 == scores.size();
    for (size_t i = 0; fits && i < labels->size(); ++i)
      fits = !Dim::differ((*labels)[i], scores[i == 0 ? 0 : i + 1]);
    if (!fits)
      return invalid(format("classes of shape {} do not fit scores of shape {}", to_string(*labels),
                            to_string(scores)));
  }
  if (weight && (weight->size() != 1 || Dim::differ((*weight)[0], scores[1])))
    return invalid(
        format("weight of shape {} does not fit {} classes", to_string(*weight), scores[1].text()));
  return ok();
}

// Log-softmax over axis 1, in place.
void log_softmax(std::vector<double>& x, int64_t n, int64_t classes, int64_t inner) {
  for (int64_t o = 0; o < n; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      double* p = x.data() + o * classes * inner + i;
      double top = p[0], sum = 0;
      for (int64_t c = 1; c < classes; ++c) top = std::max(top, p[c * inner]);
      for (int64_t c = 0; c < classes; ++c) sum += std::exp(p[c * inner] - top);
      const double shift = top + std::log(sum);
      for (int64_t c = 0; c < classes; ++c) p[c * inner] -= shift;
    }
}

template <bool softmax>
Status eval_loss(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Tensor& labels = ctx.in(1);
  TRY_ASSIGN(const Reduction reduction, reduction_of(ctx.node()));
  const Shape weight_shape = ctx.has(2) ? to_shape(ctx.in(2).dims()) : Shape{};
  const Shape label_shape = to_shape(labels.dims());
  TRY(check_shapes(to_shape(x.dims()), &label_shape, ctx.has(2) ? &weight_shape : nullptr));
  TRY(ctx.host().reserve((x.size() + labels.size()) * 8));
  const int64_t classes = x.dims()[1];
  std::vector<double> p = x.to_f64(), weight(x.size() > 0 ? static_cast<size_t>(classes) : 0, 1.0);
  if (ctx.has(2)) weight = ctx.in(2).to_f64();
  const int64_t n = x.size() > 0 ? x.dims()[0] : 0;
  const int64_t inner = x.size() > 0 ? x.size() / n / classes : 0;
  if (softmax) log_softmax(p, n, classes, inner);
  const Attribute* ignore = ctx.node().attr("ignore_index");
  const int64_t ignored = ctx.node().attr_int("ignore_index", 0);
  std::vector<double> loss(static_cast<size_t>(labels.size()), 0.0);
  double sum = 0, total = 0;
  for (int64_t e = 0; e < labels.size(); ++e) {
    const int64_t c = labels.i64_at(e);
    if (ignore && c == ignored) continue;
    if (c < 0 || c >= classes || n == 0)
      return ctx.error(format("class {} is outside of [0, {})", c, classes));
    const int64_t at = (e / inner * classes + c) * inner + e % inner;
    const double w = weight[static_cast<size_t>(c)];
    loss[static_cast<size_t>(e)] = -p[static_cast<size_t>(at)] * w;
    sum += loss[static_cast<size_t>(e)];
    total += w;
  }
  if (reduction == Reduction::kNone) {
    TRY(ctx.set_f64(0, x.dtype(), labels.dims(), loss));
  } else {
    const double v = reduction == Reduction::kMean ? sum / total : sum;
    TRY(ctx.set_f64(0, x.dtype(), {}, {&v, 1}));
  }
  return softmax && ctx.wants(1) ? ctx.set_f64(1, x.dtype(), x.dims(), p) : ok();
}

template <bool softmax>
Status infer_loss(InferContext& ctx) {
  TRY_ASSIGN(const Reduction reduction, reduction_of(ctx.node()));
  const Shape* x = ctx.shape(0);
  if (x) TRY(check_shapes(*x, ctx.shape(1), ctx.has_input(2) ? ctx.shape(2) : nullptr));
  const DType t = ctx.dtype(0);
  if (reduction != Reduction::kNone)
    TRY(ctx.set(0, t, Shape{}));
  else
    TRY(ctx.set(0, t, ctx.input(1).shape));
  return softmax ? ctx.set(1, t, ctx.input(0).shape) : ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    loss,
    {.name = "NegativeLogLikelihoodLoss", .infer = infer_loss<false>, .eval = eval_loss<false>},
    {.name = "SoftmaxCrossEntropyLoss", .infer = infer_loss<true>, .eval = eval_loss<true>}, )
