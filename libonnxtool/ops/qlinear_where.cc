// SPDX-License-Identifier: Apache-2.0
// QLinearWhere (com.microsoft): Where on quantized tensors, requantized to the result's scale.
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

constexpr size_t kCondition = 0, kX = 1, kY = 4, kScale = 7, kZero = 8;

Result<std::optional<Shape>> rule(const InShapes& in) {
  for (size_t i : {2, 3, 5, 6, 7, 8}) TRY(expect_scalar(in[i], "scale or zero point"));
  Shape out;
  for (size_t i : {kCondition, kX, kY}) {
    if (in[i] == nullptr) return std::optional<Shape>();
    TRY_ASSIGN(out, broadcast_shapes(out, *in[i]));
  }
  return std::optional(std::move(out));
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(auto s, rule(InShapes(ctx)));
  return ctx.set(0, ctx.dtype(kX), std::move(s));
}

Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const auto s, rule(InShapes(ctx)));
  if (!s) return ctx.error("an input is missing");
  TRY_ASSIGN(const Dims dims, known_dims(*s));
  const DType type = ctx.in(kX).dtype();
  TRY_ASSIGN(Tensor z, ctx.allocate(type, dims));
  const double z_scale = ctx.in(kScale).f64_at(0);
  const int64_t z_zero = ctx.in(kZero).i64_at(0);
  const auto requantized = [&](size_t operand, int64_t at) {
    const double real = (ctx.in(operand).f64_at(at) - ctx.in(operand + 2).f64_at(0)) *
                        ctx.in(operand + 1).f64_at(0);
    return quantize(real, z_scale, z_zero, type);
  };
  BroadcastWalk walk(dims, {ctx.in(kCondition).dims(), ctx.in(kX).dims(), ctx.in(kY).dims()});
  for (int64_t i = 0; i < z.size(); i++, walk.next()) {
    const bool first = ctx.in(kCondition).i64_at(walk.offset(0)) != 0;
    const int64_t code = first ? requantized(kX, walk.offset(1)) : requantized(kY, walk.offset(2));
    store_i64(z, i, std::span(&code, 1));
  }
  ctx.set(0, std::move(z));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(qlinear_where,
             {.name = "QLinearWhere", .domain = "com.microsoft", .infer = infer, .eval = eval})
