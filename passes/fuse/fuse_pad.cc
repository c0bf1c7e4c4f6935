// SPDX-License-Identifier: Apache-2.0
// fuse-pad: a Pad goes into the Conv or pool behind it.
//
//     before: x -> Pad([0,0,1,1,0,0,1,1]) -> Conv(pads [0,0,0,0]) -> y
//     after:  x -> Conv(pads [1,1,1,1]) -> y
#include <algorithm>
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Conv", "ConvInteger", "AveragePool", "MaxPool"};

// The number around is one that a MaxPool never takes: minus infinity, or 0 where all are positive.
bool is_least(const PassContext& ctx, const Node& pad, double value) {
  if (value == 0)
    return ctx.producer(pad.input(0), "Relu").valid() ||
           ctx.producer(pad.input(0), "Sigmoid").valid();
  return std::isinf(value) && value < 0;
}

// Begin and end pads of each of `rank` axes; nullopt: not known, or not of `value` around.
std::optional<std::vector<int64_t>> pads_of(const PassContext& ctx, const Node& pad, size_t rank,
                                            bool least) {
  if (pad.version < 11 || pad.attr_str("mode", "constant") != "constant") return std::nullopt;
  const auto value = pad.has_input(2) ? uniform(ctx, pad.input(2)) : 0.0;
  if (!value || !(least ? is_least(ctx, pad, *value) : *value == 0)) return std::nullopt;
  const auto given = ctx.ints(pad.input(1));
  if (!given) return std::nullopt;
  std::vector<int64_t> axes;
  if (pad.has_input(3)) {
    const auto a = ctx.ints(pad.input(3));
    if (!a) return std::nullopt;
    axes = *a;
  } else {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (given->size() != 2 * axes.size()) return std::nullopt;
  std::vector<int64_t> r(2 * rank);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + static_cast<int64_t>(rank) : axes[i];
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) return std::nullopt;
    r[static_cast<size_t>(axis)] = (*given)[i];
    r[static_cast<size_t>(axis) + rank] = (*given)[i + axes.size()];
  }
  return r;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  const NodeId pad = ctx.producer(n.input(0), "Pad");
  if (!pad.valid()) return NoMatch{};
  const Node& p = ctx.node(pad);
  const Shape* in = ctx.shape(p.input(0));
  if (!in || in->size() < 3) return NoMatch{};
  const size_t rank = in->size(), spatial = rank - 2;
  const bool average = n.is("AveragePool"), max = n.is("MaxPool");
  const auto more = pads_of(ctx, p, rank, max);
  if (!more)
    return refuse(max ? "it does not pad by a known number of what is never the largest"
                      : "it does not pad by zeros of known number");
  if (std::any_of(more->begin(), more->end(), [](int64_t v) { return v < 0; }))
    return refuse("it crops");
  if ((*more)[0] || (*more)[1] || (*more)[rank] || (*more)[rank + 1])
    return refuse("it pads batch or channels");
  if (n.attr_str("auto_pad", "NOTSET") != "NOTSET")
    return refuse("the padding is automatic behind it");
  std::vector<int64_t> pads(2 * spatial);
  if (const auto* old = n.attr_ints("pads")) {
    if (old->size() != pads.size()) return NoMatch{};
    pads = *old;
  }
  if (n.is("ConvInteger") && n.has_input(2)) return refuse("zero is not the zero point");
  if (max) {
    if (n.num_outputs() > 1 && n.has_output(1)) return refuse("indices would be other ones");
    const auto* dilations = n.attr_ints("dilations");
    if (dilations &&
        std::any_of(dilations->begin(), dilations->end(), [](int64_t d) { return d != 1; }))
      return refuse("a window may be all padding");
  }
  if (average || max) {
    if (n.attr_int("ceil_mode", 0) != 0) return refuse("the pool rounds its size up");
    const bool padded = std::any_of(pads.begin(), pads.end(), [](int64_t v) { return v != 0; });
    if (average && padded && n.attr_int("count_include_pad", 0) == 0)
      return refuse("the pool does not count its own padding");
    // A pool's padding must be smaller than its window.
    const auto* kernel = n.attr_ints("kernel_shape");
    if (!kernel || kernel->size() != spatial) return NoMatch{};
    for (size_t i = 0; i < spatial; ++i)
      if (std::max(pads[i] + (*more)[i + 2], pads[i + spatial] + (*more)[rank + i + 2]) >=
          (*kernel)[i])
        return refuse("the padding would be as large as the window");
  }
  for (size_t i = 0; i < spatial; ++i) {
    pads[i] += (*more)[i + 2];
    pads[i + spatial] += (*more)[rank + i + 2];
  }
  Edit edit;
  edit.remove = {pad};
  edit.exclusive = {pad};
  edit.set_input(root, 0, p.input(0));
  edit.set_attr(root, Attribute::of("pads", std::move(pads)));
  if (average) edit.set_attr(root, Attribute::of("count_include_pad", int64_t{1}));
  edit.note = "padding by what does not count";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_pad;
const Pass pass_fuse_pad = {
    .name = "fuse-pad",
    .summary = "puts a Pad into the Conv, AveragePool or MaxPool behind it",
    .doc =
        "Constant padding by zeros of the spatial axes, not negative, whose result nobody else "
        "reads, before Conv,\n"
        "ConvInteger without zero point or AveragePool with explicit pads. An AveragePool then "
        "counts its padding;\n"
        "it must not have padding of its own that it does not count, nor round its size up. "
        "Before MaxPool the padding is\n"
        "minus infinity, or zeros behind Relu or Sigmoid, and its indices are not used.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
