// SPDX-License-Identifier: Apache-2.0
// Reshape, Flatten: the same elements under other dims.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

std::string mismatch(std::string_view from, std::string_view to) {
  return format("shape {} cannot become {}: the element counts differ", from, to);
}

// total / part where it must divide; factors that stand on both sides are cancelled first.
Result<Dim> quotient(const InferContext& ctx, const Shape& total, const Shape& part) {
  Shape num = total, den;
  for (const Dim& d : part) {
    // A 0 beside -1 is a copied dim.
    const auto same =
        d.is_const() && !d.is_const(0) ? num.end() : std::find(num.begin(), num.end(), d);
    if (same != num.end())
      num.erase(same);
    else
      den.push_back(d);
  }
  const Dim q = product(num), p = product(den);
  if (p.is_const(0)) return Dim();
  if (q.is_const() && p.is_const() && q.value() % p.value() != 0)
    return ctx.error(mismatch(to_string(total), to_string(part) + " and one more dim"));
  return p.is_const(1) ? q : floor_div(q, p);
}

// Dims that the target of Reshape asks for; the one marked by `open` still has to be computed.
struct Target {
  Shape dims;
  std::optional<size_t> open;
};

Result<Target> resolve(InferContext& ctx, const PartialValue& target, const Shape* in) {
  const bool allow_zero = ctx.node().attr_int("allowzero", 0) != 0;
  Target t;
  std::optional<size_t> minus_one, unknown;
  size_t unknowns = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    Dim d = target[i];
    if (d.is_const() && d.value() < -1)
      return ctx.error(format("the new shape {} has a negative dim", to_string(target)));
    if (d.is_const(-1)) {
      if (minus_one)
        return ctx.error(format("the new shape {} has more than one -1", to_string(target)));
      minus_one = i;
      d = Dim();
    } else if (d.is_const(0) && !allow_zero) {
      if (in != nullptr && i >= in->size())
        return ctx.error(
            format("dim {} of the new shape is 0, which copies a dim that the input {} "
                   "does not have",
                   i, to_string(*in)));
      d = in != nullptr ? (*in)[i] : Dim();
    } else if (d.is_unknown()) {
      unknown = i;
      ++unknowns;
    }
    t.dims.push_back(d);
  }
  const auto zero = std::find_if(target.begin(), target.end(), [](Dim d) { return d.is_const(0); });
  if (minus_one && allow_zero && zero != target.end())
    return ctx.error(format("the new shape {} has both 0 and -1", to_string(target)));
  if (minus_one && unknowns == 0) t.open = minus_one;
  if (!minus_one && unknowns == 1) t.open = unknown;
  return t;
}

Status infer_reshape(InferContext& ctx) {
  const Shape* in = ctx.shape(0);
  TRY(expect_rank(ctx, 1, "the new shape", 1));
  PartialValue attr;
  const PartialValue* target = ctx.has_input(1) ? ctx.partial(1) : nullptr;
  if (!ctx.has_input(1)) {
    const auto* v = ctx.node().attr_ints("shape");
    if (v == nullptr) return ctx.error("neither input nor attribute 'shape' is there");
    attr.assign(v->begin(), v->end());
    target = &attr;
  }
  if (target == nullptr) {
    const auto rank = known_length(ctx, 1);
    if (!rank || *rank < 0 || *rank > 1024) return ctx.set(0, ctx.dtype(0), std::nullopt);
    if (*rank == 1 && in != nullptr)
      return ctx.set(0, ctx.dtype(0), Shape{or_fresh(ctx, product(*in), 0, 0)});
    return ctx.set(0, ctx.dtype(0), fresh_shape(ctx, 0, static_cast<size_t>(*rank)));
  }
  TRY_ASSIGN(Target t, resolve(ctx, *target, in));
  if (t.open && in != nullptr) {
    Shape others;
    for (size_t i = 0; i < t.dims.size(); ++i)
      if (i != *t.open) others.push_back(t.dims[i]);
    TRY_ASSIGN(t.dims[*t.open], quotient(ctx, *in, others));
  } else if (in != nullptr) {
    const Dim a = product(*in), b = product(t.dims);
    if (a.is_const() && b.is_const() && a.value() != b.value())
      return ctx.error(mismatch(to_string(*in), to_string(*target)));
  }
  for (size_t i = 0; i < t.dims.size(); ++i) t.dims[i] = or_fresh(ctx, t.dims[i], 0, i);
  TRY(ctx.set(0, ctx.dtype(0), t.dims));
  const PartialValue* p = ctx.partial(0);
  if (p != nullptr && t.dims.size() <= 1) ctx.set_partial(0, *p);
  return ok();
}

