// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/shape_util.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// Two dims of a broadcast that are not equal; nullopt when they clash.
std::optional<Dim> broadcast_dim(Dim a, Dim b) {
  if (a == b || b.is_const(1)) return a;
  if (a.is_const(1)) return b;
  if (a.is_const() && b.is_const()) return std::nullopt;
  // A constant other than 1 wins: the other side can only be 1 or equal to it.
  if (a.is_const()) return a;
  if (b.is_const()) return b;
  if (!a.is_unknown() && a.lower_bound().value_or(0) > 1) return a;
  if (!b.is_unknown() && b.lower_bound().value_or(0) > 1) return b;
  return max(a, b);
}

Result<std::vector<int64_t>> spatial_ints(const Node& node, std::string_view attr, size_t size,
                                          int64_t def, int64_t least) {
  const std::vector<int64_t>* v = node.attr_ints(attr);
  if (v == nullptr || v->empty()) return std::vector<int64_t>(size, def);
  if (v->size() != size)
    return invalid(format("attribute '{}' has {} values, {} expected", attr, v->size(), size));
  for (int64_t x : *v)
    if (x < least)
      return invalid(format("attribute '{}' has the value {}, least is {}", attr, x, least));
  return *v;
}

}  // namespace

Result<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  const size_t lead = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); i++) {
    std::optional<Dim> d =
        broadcast_dim(a[i + a.size() - shorter.size()], b[i + b.size() - shorter.size()]);
    if (!d)
      return invalid(format("shapes {} and {} do not broadcast: {} against {}", to_string(a),
                            to_string(b), longer[lead + i].text(), shorter[i].text()));
    out[lead + i] = *d;
  }
  return out;
}

Result<std::optional<Shape>> broadcast_inputs(const InferContext& ctx, size_t first, size_t count) {
  std::optional<Shape> out = Shape{};
  for (size_t i = first; i < first + count; i++) {
    if (!ctx.has_input(i)) continue;
    const Shape* s = ctx.shape(i);
    if (s == nullptr) return std::optional<Shape>();
    TRY_ASSIGN(out, broadcast_shapes(*out, *s));
  }
  return out;
}

Status infer_same(InferContext& ctx) { return ctx.set(0, ctx.input(0)); }

Status infer_broadcast(InferContext& ctx) {
  TRY_ASSIGN(std::optional<Shape> s, broadcast_inputs(ctx, 0, 2));
  return ctx.set(0, ctx.dtype(0), std::move(s));
}

Status infer_broadcast_bool(InferContext& ctx) {
  TRY_ASSIGN(std::optional<Shape> s, broadcast_inputs(ctx, 0, 2));
  return ctx.set(0, DType::kBool, std::move(s));
}

Result<DType> dtype_attr(const Node& node, std::string_view attr, DType def) {
  const int64_t t = node.attr_int(attr, static_cast<int64_t>(def));
  if (t == static_cast<int64_t>(def)) return def;
  if (t < 0 || t >= kDTypeCount || !dtype_known(static_cast<int32_t>(t)))
    return invalid(format("attribute '{}' has the value {}, which is no element type", attr, t));
  return static_cast<DType>(t);
}

Result<std::vector<int64_t>> normalize_axes(std::span<const int64_t> axes, int64_t rank) {
  std::vector<int64_t> out;
  for (int64_t axis : axes) {
    std::optional<int64_t> a = normalize_axis(axis, rank);
    if (!a) return invalid(format("axis {} is out of range for rank {}", axis, rank));
    out.push_back(*a);
  }
  std::sort(out.begin(), out.end());
  if (auto twice = std::adjacent_find(out.begin(), out.end()); twice != out.end())
    return invalid(format("axis {} occurs twice", *twice));
  return out;
}

Dim element_count(const Shape& s) { return product(s); }

