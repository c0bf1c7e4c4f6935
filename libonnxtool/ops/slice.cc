// SPDX-License-Identifier: Apache-2.0
// Slice: numpy-style ranges with steps. Attributes before version 10, inputs since.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

struct Range {
  int64_t start = 0, count = 0, step = 1;
};

// Clamping as the documentation of Slice-13 has it; `step` is not 0.
Range resolve(int64_t dim, int64_t start, int64_t end, int64_t step) {
  const bool forward = step > 0;
  if (start < 0) start += dim;  // dim >= 0: no overflow
  if (end < 0) end += dim;
  start = std::clamp<int64_t>(start, 0, forward ? dim : std::max<int64_t>(dim - 1, 0));
  end = std::clamp<int64_t>(end, forward ? 0 : -1, dim);
  const int64_t distance = dim == 0 ? 0 : forward ? end - start : start - end;
  step = std::clamp<int64_t>(step, -INT64_MAX, INT64_MAX);
  const int64_t stride = forward ? step : -step;
  return {start, distance <= 0 ? 0 : (distance - 1) / stride + 1, step};
}

constexpr int64_t kFar = 1000000000;  // exporters write this, or more, for "to the end"

// A bound as a position from the front: not negative for sure, or from the back, or unknown.
enum class Sign : uint8_t { kFront, kBack, kUnknown };
Sign sign_of(Dim d) {
  if (d.is_unknown()) return Sign::kUnknown;
  if (d.is_const()) return d.value() < 0 ? Sign::kBack : Sign::kFront;
  if (d.lower_bound().value_or(-1) >= 0) return Sign::kFront;
  if (d.upper_bound().value_or(0) < 0) return Sign::kBack;
  return Sign::kUnknown;
}

// Size of a slice of an axis of symbolic size; unknown where no closed form is worth it.
Dim sliced_size(Dim dim, Dim start, Dim end, Dim step) {
  if (!step.is_const()) return {};
  const int64_t k = step.value();
  if (dim.is_const() && start.is_const() && end.is_const())
    return resolve(dim.value(), start.value(), end.value(), k).count;
  if (k < 0) {
    // Only the whole axis backwards: from the last element (or beyond) to before the first.
    const bool from_last = start.is_const() && (start.value() == -1 || start.value() >= kFar);
    const bool to_first = end.is_const() && end.value() < -kFar;
    return from_last && to_first && k != INT64_MIN ? ceil_div(dim, -k) : Dim();
  }
  if (!start.is_const() && start == Dim(0) - dim) start = 0;  // as many from the back as there are
  const Sign ss = sign_of(start), se = sign_of(end);
  if (ss == Sign::kUnknown || se == Sign::kUnknown) return {};
  const bool to_end = end == dim || (end.is_const() && end.value() >= kFar);
  Dim size;
  if (to_end && ss == Sign::kFront) {
    size = start.is_const(0) ? dim : max(dim - start, 0);
  } else if (to_end) {
    size = min(Dim(0) - start, dim);
  } else {
    const Dim from = ss == Sign::kBack   ? max(dim + start, 0)
                     : start.is_const(0) ? Dim(0)
                                         : min(start, dim);
    const Dim to = se == Sign::kBack ? max(dim + end, 0) : min(end, dim);
    size = from.is_const(0) ? to : max(to - from, 0);
  }
  return k == 1 ? size : ceil_div(size, k);
}

// One of the lists (starts, ends, axes, steps): an input since version 10, an attribute before.
// nullopt: given but not known.
std::optional<PartialValue> list_of(const InferContext& ctx, size_t i, std::string_view attr) {
  if (ctx.has_input(i)) {
    const PartialValue* p = ctx.partial(i);
    return p ? std::optional(*p) : std::nullopt;
  }
  if (ctx.version() < 10)
    if (const auto* v = ctx.node().attr_ints(attr)) return PartialValue(v->begin(), v->end());
  return PartialValue{};
}

std::optional<std::vector<int64_t>> constants(const PartialValue& v) {
  std::vector<int64_t> r;
  for (const Dim& d : v) {
    if (!d.is_const()) return std::nullopt;
    r.push_back(d.value());
  }
  return r;
}