Status eval_reshape(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto target = ctx.ints(1, "shape");
  if (!target) return ctx.error("neither input nor attribute 'shape' is there");
  const bool allow_zero = ctx.node().attr_int("allowzero", 0) != 0;
  Dims dims = *target;
  std::optional<size_t> open;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == -1 && !open) {
      open = i;
      continue;
    }
    if (dims[i] == 0 && !allow_zero && i < x.dims().size())
      dims[i] = x.dims()[i];
    else if (dims[i] < 0 || (dims[i] == 0 && !allow_zero))
      return ctx.error(
          format("the new shape {} does not fit {}", to_string(*target), to_string(x.dims())));
  }
  if (open) {
    // Empty dims that are copied say nothing of the open one.
    Dims from = x.dims(), others;
    for (size_t i = 0; i < dims.size(); ++i) {
      if (i == *open) continue;
      if (dims[i] == 0 && !allow_zero)
        from[i] = 1;
      else
        others.push_back(dims[i]);
    }
    const auto total = checked_product(from), part = checked_product(others);
    if (!total || !part || *part == 0 || *total % *part != 0)
      return ctx.error(mismatch(to_string(x.dims()), to_string(*target)));
    dims[*open] = *total / *part;
  } else if (checked_product(dims) != x.size()) {
    return ctx.error(mismatch(to_string(x.dims()), to_string(*target)));
  }
  ctx.set(0, x.reshaped(std::move(dims)));
  return ok();
}

// Flatten's axis may equal the rank; negative ones count from the back since version 11.
Result<size_t> flatten_axis(const Node& node, size_t rank) {
  const int64_t axis = node.attr_int("axis", 1), r = static_cast<int64_t>(rank);
  const int64_t least = node.version >= 11 ? -r : 0;
  if (axis < least || axis > r)
    return invalid(format("attribute 'axis' is {}, outside of rank {}", axis, rank));
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

Status infer_flatten(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), fresh_shape(ctx, 0, 2));
  TRY_ASSIGN(const size_t axis, flatten_axis(ctx.node(), s->size()));
  const std::span<const Dim> all(*s);
  return ctx.set(0, ctx.dtype(0),
                 Shape{or_fresh(ctx, product(all.first(axis)), 0, 0),
                       or_fresh(ctx, product(all.subspan(axis)), 0, 1)});
}

Status eval_flatten(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const size_t axis, flatten_axis(ctx.node(), x.dims().size()));
  const auto rows = checked_product(std::span(x.dims()).first(axis));
  const auto columns = checked_product(std::span(x.dims()).subspan(axis));
  if (!rows || !columns) return ctx.error("the flattened shape overflows");
  ctx.set(0, x.reshaped({*rows, *columns}));
  return ok();
}

Result<bool> lift_shape(Model& m, NodeId n) {
  if (m.node(n).attr("shape") == nullptr) return false;
  TRY_ASSIGN(const bool lifted, ints_to_input(m, n, "shape", 1));
  if (lifted) m.remove_attr(n, "consumed_inputs");
  return lifted;
}

constexpr VersionStep kReshapeSteps[] = {
    {5, lift_shape, [](Model& m, NodeId n) { return input_to_ints(m, n, 1, "shape"); }},
};
constexpr VersionStep kFlattenSteps[] = {
    {11, step_same_up, [](Model& m, NodeId n) { return lower_negative_axes(m, n, "axis", 1); }},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(reshape,
             {.name = "Reshape",
              .infer = infer_reshape,
              .eval = eval_reshape,
              .steps = kReshapeSteps,
              .flags = kView | kDataMovement},
             {.name = "Flatten",
              .infer = infer_flatten,
              .eval = eval_flatten,
              .steps = kFlattenSteps,
              .flags = kView | kDataMovement});
