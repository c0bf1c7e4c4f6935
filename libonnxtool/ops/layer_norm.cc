// SPDX-License-Identifier: Apache-2.0
// Normalization over the last dims: LayerNormalization, RMSNormalization, and the runtime's own
// SimplifiedLayerNormalization (RMS with the inverse deviation as second output).
#include "libonnxtool/base/checked.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/norm_util.h"

namespace onnxtool {
namespace {

// Outputs: of LayerNormalization mean and inverse deviation, of SimplifiedLayerNormalization the
// inverse deviation.
Status infer(InferContext& ctx) {
  const Shape* x = ctx.shape(0);
  TRY_ASSIGN(const DType stash, stash_type(ctx.node()));
  TRY(expect_broadcastable(ctx.shape(1), "scale", x));
  TRY(expect_broadcastable(ctx.shape(2), "bias", x));
  std::optional<Shape> reduced;
  if (x != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, static_cast<int64_t>(x->size())));
    reduced = *x;
    for (size_t i = static_cast<size_t>(axis); i < x->size(); i++) (*reduced)[i] = Dim(1);
  }
  for (size_t i = 1; i < ctx.num_outputs(); i++) TRY(ctx.set(i, stash, reduced));
  // The result of RMSNormalization has the scale's element type.
  const DType type = ctx.node().op.view() == "LayerNormalization" ? ctx.dtype(0) : ctx.dtype(1);
  return ctx.set(0, type, ctx.input(0).shape);
}

Status normalize(EvalContext& ctx, bool center) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, x.rank()));
  TRY_ASSIGN(const DType stash, stash_type(ctx.node()));
  Dims reduced = x.dims();
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis); i < reduced.size(); i++) {
    inner *= x.size() == 0 ? 1 : reduced[i];
    reduced[i] = 1;
  }
  TRY_ASSIGN(auto values, scratch(ctx, x.dims()));
  load_f64(x, 0, values);
  RowNorm norm{.epsilon = ctx.node().attr_float("epsilon", 1e-5f), .center = center};
  std::vector<double> mean, inverse;
  for (int64_t at = 0; at < x.size(); at += inner) {
    norm(std::span(values).subspan(static_cast<size_t>(at), static_cast<size_t>(inner)));
    mean.push_back(norm.mean);
    inverse.push_back(norm.inverse);
  }
  TRY(scale_and_shift(values, x.dims(), ctx.in(1), ctx.has(2) ? &ctx.in(2) : nullptr));
  if (ctx.wants(1) || ctx.wants(2)) {
    // An empty normalized range leaves rows without statistics.
    const size_t rows = static_cast<size_t>(checked_product(reduced).value_or(0));
    mean.resize(rows);
    inverse.resize(rows);
  }
  if (ctx.wants(1)) TRY(ctx.set_f64(1, stash, reduced, center ? mean : inverse));
  if (ctx.wants(2)) TRY(ctx.set_f64(2, stash, reduced, inverse));
  const DType type = center ? x.dtype() : ctx.in(1).dtype();
  return ctx.set_f64(0, type, x.dims(), values);
}

Status eval_layer(EvalContext& ctx) { return normalize(ctx, true); }
Status eval_rms(EvalContext& ctx) { return normalize(ctx, false); }

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(layer_norm, {.name = "LayerNormalization", .infer = infer, .eval = eval_layer},
             {.name = "RMSNormalization", .infer = infer, .eval = eval_rms},
             {.name = "SimplifiedLayerNormalization", .infer = infer, .eval = eval_rms})
