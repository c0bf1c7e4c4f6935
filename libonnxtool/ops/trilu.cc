// SPDX-License-Identifier: Apache-2.0
// Trilu: upper or lower triangle of the last two axes, zero elsewhere.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Status infer_trilu(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s != nullptr && s->size() < 2)
    return ctx.error(format("input {} has fewer than two axes", to_string(*s)));
  if (const auto k = ctx.ints(1); k && k->size() != 1)
    return ctx.error(format("k has {} elements, one expected", k->size()));
  return ctx.set(0, ctx.dtype(0), s ? std::optional(*s) : std::nullopt);
}

Status eval_trilu(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (x.rank() < 2)
    return ctx.error(format("input {} has fewer than two axes", to_string(x.dims())));
  const int64_t rows = x.dims()[x.dims().size() - 2], columns = x.dims().back();
  int64_t k = 0;
  if (ctx.has(1)) {
    if (ctx.in(1).size() != 1) return ctx.error("k is not one element");
    k = std::clamp(ctx.in(1).i64_at(0), -rows, columns);
  }
  const bool upper = ctx.node().attr_int("upper", 1) != 0;
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), x.dims()));
  const int64_t lines = columns > 0 ? x.size() / columns : 0;
  for (int64_t line = 0; line < lines; ++line) {
    const int64_t diagonal = line % rows + k;
    const int64_t first = upper ? std::clamp<int64_t>(diagonal, 0, columns) : 0;
    const int64_t last = upper ? columns : std::clamp<int64_t>(diagonal + 1, 0, columns);
    copy_elements(out, line * columns + first, x, line * columns + first, last - first);
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    trilu, {.name = "Trilu", .infer = infer_trilu, .eval = eval_trilu},
    {.name = "Trilu", .domain = "com.microsoft", .infer = infer_trilu, .eval = eval_trilu});