Status infer_slice(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const bool inputs = ctx.version() >= 10;
  for (size_t i = 1; i < 5 && inputs; ++i)
    TRY(expect_rank(ctx, i, "starts, ends, axes or steps", 1));
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const int64_t rank = static_cast<int64_t>(s->size());
  std::optional<PartialValue> starts = list_of(ctx, 1, "starts"), ends = list_of(ctx, 2, "ends");
  std::optional<PartialValue> axes = list_of(ctx, 3, "axes"), steps = list_of(ctx, 4, "");
  std::optional<size_t> n;
  auto agree = [&](const std::optional<PartialValue>& v, size_t input, bool optional) -> Status {
    std::optional<size_t> size;
    if (v)
      size = v->size();
    else if (auto l = known_length(ctx, input))
      size = static_cast<size_t>(*l);
    if (!size || (optional && *size == 0)) return ok();
    if (n && *n != *size)
      return ctx.error(
          format("starts, ends, axes and steps have the lengths {} and {}", *n, *size));
    n = size;
    return ok();
  };
  TRY(agree(starts, 1, false));
  TRY(agree(ends, 2, false));
  TRY(agree(axes, 3, true));
  TRY(agree(steps, 4, true));
  if (n && *n > s->size())
    return ctx.error(format("{} axes to slice, input {} has rank {}", *n, to_string(*s), rank));
  const auto axis_values = axes ? constants(*axes) : std::nullopt;
  if (!n || !axis_values) return ctx.set(0, ctx.dtype(0), fresh_shape(ctx, 0, s->size()));
  std::vector<int64_t> at = *axis_values;
  if (at.empty())
    for (size_t i = 0; i < *n; ++i) at.push_back(static_cast<int64_t>(i));
  TRY_ASSIGN(at, axis_positions(at, rank));
  Shape out = *s;
  for (size_t i = 0; i < at.size(); ++i) {
    const size_t a = static_cast<size_t>(at[i]);
    const Dim step = !steps ? Dim() : steps->empty() ? Dim(1) : (*steps)[i];
    if (step.is_const(0)) return ctx.error("step 0");
    const Dim start = starts ? (*starts)[i] : Dim(), end = ends ? (*ends)[i] : Dim();
    out[a] = or_fresh(ctx, sliced_size((*s)[a], start, end, step), 0, a);
  }
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* p = ctx.partial(0);
  if (p == nullptr || rank != 1 || at.empty() || !starts || !ends || !steps) return ok();
  const auto from = constants(*starts), to = constants(*ends), by = constants(*steps);
  if (!from || !to || !by) return ok();
  const Range r =
      resolve(static_cast<int64_t>(p->size()), (*from)[0], (*to)[0], by->empty() ? 1 : (*by)[0]);
  PartialValue v;
  for (int64_t i = 0; i < r.count; ++i)
    v.push_back((*p)[static_cast<size_t>(r.start + i * r.step)]);
  ctx.set_partial(0, std::move(v));
  return ok();
}

Status eval_slice(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto starts = ctx.ints(1, "starts"), ends = ctx.ints(2, "ends");
  if (!starts || !ends || starts->size() != ends->size())
    return ctx.error("starts and ends differ in length");
  std::vector<int64_t> axes = ctx.ints(3, "axes").value_or(std::vector<int64_t>());
  const std::vector<int64_t> steps = ctx.ints(4).value_or(std::vector<int64_t>());
  if (axes.empty())
    for (size_t i = 0; i < starts->size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (axes.size() != starts->size() || (!steps.empty() && steps.size() != starts->size()))
    return ctx.error("starts, ends, axes and steps differ in length");
  TRY_ASSIGN(const auto at, axis_positions(axes, x.rank()));
  Dims dims = x.dims();
  auto strides = row_major_strides(x.dims());
  int64_t offset = 0;
  for (size_t i = 0; i < at.size(); ++i) {
    const size_t a = static_cast<size_t>(at[i]);
    const int64_t step = steps.empty() ? 1 : steps[i];
    if (step == 0) return ctx.error("step 0");
    const Range r = resolve(x.dims()[a], (*starts)[i], (*ends)[i], step);
    dims[a] = r.count;
    if (r.count > 0) offset += r.start * strides[a];
    if (r.count > 1) strides[a] *= r.step;
  }
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  if (out.size() > 0) copy_strided(out, 0, row_major_strides(dims), x, offset, strides, dims);
  ctx.set(0, std::move(out));
  return ok();
}

constexpr VersionStep kSliceSteps[] = {
    {10,
     [](Model& m, NodeId n) -> Result<bool> {
       const Node& node = m.node(n);
       const auto *starts = node.attr_ints("starts"), *ends = node.attr_ints("ends");
       if (starts == nullptr || ends == nullptr || starts->size() != ends->size()) return false;
       if (node.num_inputs() > 1) return false;
       TRY(ints_to_input(m, n, "starts", 1));
       TRY(ints_to_input(m, n, "ends", 2));
       return ints_to_input(m, n, "axes", 3);
     },
     [](Model& m, NodeId n) -> Status {
       if (m.node(n).has_input(4)) {
         TRY_ASSIGN(const auto steps, constant_ints(m, n, 4, "steps"));
         for (int64_t s : steps)
           if (s != 1)
             return unsupported(format("Slice with step {} has no form before opset 10", s));
       }
       // All must be constant before the first is changed.
       for (size_t i = 1; i < 4; ++i)
         if (m.node(n).has_input(i)) TRY(constant_ints(m, n, i, "starts, ends or axes"));
       drop_input(m, n, 4);
       TRY(input_to_ints(m, n, 3, "axes"));
       TRY(input_to_ints(m, n, 2, "ends"));
       return input_to_ints(m, n, 1, "starts");
     }},
    {11, step_same_up,
     [](Model& m, NodeId n) -> Status {
       // Negative axes came with version 11.
       if (!m.node(n).has_input(3)) return ok();
       const Tensor* t = m.constant(m.node(n).input(3));
       if (t == nullptr) return ok();
       std::vector<int64_t> axes = t->to_aligned().to_i64();
       if (std::none_of(axes.begin(), axes.end(), [](int64_t a) { return a < 0; })) return ok();
       const auto& shape = m.value(m.node(n).input(0)).type.shape;
       if (!shape) return unsupported("negative axes of Slice need an input of known rank");
       for (int64_t& a : axes)
         if (a < 0) a += static_cast<int64_t>(shape->size());
       const DType type = t->dtype();
       TRY_ASSIGN(Tensor positive,
                  Tensor::from_i64(type, {static_cast<int64_t>(axes.size())}, axes));
       set_constant_input(m, n, 3, "axes", std::move(positive));
       return ok();
     }},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(slice, {.name = "Slice",
                     .infer = infer_slice,
                     .eval = eval_slice,
                     .steps = kSliceSteps,
                     .flags = kDataMovement});
