// SPDX-License-Identifier: Apache-2.0
// FlexAttention (ai.onnx.preview): attention whose scores and probabilities pass through graphs.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"

namespace onnxtool {
namespace {

struct Rule {
  Shape scores, y;
};
Result<std::optional<Rule>> rule(const InShapes& in) {
  const Shape *q = in[0], *k = in[1], *v = in[2];
  TRY(expect_rank(q, "query", 4));
  TRY(expect_rank(k, "key", 4));
  TRY(expect_rank(v, "value", 4));
  if (q == nullptr || k == nullptr || v == nullptr) return std::optional<Rule>();
  Shape y = *q;
  for (const Shape* s : {k, v}) {
    TRY_ASSIGN(y[0], unify("batch size", y[0], "that of key or value", (*s)[0]));
  }
  TRY(agree("number of heads of the key", (*k)[1], "that of the value", (*v)[1]));
  TRY(agree("length of the key", (*k)[2], "that of the value", (*v)[2]));
  TRY(agree("head size of the query", (*q)[3], "that of the key", (*k)[3]));
  if (y[1].is_const() && (*k)[1].is_const() &&
      ((*k)[1].value() < 1 || y[1].value() % (*k)[1].value() != 0))
    return invalid(
        format("{} query heads are no multiple of {} key heads", y[1].text(), (*k)[1].text()));
  y[3] = (*v)[3];
  return std::optional(Rule{{y[0], y[1], y[2], (*k)[2]}, y});
}

Result<DType> precision_of(const Node& node, DType input) {
  const DType def = input == DType::kDouble ? DType::kDouble : DType::kFloat;
  TRY_ASSIGN(const DType t, dtype_attr(node, "softmax_precision", def));
  if (!is_float(t)) return invalid("attribute 'softmax_precision' is no float type");
  return t;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const auto r, rule(InShapes(ctx)));
  TRY_ASSIGN(const DType precision, precision_of(ctx.node(), ctx.dtype(0)));
  for (const char* name : {"score_mod", "prob_mod"}) {
    const GraphId g = ctx.node().attr_graph(name);
    if (!g.valid()) continue;
    const Type scores = r ? Type::tensor(precision, r->scores) : Type::tensor(precision, Shape(4));
    TRY_ASSIGN(const auto out, ctx.infer_graph(g, std::span(&scores, 1)));
    if (out.size() != 1 || !merge(out[0], scores))
      return ctx.error(
          format("graph '{}' must give one tensor like its input {}", name, scores.text()));
  }
  return ctx.set(0, ctx.dtype(0), r ? std::optional(r->y) : std::nullopt);
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const auto r, rule(InShapes(ctx)));
  if (!r) return unsupported("a shape is not known");
  Shape all = r->scores;
  all.push_back((*ctx.shape(0))[3] + r->y[3]);
  return known_product(all);
}

// The scores after the graph of that name.
Status modify(EvalContext& ctx, const char* name, DType precision, Heads& scores) {
  const GraphId g = ctx.node().attr_graph(name);
  if (!g.valid()) return ok();
  TRY_ASSIGN(Tensor t, Tensor::from_f64(precision, scores.dims(), scores.v));
  TRY_ASSIGN(const auto out, ctx.host().run_graph(g, {Datum(std::move(t))}));
  if (out.size() != 1 || !out[0].is_tensor() || out[0].tensor.dims() != scores.dims() ||
      !is_float(out[0].tensor.dtype()))
    return ctx.error(format("graph '{}' must give one tensor like its input", name));
  scores.v = out[0].tensor.to_f64();
  return ok();
}

Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const auto r, rule(InShapes(ctx)));
  if (!r) return ctx.error("an input is missing");
  const DType type = ctx.in(0).dtype();
  TRY_ASSIGN(const DType precision, precision_of(ctx.node(), type));
  TRY_ASSIGN(const Heads q, load_heads(ctx, ctx.in(0), 0));
  TRY_ASSIGN(const Heads k, load_heads(ctx, ctx.in(1), 0));
  TRY_ASSIGN(const Heads v, load_heads(ctx, ctx.in(2), 0));
  double scale = ctx.node().attr_float("scale", 0);
  if (ctx.node().attr("scale") == nullptr) scale = 1 / std::sqrt(static_cast<double>(q.size));
  TRY_ASSIGN(Heads scores, make_heads(ctx, q.batch, q.heads, q.length, k.length));
  TRY_ASSIGN(Heads y, make_heads(ctx, q.batch, q.heads, q.length, v.size));
  const auto for_heads = [&](const auto& f) {
    for (int64_t b = 0; b < q.batch; b++)
      for (int64_t h = 0; h < q.heads; h++) f(b, h, h / (q.heads / k.heads));
  };
  for_heads([&](int64_t b, int64_t h, int64_t shared) {
    const std::vector<double> kt = transposed(
        std::span<const double>(k.at(b, shared), static_cast<size_t>(k.part())), k.length, k.size);
    gemm(q.length, k.length, q.size, q.at(b, h), q.size, kt.data(), k.length, scores.at(b, h),
         k.length);
  });
  for (double& x : scores.v) x *= scale;
  TRY(modify(ctx, "score_mod", precision, scores));
  const size_t width = static_cast<size_t>(k.length);
  for (size_t at = 0; at < scores.v.size(); at += width)
    softmax_row(std::span(scores.v).subspan(at, width));
  TRY(modify(ctx, "prob_mod", precision, scores));
  for_heads([&](int64_t b, int64_t h, int64_t shared) {
    gemm(q.length, v.size, k.length, scores.at(b, h), k.length, v.at(b, shared), v.size, y.at(b, h),
         v.size);
  });
  return set_heads(ctx, 0, type, y, false);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(flex_attention, {.name = "FlexAttention",
                              .domain = "ai.onnx.preview",
                              .infer = infer,
                              .eval = eval,
                              .flags = kControlFlow,
                              .macs = macs})
