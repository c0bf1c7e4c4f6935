// SPDX-License-Identifier: Apache-2.0
// Pad (constant, reflect, edge, wrap; negative pads crop) and CenterCropPad.
// Pads: an attribute before version 11, an input since; axes: an input since version 18.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

enum class Mode : uint8_t { kConstant, kReflect, kEdge, kWrap };

Result<Mode> mode_of(const Node& node) {
  TRY_ASSIGN(const size_t i,
             choice(node, "mode", "constant", {"constant", "reflect", "edge", "wrap"}));
  if (i == 3 && node.version < 19) return invalid("mode 'wrap' needs opset 19");
  return static_cast<Mode>(i);
}

std::string_view pads_attr(const Node& node) { return node.version < 2 ? "paddings" : "pads"; }

Status infer_pad(InferContext& ctx) {
  TRY_ASSIGN(const Mode mode, mode_of(ctx.node()));
  TRY(expect_rank(ctx, 1, "pads", 1));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const int64_t rank = static_cast<int64_t>(s->size());
  std::vector<int64_t> axes;
  if (ctx.has_input(3)) {
    const auto v = ctx.ints(3);
    if (!v) return ctx.set(0, ctx.dtype(0), fresh_shape(ctx, 0, s->size()));
    TRY_ASSIGN(axes, axis_positions(*v, rank));
  } else {
    for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
  }
  PartialValue pads(2 * axes.size());
  if (ctx.has_input(1)) {
    if (const PartialValue* p = ctx.partial(1))
      pads = *p;
    else if (auto n = known_length(ctx, 1))
      pads.resize(static_cast<size_t>(std::clamp<int64_t>(*n, 0, 4096)));
  } else if (const auto* a = ctx.node().attr_ints(pads_attr(ctx.node()))) {
    pads.assign(a->begin(), a->end());
  } else {
    return ctx.error("the pads are missing");
  }
  if (pads.size() != 2 * axes.size())
    return ctx.error(
        format("{} pads for {} axes of the input {}", pads.size(), axes.size(), to_string(*s)));
  Shape out = *s;
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t a = static_cast<size_t>(axes[i]);
    const Dim begin = pads[i], end = pads[i + axes.size()];
    if (begin.is_const(0) && end.is_const(0)) continue;
    const Dim d = (*s)[a] + begin + end;
    if (d.is_const() && d.value() < 0)
      return ctx.error(
          format("axis {} of the input {} is padded to the size {}", a, to_string(*s), d.value()));
    const bool adds =
        (begin.is_const() && begin.value() > 0) || (end.is_const() && end.value() > 0);
    if (mode != Mode::kConstant && adds && (*s)[a].is_const(0))
      return ctx.error(
          format("axis {} of the input {} is empty: nothing to repeat", a, to_string(*s)));
    out[a] = or_fresh(ctx, d, 0, a);
  }
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  return ok();
}

// One axis: source positions [first, last) are kept, the result has `size` positions.
struct Extent {
  int64_t first, last, size;
};
Result<Extent> extent(int64_t n, int64_t begin, int64_t end) {
  constexpr int64_t kMax = int64_t{1} << 60;
  if (begin < -kMax || begin > kMax || end < -kMax || end > kMax || n > kMax || n + begin + end < 0)
    return invalid(format("axis of size {} cannot be padded by {} and {}", n, begin, end));
  return Extent{begin < 0 ? std::min(n, -begin) : 0, end < 0 ? std::max<int64_t>(0, n + end) : n,
                n + begin + end};
}

// Source position of each position along one axis.
Result<std::vector<int64_t>> axis_sources(int64_t size, int64_t begin, int64_t end, Mode mode) {
  TRY_ASSIGN(const Extent e, extent(size, begin, end));
  const int64_t kept = e.last - e.first;
  if (kept <= 0 && e.size > 0)
    return invalid(
        format("axis of size {} padded by {} and {}: nothing to repeat", size, begin, end));
  std::vector<int64_t> r;
  r.reserve(static_cast<size_t>(e.size));
  for (int64_t i = 0; i < e.size; ++i) {
    int64_t t = i - begin - e.first;
    if (t < 0 || t >= kept) {
      if (mode == Mode::kEdge)
        t = std::clamp<int64_t>(t, 0, kept - 1);
      else if (mode == Mode::kWrap)
        t = floor_mod(t, kept);
      else if (kept == 1)
        t = 0;
      else {
        t = floor_mod(t, 2 * (kept - 1));
        if (t >= kept) t = 2 * (kept - 1) - t;
      }
    }
    r.push_back(t + e.first);
  }
  return r;
}

