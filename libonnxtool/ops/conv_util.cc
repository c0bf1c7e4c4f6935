// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/conv_util.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

Result<int64_t> group_of(const Node& node) {
  const int64_t group = node.attr_int("group", 1);
  if (group < 1) return invalid(format("attribute 'group' is {}, at least 1 expected", group));
  return group;
}

std::span<const Dim> spatial_of(const Shape& s) { return std::span<const Dim>(s).subspan(2); }

// Both shapes of x and w, where at least one is known; the other then has unknown dims.
Result<std::optional<std::pair<Shape, Shape>>> operands(const InShapes& in, ConvInputs at) {
  const Shape *x = in[at.x], *w = in[at.w];
  TRY(expect_rank_at_least(x, "input", 3));
  TRY(expect_rank_at_least(w, "weight", 3));
  if (x == nullptr && w == nullptr) return std::optional<std::pair<Shape, Shape>>();
  if (x != nullptr) TRY(expect_rank(w, "weight", x->size()));
  const size_t rank = x != nullptr ? x->size() : w->size();
  return std::optional(std::pair(x ? *x : Shape(rank), w ? *w : Shape(rank)));
}

Status expect_multiple(std::string_view what, Dim d, int64_t group) {
  if (d.is_const() && d.value() % group != 0)
    return invalid(format("{} is {}, no multiple of attribute 'group' {}", what, d.text(), group));
  return ok();
}

// Natural output size of a transposed convolution along axis i, before padding is taken off.
Result<Dim> spread(const Window& w, size_t i, Dim in, int64_t output_padding) {
  if (w.kernel[i] < 0 || in.is_unknown()) return Dim();
  const std::optional<int64_t> reach = checked_mul(w.kernel[i] - 1, w.dilations[i]);
  const std::optional<int64_t> extra = reach ? checked_add(*reach, output_padding) : std::nullopt;
  const Dim size = extra ? (in - Dim(1)) * Dim(w.strides[i]) + Dim(*extra) + Dim(1) : Dim();
  if (in.is_const() && !size.is_const())
    return invalid(format("output of axis {} is too large", i + 2));
  return size;
}

// Completes size and pads of axis i by the attributes output_shape, auto_pad and pads.
Result<Dim> transposed_size(Window& w, size_t i, Dim in, Dim natural, const int64_t* asked) {
  using Pad = Window::AutoPad;
  const bool same = w.auto_pad == Pad::kSameUpper || w.auto_pad == Pad::kSameLower;
  if (asked == nullptr && !same) {
    const std::optional<int64_t> pads = checked_add(w.pads_begin[i], w.pads_end[i]);
    if (!pads) return invalid("attribute 'pads' is too large");
    return natural - Dim(*pads);
  }
  // `same` gives in * stride, or all there is where that is less.
  const Dim out = asked != nullptr ? Dim(*asked) : min(in * Dim(w.strides[i]), natural);
  if (!natural.is_const() || !out.is_const()) return out;
  const std::optional<int64_t> over = checked_sub(natural.value(), out.value());
  if (!over || *over <= -std::max(w.strides[i], w.dilations[i]))
    return invalid(format("size {} is asked for at axis {}, the input of size {} gives {}",
                          out.text(), i + 2, in.text(), natural.text()));
  const int64_t total = std::max<int64_t>(*over, 0);
  w.pads_begin[i] = w.auto_pad == Pad::kSameUpper ? total / 2 : total - total / 2;
  w.pads_end[i] = total - w.pads_begin[i];
  return out;
}

// Attributes output_padding and output_shape: empty, or one non-negative value an axis.
Result<std::vector<int64_t>> size_list(const Node& node, const char* name, size_t spatial) {
  const std::vector<int64_t>* list = node.attr_ints(name);
  if (list == nullptr || list->empty()) return std::vector<int64_t>();
  if (list->size() != spatial)
    return invalid(
        format("attribute '{}' has {} values, {} expected", name, list->size(), spatial));
  for (int64_t v : *list)
    if (v < 0) return invalid(format("attribute '{}' has the value {}", name, v));
  return *list;
}

}  // namespace

Result<std::optional<ConvShape>> conv_rule(const InShapes& in, ConvInputs at) {
  ConvShape r;
  TRY_ASSIGN(r.group, group_of(in.node()));
  TRY_ASSIGN(auto xw, operands(in, at));
  if (!xw) return std::optional<ConvShape>();
  const auto& [x, w] = *xw;
  TRY(agree("number of input channels", x[1], "that of the weight", w[1] * Dim(r.group)));
  TRY(expect_multiple("number of output channels", w[0], r.group));
  TRY(expect_vector(in[at.bias], "bias", w[0], "number of output channels"));
  TRY_ASSIGN(r.window, window_of(in.node(), x.size() - 2, spatial_of(w)));
  r.out = {x[0], w[0]};
  for (size_t i = 2; i < x.size(); i++) {
    TRY_ASSIGN(const Dim d, r.window.output_size(i - 2, x[i]));
    r.out.push_back(d);
  }
  return std::optional(std::move(r));
}

