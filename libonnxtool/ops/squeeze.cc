// SPDX-License-Identifier: Apache-2.0
// Squeeze, Unsqueeze: dims of size 1 taken away or put in. Axes: an attribute before version 13.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

// The input's elements go on to an output of rank 0 or 1.
Status set_view(InferContext& ctx, Shape out) {
  const bool small = out.size() <= 1;
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* p = ctx.partial(0);
  if (small && p != nullptr) ctx.set_partial(0, *p);
  return ok();
}

std::string not_one(int64_t axis, std::string_view shape) {
  return format("axis {} of the input {} cannot be squeezed: its size is not 1", axis, shape);
}

Status infer_squeeze(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const int64_t rank = static_cast<int64_t>(s->size());
  Shape out;
  if (!given(ctx, 1, "axes")) {
    for (const Dim& d : *s) {
      if (d.is_const(1)) continue;
      const bool larger = d.is_const() || (!d.is_unknown() && d.lower_bound().value_or(0) > 1);
      if (!larger) return ctx.set(0, ctx.dtype(0), std::nullopt);
      out.push_back(d);
    }
    return set_view(ctx, std::move(out));
  }
  const auto axes = known_ints(ctx, 1, "axes");
  if (!axes) {
    const auto n = known_length(ctx, 1);
    if (!n || *n > rank) return ctx.set(0, ctx.dtype(0), std::nullopt);
    return set_view(ctx, fresh_shape(ctx, 0, static_cast<size_t>(rank - *n)));
  }
  TRY_ASSIGN(const std::vector<int64_t> at, normalize_axes(*axes, rank));
  for (int64_t i = 0; i < rank; ++i) {
    const Dim d = (*s)[static_cast<size_t>(i)];
    if (!std::binary_search(at.begin(), at.end(), i))
      out.push_back(d);
    else if (Dim::differ(d, 1))
      return ctx.error(not_one(i, to_string(*s)));
  }
  return set_view(ctx, std::move(out));
}

Status eval_squeeze(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto axes = ctx.ints(1, "axes");
  Dims out;
  if (axes) {
    TRY_ASSIGN(const std::vector<int64_t> at, normalize_axes(*axes, x.rank()));
    for (int64_t i = 0; i < x.rank(); ++i) {
      const int64_t d = x.dims()[static_cast<size_t>(i)];
      if (!std::binary_search(at.begin(), at.end(), i))
        out.push_back(d);
      else if (d != 1)
        return ctx.error(not_one(i, to_string(x.dims())));
    }
  } else {
    std::copy_if(x.dims().begin(), x.dims().end(), std::back_inserter(out),
                 [](int64_t d) { return d != 1; });
  }
  ctx.set(0, x.reshaped(std::move(out)));
  return ok();
}

Status infer_unsqueeze(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (!given(ctx, 1, "axes")) return ctx.error("'axes' is missing");
  const auto axes = known_ints(ctx, 1, "axes");
  if (!axes) {
    const auto n = known_length(ctx, 1);
    if (!n || s == nullptr || *n > 1024) return ctx.set(0, ctx.dtype(0), std::nullopt);
    return set_view(ctx, fresh_shape(ctx, 0, s->size() + static_cast<size_t>(*n)));
  }
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const size_t rank = s->size() + axes->size();
  TRY_ASSIGN(const std::vector<int64_t> at, normalize_axes(*axes, static_cast<int64_t>(rank)));
  Shape out;
  size_t from = 0;
  for (size_t i = 0; i < rank; ++i) {
    const bool added = std::binary_search(at.begin(), at.end(), static_cast<int64_t>(i));
    out.push_back(added ? Dim(1) : (*s)[from++]);
  }
  return set_view(ctx, std::move(out));
}

Status eval_unsqueeze(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto axes = ctx.ints(1, "axes");
  if (!axes) return ctx.error("'axes' is missing");
  const int64_t rank = x.rank() + static_cast<int64_t>(axes->size());
  TRY_ASSIGN(const std::vector<int64_t> at, normalize_axes(*axes, rank));
  Dims out;
  size_t from = 0;
  for (int64_t i = 0; i < rank; ++i)
    out.push_back(std::binary_search(at.begin(), at.end(), i) ? 1 : x.dims()[from++]);
  ctx.set(0, x.reshaped(std::move(out)));
  return ok();
}

// Unsqueeze's negative axes count in the output, whose rank is the input's plus the axes.
Status lower_unsqueeze_axes(Model& m, NodeId n) {
  const auto* axes = m.node(n).attr_ints("axes");
  auto negative = [](int64_t a) { return a < 0; };
  if (axes == nullptr || std::none_of(axes->begin(), axes->end(), negative)) return ok();
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (!rank) return step_error("negative 'axes' need an input of known rank in the older form");
  std::vector<int64_t> v = *axes;
  for (int64_t& a : v)
    if (a < 0) a += *rank + static_cast<int64_t>(v.size());
  m.set_attr(n, Attribute::of("axes", std::move(v)));
  return ok();
}

constexpr auto kLiftAxes = [](Model& m, NodeId n) { return ints_to_input(m, n, "axes", 1); };
constexpr auto kLowerAxes = [](Model& m, NodeId n) { return input_to_ints(m, n, 1, "axes"); };
constexpr VersionStep kSqueezeSteps[] = {
    {11, step_same_up, [](Model& m, NodeId n) { return lower_negative_axes(m, n, "axes"); }},
    {13, kLiftAxes, kLowerAxes},
};
constexpr VersionStep kUnsqueezeSteps[] = {
    {11, step_same_up, lower_unsqueeze_axes},
    {13, kLiftAxes, kLowerAxes},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(squeeze,
             {.name = "Squeeze",
              .infer = infer_squeeze,
              .eval = eval_squeeze,
              .steps = kSqueezeSteps,
              .flags = kView | kDataMovement},
             {.name = "Unsqueeze",
              .infer = infer_unsqueeze,
              .eval = eval_unsqueeze,
              .steps = kUnsqueezeSteps,
              .flags = kView | kDataMovement});