Result<Window> window_of(const Node& node, size_t spatial,
                         std::span<const Dim> kernel_from_weights) {
  Window w;
  const std::vector<int64_t>* kernel = node.attr_ints("kernel_shape");
  if (kernel != nullptr && !kernel->empty()) {
    TRY_ASSIGN(w.kernel, spatial_ints(node, "kernel_shape", spatial, 1, 1));
  } else if (kernel_from_weights.empty() && spatial > 0) {
    return invalid("attribute 'kernel_shape' is missing");
  } else {
    w.kernel.assign(spatial, -1);
  }
  if (!kernel_from_weights.empty()) {
    if (kernel_from_weights.size() != spatial)
      return invalid(
          format("weight has {} spatial dims, input has {}", kernel_from_weights.size(), spatial));
    for (size_t i = 0; i < spatial; i++) {
      const Dim d = kernel_from_weights[i];
      if (!d.is_const()) continue;
      if (w.kernel[i] == -1) w.kernel[i] = d.value();
      if (w.kernel[i] != d.value())
        return invalid(format("attribute 'kernel_shape' is {}, weight has {}",
                              to_string(std::span<const int64_t>(w.kernel)),
                              to_string(kernel_from_weights)));
    }
  }
  TRY_ASSIGN(w.strides, spatial_ints(node, "strides", spatial, 1, 1));
  TRY_ASSIGN(w.dilations, spatial_ints(node, "dilations", spatial, 1, 1));
  w.ceil_mode = node.attr_int("ceil_mode", 0) != 0;
  const std::string_view pad = node.attr_str("auto_pad", "NOTSET");
  if (pad == "SAME_UPPER")
    w.auto_pad = Window::AutoPad::kSameUpper;
  else if (pad == "SAME_LOWER")
    w.auto_pad = Window::AutoPad::kSameLower;
  else if (pad == "VALID")
    w.auto_pad = Window::AutoPad::kValid;
  else if (pad != "NOTSET" && !pad.empty())
    return invalid(format("attribute 'auto_pad' has the unknown value {}", quoted(pad)));
  w.pads_begin.assign(spatial, 0);
  w.pads_end.assign(spatial, 0);
  if (w.auto_pad == Window::AutoPad::kNotSet) {
    TRY_ASSIGN(std::vector<int64_t> pads, spatial_ints(node, "pads", 2 * spatial, 0, 0));
    std::copy_n(pads.begin(), spatial, w.pads_begin.begin());
    std::copy_n(pads.begin() + static_cast<ptrdiff_t>(spatial), spatial, w.pads_end.begin());
  }
  return w;
}

Result<Dim> Window::output_size(size_t i, Dim in) {
  const int64_t stride = strides[i];
  if (auto_pad == AutoPad::kSameUpper || auto_pad == AutoPad::kSameLower) {
    const Dim out = ceil_div(in, stride);
    if (!in.is_const() || kernel[i] < 0) return out;
    std::optional<int64_t> reach = checked_mul(kernel[i] - 1, dilations[i]);
    if (reach && in.value() > 0) reach = checked_add(*reach, (out.value() - 1) * stride + 1);
    if (!reach)
      return invalid(
          format("window of size {} with dilation {} is too large", kernel[i], dilations[i]));
    const int64_t total = in.value() > 0 ? std::max<int64_t>(*reach - in.value(), 0) : 0;
    const int64_t small = total / 2;
    pads_begin[i] = auto_pad == AutoPad::kSameUpper ? small : total - small;
    pads_end[i] = total - pads_begin[i];
    return out;
  }
  if (kernel[i] < 0) return Dim();
  if (kernel[i] == 0) return invalid("window has size 0");
  const std::optional<int64_t> reach = checked_mul(kernel[i] - 1, dilations[i]);
  const std::optional<int64_t> pads = checked_add(pads_begin[i], pads_end[i]);
  const std::optional<int64_t> extra = reach && pads ? checked_sub(*pads, *reach) : std::nullopt;
  if (!extra || *reach == INT64_MAX)
    return invalid(format("window of size {} with dilation {} and padding {} + {} is too large",
                          kernel[i], dilations[i], pads_begin[i], pads_end[i]));
  const Dim room = in + Dim(*extra) - Dim(1);  // padded size less effective kernel size
  Dim out = (ceil_mode ? ceil_div(room, stride) : floor_div(room, stride)) + Dim(1);
  // A window may not start in the right padding.
  const std::optional<int64_t> no_overhang = checked_add(pads_end[i], stride);
  if (ceil_mode && stride > 1 && !(no_overhang && *reach >= *no_overhang - 1))
    out = min(out, ceil_div(in + Dim(pads_begin[i]), stride));
  if (out.is_const() && out.value() <= 0) {
    if (in.is_const(0)) return Dim(0);
    return invalid(
        format("window of size {} does not fit into the input of size {} with padding {} + {}",
               *reach + 1, in.text(), pads_begin[i], pads_end[i]));
  }
  return out;
}

}  // namespace onnxtool
