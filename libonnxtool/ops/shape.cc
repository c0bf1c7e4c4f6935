// SPDX-License-Identifier: Apache-2.0
// Shape, Size: dims of a tensor as integers.
#include <algorithm>

#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// First and last dim of Shape's start/end, clamped to the rank.
std::pair<ptrdiff_t, ptrdiff_t> shape_range(const Node& node, size_t rank) {
  const int64_t r = static_cast<int64_t>(rank);
  auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + r : v, 0, r); };
  const int64_t start = clamp(node.attr_int("start", 0));
  return {start, std::max(start, clamp(node.attr_int("end", r)))};
}

Status infer_shape(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, DType::kInt64, Shape{Dim()});
  const auto [first, last] = shape_range(ctx.node(), s->size());
  const PartialValue dims(s->begin() + first, s->begin() + last);
  TRY(ctx.set(0, DType::kInt64, Shape{Dim(static_cast<int64_t>(dims.size()))}));
  ctx.set_partial(0, dims);
  return ok();
}

Status eval_shape(EvalContext& ctx) {
  const Dims& d = ctx.in(0).dims();
  const auto [first, last] = shape_range(ctx.node(), d.size());
  ctx.set(0, Tensor::ints(Dims(d.begin() + first, d.begin() + last)));
  return ok();
}

Status infer_size(InferContext& ctx) {
  TRY(ctx.set(0, DType::kInt64, Shape{}));
  if (const Shape* s = ctx.shape(0)) ctx.set_partial(0, {element_count(*s)});
  return ok();
}

Status eval_size(EvalContext& ctx) {
  ctx.set(0, Tensor::scalar<int64_t>(ctx.in(0).size()));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(shape, {.name = "Shape", .infer = infer_shape, .eval = eval_shape},
             {.name = "Size", .infer = infer_size, .eval = eval_size});