// The constant around (or the crop of) the input; `begin` may be negative.
Result<Tensor> padded_constant(const EvalContext& ctx, const Tensor& x,
                               std::span<const int64_t> begin, std::span<const int64_t> end,
                               const Tensor* fill) {
  Dims dims, inner;
  int64_t from = 0, to = 0;
  const auto src = row_major_strides(x.dims());
  std::vector<int64_t> lo(x.dims().size()), at(x.dims().size());
  for (size_t i = 0; i < x.dims().size(); ++i) {
    TRY_ASSIGN(const Extent e, extent(x.dims()[i], begin[i], end[i]));
    dims.push_back(e.size);
    inner.push_back(std::max<int64_t>(0, e.last - e.first));
    lo[i] = e.first;
    at[i] = begin[i] > 0 ? begin[i] : 0;
  }
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  if (fill != nullptr) fill_with(out, *fill, 0);
  if (span_size(inner, 0, inner.size()) == 0) return out;
  const auto dst = row_major_strides(dims);
  for (size_t i = 0; i < dims.size(); ++i) {
    from += lo[i] * src[i];
    to += at[i] * dst[i];
  }
  copy_strided(out, to, dst, x, from, src, inner);
  return out;
}

Status eval_pad(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Mode mode, mode_of(ctx.node()));
  const auto pads = ctx.ints(1, pads_attr(ctx.node()));
  if (!pads) return ctx.error("the pads are missing");
  std::vector<int64_t> axes;
  if (const auto v = ctx.ints(3)) {
    TRY_ASSIGN(axes, axis_positions(*v, x.rank()));
  } else {
    for (int64_t i = 0; i < x.rank(); ++i) axes.push_back(i);
  }
  if (pads->size() != 2 * axes.size())
    return ctx.error(format("{} pads for {} axes of the input {}", pads->size(), axes.size(),
                            to_string(x.dims())));
  std::vector<int64_t> begin(x.dims().size(), 0), end(x.dims().size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    begin[static_cast<size_t>(axes[i])] = (*pads)[i];
    end[static_cast<size_t>(axes[i])] = (*pads)[i + axes.size()];
  }
  if (mode == Mode::kConstant) {
    Tensor fill;
    if (ctx.has(2)) {
      fill = ctx.in(2);
      if (fill.size() != 1 || fill.dtype() != x.dtype())
        return ctx.error("constant_value is not one element of the input's type");
    } else if (const float v = ctx.node().attr_float("value", 0.0f); ctx.version() < 11 && v != 0) {
      const double d = v;
      TRY_ASSIGN(fill, Tensor::from_f64(x.dtype(), {}, std::span(&d, 1)));
    }
    TRY_ASSIGN(Tensor out, padded_constant(ctx, x, begin, end, fill.defined() ? &fill : nullptr));
    ctx.set(0, std::move(out));
    return ok();
  }
  Tensor cur = x;
  for (size_t i = 0; i < begin.size(); ++i) {
    if (begin[i] == 0 && end[i] == 0) continue;
    TRY_ASSIGN(const Extent e, extent(x.dims()[i], begin[i], end[i]));
    TRY(ctx.host().reserve(raw_bytes(DType::kInt64, e.size).value_or(INT64_MAX)));
    TRY_ASSIGN(const auto order, axis_sources(x.dims()[i], begin[i], end[i], mode));
    TRY_ASSIGN(cur, picked_rows(ctx, cur, i, order));
  }
  ctx.set(0, std::move(cur));
  return ok();
}

// ---------------------------------------------------------------------------- CenterCropPad
Status infer_center(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  TRY(expect_rank(ctx, 1, "shape", 1));
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  std::vector<int64_t> axes;
  for (size_t i = 0; i < s->size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (const auto* a = ctx.node().attr_ints("axes")) {
    TRY_ASSIGN(axes, axis_positions(*a, static_cast<int64_t>(s->size())));
  }
  PartialValue target(axes.size());
  if (const PartialValue* p = ctx.partial(1)) target = *p;
  if (target.size() != axes.size() || known_length(ctx, 1).value_or(static_cast<int64_t>(
                                          axes.size())) != static_cast<int64_t>(axes.size()))
    return ctx.error(format("'shape' has {} values for {} axes", target.size(), axes.size()));
  Shape out = *s;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (target[i].is_const() && target[i].value() < 0)
      return ctx.error(format("'shape' has the negative value {}", target[i].value()));
    const size_t a = static_cast<size_t>(axes[i]);
    out[a] = or_fresh(ctx, target[i], 0, a);
  }
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status eval_center(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> target = ctx.in(1).to_i64();
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < x.rank(); ++i) axes.push_back(i);
  if (const auto* a = ctx.node().attr_ints("axes")) {
    TRY_ASSIGN(axes, axis_positions(*a, x.rank()));
  }
  if (target.size() != axes.size())
    return ctx.error(format("'shape' has {} values for {} axes", target.size(), axes.size()));
  std::vector<int64_t> begin(x.dims().size(), 0), end(x.dims().size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t a = static_cast<size_t>(axes[i]);
    if (target[i] < 0) return ctx.error(format("'shape' has the negative value {}", target[i]));
    const int64_t more = target[i] - x.dims()[a];  // both non-negative
    begin[a] = more / 2;                           // towards zero: what is odd goes to the end
    end[a] = more - begin[a];
  }
  TRY_ASSIGN(Tensor out, padded_constant(ctx, x, begin, end, nullptr));
  ctx.set(0, std::move(out));
  return ok();
}

