// SPDX-License-Identifier: Apache-2.0
// Gather, GatherElements, GatherND: elements picked by index tensors.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/gather_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

// Constant indices must be inside an axis of known size.
Status check_indices(const InferContext& ctx, size_t input, size_t axis, Dim size) {
  if (!size.is_const()) return ok();
  const Tensor* t = ctx.constant(input);
  if (t == nullptr || !is_integer(t->dtype()) || t->size() > 65536) return ok();
  for (int64_t i : t->to_aligned().to_i64())
    if (i < -size.value() || i >= size.value()) return index_out_of_range(i, axis, size.text());
  return ok();
}

// Integers at the given indices of a known 1-D value; unknown where the index is not.
PartialValue picked(const PartialValue& data, std::span<const int64_t> indices) {
  PartialValue r;
  const int64_t n = static_cast<int64_t>(data.size());
  for (int64_t i : indices) {
    const auto at = normalize_axis(i, n);
    r.push_back(at ? data[static_cast<size_t>(*at)] : Dim());
  }
  return r;
}

Status infer_gather(InferContext& ctx) {
  const Shape *data = ctx.shape(0), *indices = ctx.shape(1);
  if (data == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(data->size())));
  const size_t a = static_cast<size_t>(axis);
  TRY(check_indices(ctx, 1, a, (*data)[a]));
  if (indices == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  Shape out(data->begin(), data->begin() + axis);
  out.insert(out.end(), indices->begin(), indices->end());
  out.insert(out.end(), data->begin() + axis + 1, data->end());
  const bool small = out.size() <= 1;
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* values = ctx.partial(0);
  const auto at = ctx.ints(1);
  if (small && data->size() == 1 && values != nullptr && at)
    ctx.set_partial(0, picked(*values, *at));
  return ok();
}

Status eval_gather(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  const size_t a = static_cast<size_t>(axis);
  const int64_t size = x.dims()[a];
  Dims dims(x.dims().begin(), x.dims().begin() + axis);
  dims.insert(dims.end(), indices.dims().begin(), indices.dims().end());
  dims.insert(dims.end(), x.dims().begin() + axis + 1, x.dims().end());
  std::vector<int64_t> at = indices.to_i64();
  for (int64_t& i : at) {
    if (i < -size || i >= size) return index_out_of_range(i, a, std::to_string(size));
    if (i < 0) i += size;
  }
  TRY_ASSIGN(const Tensor rows, picked_rows(ctx, x, a, at));
  ctx.set(0, rows.reshaped(std::move(dims)));
  return ok();
}

Status infer_gather_elements(InferContext& ctx) {
  const Shape *data = ctx.shape(0), *indices = ctx.shape(1);
  if (data != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(data->size())));
    const size_t a = static_cast<size_t>(axis);
    TRY(check_indices(ctx, 1, a, (*data)[a]));
    if (indices != nullptr) TRY(check_elementwise_indices(*data, *indices, a));
  }
  if (indices == nullptr)
    return ctx.set(0, ctx.dtype(0), data ? std::optional(Shape(data->size())) : std::nullopt);
  const bool list = indices->size() == 1;
  TRY(ctx.set(0, ctx.dtype(0), *indices));
  const PartialValue* values = ctx.partial(0);
  const auto at = ctx.ints(1);
  if (list && values != nullptr && at) ctx.set_partial(0, picked(*values, *at));
  return ok();
}

Status eval_gather_elements(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  TRY(check_elementwise_indices(to_shape(x.dims()), to_shape(indices.dims()),
                                static_cast<size_t>(axis)));
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), indices.dims()));
  TRY(for_each_element(indices, x.dims(), static_cast<size_t>(axis),
                       [&](int64_t i, int64_t at) { copy_element(out, i, x, at); }));
  ctx.set(0, std::move(out));
  return ok();
}

