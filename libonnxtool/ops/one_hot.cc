// SPDX-License-Identifier: Apache-2.0
// OneHot: a new axis of size `depth` that is on at the index and off elsewhere.
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Status infer_one_hot(InferContext& ctx) {
  Dim depth;
  if (const PartialValue* p = ctx.partial(1)) {
    if (p->size() != 1) return ctx.error(format("depth has {} elements, one expected", p->size()));
    depth = (*p)[0];
  } else if (const Tensor* t = ctx.constant(1)) {
    if (t->size() != 1) return ctx.error(format("depth has {} elements, one expected", t->size()));
    depth = t->to_aligned().i64_at(0);
  }
  if (depth.is_const() && depth.value() < 0)
    return ctx.error(format("depth is {}, it cannot be negative", depth.value()));
  if (const Shape* v = ctx.shape(2); v != nullptr && (v->size() != 1 || Dim::differ((*v)[0], 2)))
    return ctx.error(format("values have the shape {}, [2] expected", to_string(*v)));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(2), std::nullopt);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, static_cast<int64_t>(s->size()) + 1));
  Shape out = *s;
  out.insert(out.begin() + axis, or_fresh(ctx, depth, 0, static_cast<size_t>(axis)));
  return ctx.set(0, ctx.dtype(2), std::move(out));
}

Status eval_one_hot(EvalContext& ctx) {
  const Tensor &indices = ctx.in(0), &depths = ctx.in(1), &values = ctx.in(2);
  if (depths.size() != 1) return ctx.error("depth is not one element");
  if (values.size() != 2) return ctx.error("values are not two elements");
  const int64_t depth = depths.i64_at(0);
  if (depth < 0) return ctx.error(format("depth is {}, it cannot be negative", depth));
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, indices.rank() + 1));
  Dims dims = indices.dims();
  dims.insert(dims.begin() + axis, depth);
  TRY_ASSIGN(Tensor out, ctx.allocate(values.dtype(), std::move(dims)));
  fill_with(out, values, 0);
  const int64_t inner = span_size(indices.dims(), static_cast<size_t>(axis), indices.dims().size());
  std::vector<int64_t> at(static_cast<size_t>(indices.size()));
  load_i64(indices, 0, at);
  for (int64_t i = 0; i < indices.size(); ++i) {
    const auto k = normalize_axis(at[static_cast<size_t>(i)], depth);
    if (k) copy_element(out, (i / inner * depth + *k) * inner + i % inner, values, 1);
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(one_hot, {.name = "OneHot", .infer = infer_one_hot, .eval = eval_one_hot});