Result<std::optional<ConvShape>> conv_transpose_rule(const InShapes& in) {
  ConvShape r;
  TRY_ASSIGN(r.group, group_of(in.node()));
  TRY_ASSIGN(auto xw, operands(in, {}));
  if (!xw) return std::optional<ConvShape>();
  const auto& [x, w] = *xw;
  TRY(agree("number of input channels", x[1], "that of the weight", w[0]));
  TRY(expect_multiple("number of input channels", w[0], r.group));
  const Dim channels = w[1] * Dim(r.group);
  TRY(expect_vector(in[2], "bias", channels, "number of output channels"));
  const size_t spatial = x.size() - 2;
  TRY_ASSIGN(r.window, window_of(in.node(), spatial, spatial_of(w)));
  TRY_ASSIGN(const auto extra, size_list(in.node(), "output_padding", spatial));
  TRY_ASSIGN(const auto asked, size_list(in.node(), "output_shape", spatial));
  r.out = {x[0], channels};
  for (size_t i = 0; i < spatial; i++) {
    TRY_ASSIGN(const Dim natural, spread(r.window, i, x[i + 2], extra.empty() ? 0 : extra[i]));
    TRY_ASSIGN(const Dim d, transposed_size(r.window, i, x[i + 2], natural,
                                            asked.empty() ? nullptr : &asked[i]));
    if (d.is_const() && d.value() < 0)
      return invalid(format("output has the size {} at axis {}", d.text(), i + 2));
    r.out.push_back(d);
  }
  return std::optional(std::move(r));
}

Result<int64_t> conv_macs(const InferContext& ctx, ConvInputs at) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, at));
  if (!s || in[at.w] == nullptr) return unsupported("a shape is not known");
  Shape all = s->out;
  all.insert(all.end(), in[at.w]->begin() + 1, in[at.w]->end());
  return known_product(all);
}

Result<ConvGeometry> geometry_of(const ConvShape& s, const Shape& x, const Shape& w,
                                 bool transposed) {
  ConvGeometry g;
  TRY_ASSIGN(const Dims xd, known_dims(x));
  TRY_ASSIGN(const Dims wd, known_dims(w));
  TRY_ASSIGN(const Dims yd, known_dims(s.out));
  g.batch = xd[0];
  g.group = s.group;
  g.in_channels = xd[1] / g.group;
  g.out_channels = transposed ? wd[1] : wd[0] / g.group;
  g.in.assign(xd.begin() + 2, xd.end());
  g.kernel.assign(wd.begin() + 2, wd.end());
  g.out.assign(yd.begin() + 2, yd.end());
  g.strides = s.window.strides;
  g.dilations = s.window.dilations;
  g.pads = s.window.pads_begin;
  for (auto [dims, to] : {std::pair(&g.in, &g.in_size), std::pair(&g.kernel, &g.kernel_size),
                          std::pair(&g.out, &g.out_size)}) {
    const std::optional<int64_t> n = checked_product(*dims);
    if (!n) return unsupported(format("size {} is too large", to_string(*dims)));
    *to = *n;
  }
  return g;
}

void input_positions(const ConvGeometry& g, int64_t first, int64_t count, int64_t tap,
                     std::span<int64_t> at) {
  const size_t rank = g.out.size();
  Dims pos(rank), offset(rank);
  for (size_t i = rank; i-- > 0;) {
    pos[i] = first % g.out[i];
    first /= g.out[i];
    offset[i] = (tap % g.kernel[i]) * g.dilations[i] - g.pads[i];
    tap /= g.kernel[i];
  }
  for (int64_t p = 0; p < count; p++) {
    int64_t flat = 0;
    for (size_t i = 0; i < rank; i++) {
      const int64_t v = pos[i] * g.strides[i] + offset[i];
      if (v < 0 || v >= g.in[i]) {
        flat = -1;
        break;
      }
      flat = flat * g.in[i] + v;
    }
    at[static_cast<size_t>(p)] = flat;
    onnxtool::advance(pos, g.out);
  }
}

Status convolve(const EvalContext& ctx, const ConvGeometry& g, const ConvSource& x,
                std::span<const double> w, const ConvSink& sink) {
  const int64_t depth = g.in_channels * g.kernel_size;
  const int64_t block = std::clamp<int64_t>((1 << 18) / std::max<int64_t>(depth, 1), 16, 512);
  TRY_ASSIGN(auto plane, scratch(ctx, {g.in_channels, g.in_size}));
  TRY_ASSIGN(auto columns, scratch(ctx, {depth, block}));
  TRY_ASSIGN(auto result, scratch(ctx, {g.out_channels, block}));
  std::vector<int64_t> at(static_cast<size_t>(block));
  for (int64_t n = 0; n < g.batch; n++) {
    for (int64_t group = 0; group < g.group; group++) {
      x(n, group, plane);
      for (int64_t first = 0; first < g.out_size; first += block) {
        const int64_t count = std::min(block, g.out_size - first);
        for (int64_t tap = 0; tap < g.kernel_size; tap++) {
          input_positions(g, first, count, tap, at);
          for (int64_t c = 0; c < g.in_channels; c++) {
            const double* from = plane.data() + c * g.in_size;
            double* to = columns.data() + (c * g.kernel_size + tap) * block;
            for (int64_t p = 0; p < count; p++) to[p] = at[p] < 0 ? 0.0 : from[at[p]];
          }
        }
        std::fill(result.begin(), result.end(), 0.0);
        gemm(g.out_channels, count, depth, w.data() + group * g.out_channels * depth, depth,
             columns.data(), block, result.data(), block);
        for (int64_t m = 0; m < g.out_channels; m++)
          sink(n, group * g.out_channels + m, first,
               std::span(result).subspan(static_cast<size_t>(m * block),
                                         static_cast<size_t>(count)));
      }
    }
  }
  return ok();
}

}  // namespace onnxtool