Status infer_gather_nd(InferContext& ctx) {
  const Shape *data = ctx.shape(0), *indices = ctx.shape(1);
  const int64_t batch = ctx.node().attr_int("batch_dims", 0);
  if (batch < 0) return ctx.error(format("attribute 'batch_dims' is {}", batch));
  if (indices != nullptr && static_cast<int64_t>(indices->size()) <= batch)
    return ctx.error(format("indices {} need more than {} batch dims", to_string(*indices), batch));
  if (data != nullptr && static_cast<int64_t>(data->size()) <= batch)
    return ctx.error(format("input {} needs more than {} batch dims", to_string(*data), batch));
  if (data == nullptr || indices == nullptr || !indices->back().is_const())
    return ctx.set(0, ctx.dtype(0), std::nullopt);
  const int64_t depth = indices->back().value();
  if (depth < 1 || batch + depth > static_cast<int64_t>(data->size()))
    return ctx.error(format("indices {} do not address the input {} after {} batch dims",
                            to_string(*indices), to_string(*data), batch));
  Shape out(indices->begin(), indices->end() - 1);
  for (size_t i = 0; i < static_cast<size_t>(batch); ++i) {
    const auto d = unify(out[i], (*data)[i]);
    if (!d)
      return ctx.error(format("batch dims of input {} and indices {} differ", to_string(*data),
                              to_string(*indices)));
    out[i] = *d;
  }
  out.insert(out.end(), data->begin() + batch + depth, data->end());
  const bool small = out.size() <= 1;
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* values = ctx.partial(0);
  const auto at = constant_values(ctx, 1);
  if (small && data->size() == 1 && batch == 0 && values != nullptr && at)
    ctx.set_partial(0, picked(*values, *at));
  return ok();
}

Status eval_gather_nd(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1);
  const int64_t batch = ctx.node().attr_int("batch_dims", 0);
  TRY_ASSIGN(const NdIndex nd, nd_index(x.dims(), indices, batch));
  Dims dims(indices.dims().begin(), indices.dims().end() - 1);
  dims.insert(dims.end(), x.dims().begin() + batch + nd.depth, x.dims().end());
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), std::move(dims)));
  for (size_t i = 0; i < nd.offsets.size() && nd.block > 0; ++i)
    copy_elements(out, static_cast<int64_t>(i) * nd.block, x, nd.offsets[i], nd.block);
  ctx.set(0, std::move(out));
  return ok();
}

// Negative indices came with version 11; constant ones are made positive where the size is known.
Status lower_gather(Model& m, NodeId n) {
  TRY(lower_negative_axes(m, n, "axis"));
  const Node& node = m.node(n);
  const Tensor* t = m.constant(node.input(1));
  if (t == nullptr || !is_integer(t->dtype())) return ok();
  std::vector<int64_t> at = t->to_aligned().to_i64();
  if (std::none_of(at.begin(), at.end(), [](int64_t i) { return i < 0; })) return ok();
  const auto& shape = m.value(node.input(0)).type.shape;
  const size_t axis = static_cast<size_t>(node.attr_int("axis", 0));
  if (!shape || axis >= shape->size() || !(*shape)[axis].is_const())
    return unsupported("negative indices of Gather need an axis of known size before opset 11");
  for (int64_t& i : at)
    if (i < 0) i += (*shape)[axis].value();
  const DType type = t->dtype();
  Dims dims = t->dims();
  TRY_ASSIGN(Tensor positive, Tensor::from_i64(type, std::move(dims), at));
  set_constant_input(m, n, 1, "indices", std::move(positive));
  return ok();
}

constexpr VersionStep kGatherSteps[] = {{11, step_same_up, lower_gather}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    gather,
    {.name = "Gather",
     .infer = infer_gather,
     .eval = eval_gather,
     .steps = kGatherSteps,
     .flags = kDataMovement},
    {.name = "GatherElements",
     .infer = infer_gather_elements,
     .eval = eval_gather_elements,
     .flags = kDataMovement},
    {.name = "GatherND", .infer = infer_gather_nd, .eval = eval_gather_nd, .flags = kDataMovement},
    {.name = "GatherND",
     .domain = "com.microsoft",
     .infer = infer_gather_nd,
     .eval = eval_gather_nd,
     .flags = kDataMovement});
