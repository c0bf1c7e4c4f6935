// SPDX-License-Identifier: Apache-2.0
// fuse-pad: a Pad by zeros goes into the Conv or AveragePool behind it.
//
//     before: x -> Pad([0,0,1,1,0,0,1,1]) -> Conv(pads [0,0,0,0]) -> y
//     after:  x -> Conv(pads [1,1,1,1]) -> y
#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Conv", "ConvInteger", "AveragePool"};

// Begin and end pads of each of `rank` axes; nullopt: not known, or not zeros around.
std::optional<std::vector<int64_t>> pads_of(const PassContext& ctx, const Node& pad, size_t rank) {
  if (pad.version < 11 || pad.attr_str("mode", "constant") != "constant") return std::nullopt;
  if (pad.has_input(2)) {
    const auto value = uniform(ctx, pad.input(2));
    if (!value || *value != 0) return std::nullopt;
  }
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
  const auto more = pads_of(ctx, p, rank);
  if (!more) return refuse("it does not pad by zeros of known number");
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
  const bool pool = n.is("AveragePool");
  if (n.is("ConvInteger") && n.has_input(2)) return refuse("zero is not the zero point");
  if (pool) {
    if (n.attr_int("ceil_mode", 0) != 0) return refuse("the pool rounds its size up");
    const bool padded = std::any_of(pads.begin(), pads.end(), [](int64_t v) { return v != 0; });
    if (padded && n.attr_int("count_include_pad", 0) == 0)
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
  edit.at = root;
  edit.remove = {root, pad};
  edit.exclusive = {pad};
  std::vector<Attribute> attrs;
  for (const Attribute& a : n.attrs)
    if (a.name != "pads" && a.name != "auto_pad" && !(pool && a.name == "count_include_pad"))
      attrs.push_back(a);
  attrs.push_back(Attribute::of("pads", std::move(pads)));
  if (pool) attrs.push_back(Attribute::of("count_include_pad", int64_t{1}));
  std::vector<EditValue> inputs{p.input(0)};
  for (size_t i = 1; i < n.num_inputs(); ++i) inputs.emplace_back(n.input(i));
  edit.replace_output(n.output(0), edit.add(n.op, std::move(inputs), std::move(attrs)));
  edit.note = "padding by zeros";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_pad;
const Pass pass_fuse_pad = {
    .name = "fuse-pad",
    .summary = "puts a Pad by zeros into the Conv or AveragePool behind it",
    .doc =
        "Constant padding by zeros of the spatial axes, not negative, whose result nobody else "
        "reads, before Conv,\n"
        "ConvInteger without zero point or AveragePool with explicit pads. An AveragePool then "
        "counts its padding;\n"
        "it must not have padding of its own that it does not count, nor round its size up. "
        "MaxPool pads with minus\n"
        "infinity and is left alone.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