// Version 2 to 11: pads and value become inputs; the value needs the type of the data.
Result<bool> lift_inputs(Model& m, NodeId n) {
  const Node& node = m.node(n);
  if (node.attr_ints("pads") == nullptr || node.num_inputs() != 1) return false;
  const double value = node.attr_float("value", 0.0f);
  const DType type = m.value(node.input(0)).type.dtype;
  if (value != 0 && !is_float(type)) return false;
  TRY(ints_to_input(m, n, "pads", 1));
  if (value != 0) {
    TRY_ASSIGN(Tensor t, Tensor::from_f64(type, {}, std::span(&value, 1)));
    set_constant_input(m, n, 2, "pad_value", std::move(t));
  }
  m.remove_attr(n, "value");
  return true;
}

Status lower_inputs(Model& m, NodeId n) {
  float value = 0;
  if (m.node(n).has_input(2)) {
    const Tensor* t = m.constant(m.node(n).input(2));
    if (t == nullptr || t->size() != 1 || t->is_string())
      return unsupported("constant_value is not a constant, which Pad before opset 11 needs");
    value = static_cast<float>(t->to_aligned().f64_at(0));
  }
  TRY(constant_ints(m, n, 1, "pads"));
  drop_input(m, n, 2);
  TRY(input_to_ints(m, n, 1, "pads"));
  if (value != 0) m.set_attr(n, Attribute::of("value", value));
  return ok();
}

Status lower_axes(Model& m, NodeId n) {
  if (!m.node(n).has_input(3)) return ok();
  TRY_ASSIGN(const auto axes, constant_ints(m, n, 3, "axes"));
  TRY_ASSIGN(const auto pads, constant_ints(m, n, 1, "pads"));
  const auto& shape = m.value(m.node(n).input(0)).type.shape;
  if (!shape) return unsupported("'axes' of Pad before opset 18 need an input of known rank");
  const size_t rank = shape->size();
  TRY_ASSIGN(const auto at, axis_positions(axes, static_cast<int64_t>(rank)));
  if (pads.size() != 2 * at.size()) return invalid("pads do not fit the axes");
  std::vector<int64_t> all(2 * rank, 0);
  for (size_t i = 0; i < at.size(); ++i) {
    all[static_cast<size_t>(at[i])] = pads[i];
    all[rank + static_cast<size_t>(at[i])] = pads[i + at.size()];
  }
  drop_input(m, n, 3);
  set_constant_input(m, n, 1, "pads", Tensor::ints(all));
  return ok();
}

Result<bool> lift_paddings(Model& m, NodeId n) {
  const auto* p = m.node(n).attr_ints("paddings");
  if (p == nullptr) return false;
  m.set_attr(n, Attribute::of("pads", *p));
  m.remove_attr(n, "paddings");
  return true;
}

Status lower_paddings(Model& m, NodeId n) {
  if (const auto* p = m.node(n).attr_ints("pads")) m.set_attr(n, Attribute::of("paddings", *p));
  m.remove_attr(n, "pads");
  return ok();
}

// Version 18 does not know the mode: such a node stays what it is, an error.
Result<bool> lift_wrap(Model& m, NodeId n) {
  return m.node(n).attr_str("mode", "constant") != "wrap";
}

Status lower_wrap(Model& m, NodeId n) {
  if (m.node(n).attr_str("mode", "constant") == "wrap")
    return unsupported("Pad with mode 'wrap' has no form before opset 19");
  return ok();
}

constexpr VersionStep kPadSteps[] = {
    {2, lift_paddings, lower_paddings},
    {11, lift_inputs, lower_inputs},
    {18, step_same_up, lower_axes},
    {19, lift_wrap, lower_wrap},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(pad, {.name = "Pad", .infer = infer_pad, .eval = eval_pad, .steps = kPadSteps},
             {.name = "CenterCropPad", .infer = infer_center, .eval = eval_center});
