// SPDX-License-Identifier: Apache-2.0
// Where: selects elements of two tensors by a condition, broadcast over all three.
#include <cstring>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

Status eval_where(EvalContext& ctx) {
  const Tensor& c = ctx.in(0);
  const Tensor* pick[] = {&ctx.in(2), &ctx.in(1)};
  if (c.dtype() != DType::kBool || pick[0]->dtype() != pick[1]->dtype())
    return ctx.error(format("types {}, {} and {} do not fit", dtype_name(c.dtype()),
                            dtype_name(pick[1]->dtype()), dtype_name(pick[0]->dtype())));
  const std::vector<Dims> operands = {c.dims(), pick[0]->dims(), pick[1]->dims()};
  TRY_ASSIGN(Dims dims, broadcast_all(operands));
  TRY_ASSIGN(Tensor r, ctx.allocate(pick[0]->dtype(), dims));
  BroadcastRuns runs(dims, operands);
  const uint8_t* cond = c.as<uint8_t>().data();
  const bool bytes = !r.is_string() && dtype_bits(r.dtype()) >= 8;
  const size_t size = bytes ? static_cast<size_t>(dtype_bits(r.dtype()) / 8) : 0;
  std::byte* out = bytes && r.size() > 0 ? r.mutable_raw() : nullptr;
  while (runs.next()) {
    for (int64_t k = 0; k < static_cast<int64_t>(runs.count()); ++k) {
      const size_t which = cond[runs.offset(0) + k * runs.stride(0)] != 0;
      const int64_t from = runs.offset(which + 1) + k * runs.stride(which + 1);
      const int64_t to = runs.out() + k;
      if (bytes)
        std::memcpy(out + static_cast<size_t>(to) * size,
                    pick[which]->raw() + static_cast<size_t>(from) * size, size);
      else
        copy_element(r, to, *pick[which], from);
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_where(InferContext& ctx) {
  TRY_ASSIGN(std::optional<Shape> s, broadcast_inputs(ctx, 0, 3));
  const DType t = ctx.dtype(1) != DType::kUndefined ? ctx.dtype(1) : ctx.dtype(2);
  TRY(ctx.set(0, t, std::move(s)));
  map_partial(ctx, 3, t, [](std::span<const Dim> a) {
    if (a[0].is_const()) return a[0].value() != 0 ? a[1] : a[2];
    return a[1] == a[2] ? a[1] : Dim();
  });
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(where,
             {.name = "Where", .infer = infer_where, .eval = eval_where, .flags = kElementwise})
