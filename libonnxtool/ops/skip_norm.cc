// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime's layer normalizations with an addition in front (com.microsoft):
// SkipLayerNormalization, SkipSimplifiedLayerNormalization, EmbedLayerNormalization.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/norm_util.h"

namespace onnxtool {
namespace {

// ------------------------------------------------------------------------------------ skip
// Inputs: x, skip, gamma, then beta (not in the simplified form) and bias.
struct Inputs {
  size_t beta, bias;
  bool center;
};
Inputs inputs_of(const Node& node) {
  const bool center = node.op.view() == "SkipLayerNormalization";
  return center ? Inputs{3, 4, true} : Inputs{SIZE_MAX, 3, false};
}

Status check_skip(const InShapes& in) {
  const Inputs at = inputs_of(in.node());
  TRY(expect_rank_at_least(in[0], "input", 1));
  const Dim hidden = in[0] != nullptr ? in[0]->back() : Dim();
  TRY(expect_broadcastable(in[1], "skip", in[0]));
  TRY(expect_vector(in[2], "gamma", hidden, "hidden size"));
  TRY(expect_vector(in[at.beta], "beta", hidden, "hidden size"));
  return expect_vector(in[at.bias], "bias", hidden, "hidden size");
}

std::optional<Shape> reduced(const Shape* s) {
  if (s == nullptr) return std::nullopt;
  Shape r = *s;
  r.back() = Dim(1);
  return r;
}

Status infer_skip(InferContext& ctx) {
  TRY(check_skip(InShapes(ctx)));
  for (size_t i = 1; i < 3; i++)
    if (ctx.has_output(i)) TRY(ctx.set(i, DType::kFloat, reduced(ctx.shape(0))));
  if (ctx.has_output(3)) TRY(ctx.set(3, ctx.input(0)));
  return infer_same(ctx);
}

// Normalizes rows of `values` and gives the statistics that were asked for.
Status finish(EvalContext& ctx, std::vector<double>& values, const Dims& dims, DType type,
              const Tensor& gamma, const Tensor* beta, bool center, bool statistics) {
  const int64_t hidden = dims.back();
  RowNorm norm{.epsilon = ctx.node().attr_float("epsilon", 1e-12f), .center = center};
  std::vector<double> mean, inverse;
  for (size_t at = 0; at < values.size(); at += static_cast<size_t>(hidden)) {
    norm(std::span(values).subspan(at, static_cast<size_t>(hidden)));
    mean.push_back(norm.mean);
    inverse.push_back(norm.inverse);
  }
  TRY(scale_and_shift(values, dims, gamma, beta));
  Dims rows = dims;
  rows.back() = 1;
  if (statistics && hidden > 0) {
    if (ctx.wants(1)) TRY(ctx.set_f64(1, DType::kFloat, rows, mean));
    if (ctx.wants(2)) TRY(ctx.set_f64(2, DType::kFloat, rows, inverse));
  }
  return ctx.set_f64(0, type, dims, values);
}

Status eval_skip(EvalContext& ctx) {
  TRY(check_skip(InShapes(ctx)));
  const Inputs at = inputs_of(ctx.node());
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(auto values, scratch(ctx, x.dims()));
  load_f64(x, 0, values);
  for (size_t i : {size_t{1}, at.bias}) {
    if (!ctx.has(i)) continue;
    BroadcastWalk walk(x.dims(), {ctx.in(i).dims()});
    for (double& v : values) {
      v += ctx.in(i).f64_at(walk.offset(0));
      walk.next();
    }
  }
  if (ctx.wants(3)) TRY(ctx.set_f64(3, x.dtype(), x.dims(), values));
  return finish(ctx, values, x.dims(), x.dtype(), ctx.in(2),
                ctx.has(at.beta) ? &ctx.in(at.beta) : nullptr, at.center, true);
}

// ------------------------------------------------------------------------------- embeddings
// Inputs: input_ids, segment_ids, word, position and segment embedding, gamma, beta, mask,
// position_ids.
Result<std::optional<Shape>> embed_rule(const InShapes& in) {
  const Shape* ids = in[0];
  TRY(expect_rank(ids, "input 'input_ids'", 2));
  Dim hidden;
  for (size_t i : {2, 3, 4}) {
    TRY(expect_rank(in[i], "embedding", 2));
    if (in[i] == nullptr) continue;
    TRY_ASSIGN(hidden, unify("hidden size", hidden, "that of an embedding", (*in[i])[1]));
  }
  TRY(expect_vector(in[5], "gamma", hidden, "hidden size"));
  TRY(expect_vector(in[6], "beta", hidden, "hidden size"));
  if (ids == nullptr) return std::optional<Shape>();
  for (size_t i : {1, 7, 8}) {
    const Shape* s = in[i];
    TRY(expect_rank(s, "input of ids", 2));
    if (s == nullptr) continue;
    if (!(i == 8 && (*s)[0].is_const(1)))
      TRY(agree("batch size", (*ids)[0], "that of ids", (*s)[0]));
    TRY(agree("length", (*ids)[1], "that of ids", (*s)[1]));
  }
  return std::optional(Shape{(*ids)[0], (*ids)[1], hidden});
}

Status infer_embed(InferContext& ctx) {
  TRY_ASSIGN(const auto s, embed_rule(InShapes(ctx)));
  const DType type = ctx.dtype(2);
  if (ctx.has_output(1))
    TRY(ctx.set(1, DType::kInt32, s ? std::optional(Shape{(*s)[0]}) : std::nullopt));
  if (ctx.has_output(2)) TRY(ctx.set(2, type, s));
  return ctx.set(0, type, s);
}

// Adds row `id` of an embedding.
Status add_row(const Tensor& table, int64_t id, std::span<double> to, const char* what) {
  if (id < 0 || id >= table.dims()[0])
    return invalid(
        format("{} {} is outside of the embedding of {} rows", what, id, table.dims()[0]));
  std::vector<double> row(to.size());
  load_f64(table, id * table.dims()[1], row);
  for (size_t i = 0; i < row.size(); i++) to[i] += row[i];
  return ok();
}

Status eval_embed(EvalContext& ctx) {
  TRY_ASSIGN(const auto s, embed_rule(InShapes(ctx)));
  if (!s) return ctx.error("an input is missing");
  TRY_ASSIGN(const Dims dims, known_dims(*s));
  const DType type = ctx.in(2).dtype();
  TRY_ASSIGN(auto values, scratch(ctx, dims));
  const size_t hidden = static_cast<size_t>(dims[2]);
  for (int64_t i = 0; i < dims[0] * dims[1] && hidden > 0; i++) {
    const std::span<double> row =
        std::span(values).subspan(static_cast<size_t>(i) * hidden, hidden);
    TRY(add_row(ctx.in(2), ctx.in(0).i64_at(i), row, "word id"));
    int64_t position = i % dims[1];
    if (ctx.has(8)) position = ctx.in(8).i64_at(ctx.in(8).dims()[0] == 1 ? position : i);
    TRY(add_row(ctx.in(3), position, row, "position"));
    if (ctx.has(4))
      TRY(add_row(ctx.in(4), ctx.has(1) ? ctx.in(1).i64_at(i) : 0, row, "segment id"));
  }
  if (ctx.wants(1)) {
    // The number of words: ones in the mask.
    TRY_ASSIGN(Tensor index, ctx.allocate(DType::kInt32, {dims[0]}));
    for (int64_t b = 0; b < dims[0] && ctx.has(7); b++) {
      int64_t n = 0;
      for (int64_t k = 0; k < dims[1]; k++) n += ctx.in(7).i64_at(b * dims[1] + k) == 1;
      index.mut<int32_t>()[static_cast<size_t>(b)] = static_cast<int32_t>(n);
    }
    ctx.set(1, std::move(index));
  }
  if (ctx.wants(2)) TRY(ctx.set_f64(2, type, dims, values));
  return finish(ctx, values, dims, type, ctx.in(5), &ctx.in(6), true, false);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(skip_norm,
             {.name = "SkipLayerNormalization",
              .domain = "com.microsoft",
              .infer = infer_skip,
              .eval = eval_skip},
             {.name = "SkipSimplifiedLayerNormalization",
              .domain = "com.microsoft",
              .infer = infer_skip,
              .eval = eval_skip},
             {.name = "EmbedLayerNormalization",
              .domain = "com.microsoft",
              .infer = infer_embed,
              .eval = eval_embed})
