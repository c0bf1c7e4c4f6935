// SPDX-License-Identifier: Apache-2.0
// MaxUnpool: puts pooled values back where MaxPool found them (spec MaxUnpool). The indices count
// in the natural output; an asked output_shape may be larger and is filled with zeros.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

// Natural output shape: that which MaxPool would turn into the input.
Result<std::optional<Shape>> natural_shape(const InShapes& in) {
  const Shape *x = in[0], *indices = in[1];
  TRY(expect_rank_at_least(x, "input", 3));
  if (x == nullptr) return std::optional<Shape>();
  TRY(expect_rank(indices, "input 'I'", x->size()));
  for (size_t i = 0; indices != nullptr && i < x->size(); i++)
    TRY(agree("size of the input", (*x)[i], "size of the indices", (*indices)[i]));
  TRY_ASSIGN(const Window w, window_of(in.node(), x->size() - 2, {}));
  Shape out = {(*x)[0], (*x)[1]};
  for (size_t i = 0; i + 2 < x->size(); i++) {
    const std::optional<int64_t> pads = checked_add(w.pads_begin[i], w.pads_end[i]);
    if (!pads) return invalid("attribute 'pads' is too large");
    const Dim d = ((*x)[i + 2] - Dim(1)) * Dim(w.strides[i]) + Dim(w.kernel[i]) - Dim(*pads);
    if (d.is_const() && d.value() < 0)
      return invalid(format("output has the size {} at axis {}", d.text(), i + 2));
    out.push_back(d);
  }
  return std::optional(std::move(out));
}

Status check_asked(const Shape& natural, const Shape& asked) {
  if (asked.size() != natural.size())
    return invalid(format("input 'output_shape' has {} values, rank of the input is {}",
                          asked.size(), natural.size()));
  for (size_t i = 0; i < asked.size(); i++)
    if (asked[i].is_const() && natural[i].is_const() && asked[i].value() < natural[i].value())
      return invalid(format("input 'output_shape' is {}, the pooled input needs {}",
                            to_string(asked), to_string(natural)));
  return ok();
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(auto s, natural_shape(InShapes(ctx)));
  if (s && ctx.has_input(2)) {
    const PartialValue* asked = ctx.partial(2);
    if (asked != nullptr) TRY(check_asked(*s, *asked));
    s = asked != nullptr ? *asked : Shape(s->size());
  }
  return ctx.set(0, ctx.dtype(0), std::move(s));
}

Status eval(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const auto natural, natural_shape(InShapes(ctx)));
  if (!natural) return ctx.error("an input is missing");
  TRY_ASSIGN(const Dims from, known_dims(*natural));
  Dims out = from;
  if (const auto asked = ctx.ints(2)) {
    TRY(check_asked(*natural, to_shape(*asked)));
    out = *asked;
  }
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), out));
  const std::optional<int64_t> limit = checked_product(from);
  if (!limit) return unsupported(format("output {} is too large", to_string(from)));
  const std::vector<int64_t> strides = row_major_strides(out);
  for (int64_t i = 0; i < x.size(); i++) {
    int64_t at = ctx.in(1).i64_at(i), to = 0;
    if (at < 0 || at >= *limit)
      return ctx.error(format("index {} is outside of the output of {} elements", at, *limit));
    for (size_t d = from.size(); d-- > 0; at /= from[d]) to += at % from[d] * strides[d];
    copy_element(y, to, x, i);
  }
  ctx.set(0, std::move(y));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(max_unpool, {.name = "MaxUnpool", .infer = infer, .eval = eval})
