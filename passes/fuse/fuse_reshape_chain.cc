// SPDX-License-Identifier: Apache-2.0
// fuse-reshape-chain: of several reshapes in a row, one does it.
//
//     before: x: float[4,6] -> Unsqueeze(1) -> Reshape([2,12]) -> y
//     after:  x -> Reshape([2,12]) -> y
#include <algorithm>

#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};

bool is_view(const PassContext& ctx, NodeId n) {
  for (const char* op : kRoots)
    if (ctx.is(n, op)) return ctx.node(n).has_input(0);
  return false;
}

// Axes of one Squeeze or Unsqueeze that does what two of the kind in a row do.
std::optional<Axes> both_axes(const PassContext& ctx, NodeId inner, NodeId root) {
  const bool adds = ctx.is(root, "Unsqueeze");
  if (!ctx.is(inner, ctx.node(root).op.view()) || !(adds || ctx.is(root, "Squeeze")))
    return std::nullopt;
  const Shape* middle = ctx.shape(ctx.node(root).input(0));
  const Shape* outer = ctx.shape(adds ? ctx.node(root).output(0) : ctx.node(inner).input(0));
  if (!middle || !outer) return std::nullopt;
  const auto rank = static_cast<int64_t>(outer->size()),
             between = static_cast<int64_t>(middle->size());
  const auto first = axes_of(ctx, inner, adds ? between : rank);
  const auto second = axes_of(ctx, root, adds ? rank : between);
  if (!first || !second) return std::nullopt;
  // Those of the narrower side, told in dims of the wider one.
  Axes all = adds ? *second : *first;
  const Axes stay = others(all, rank);
  for (int64_t a : adds ? *first : *second) all.push_back(stay[static_cast<size_t>(a)]);
  std::sort(all.begin(), all.end());
  return all;
}

// All who read v are of this kind.
bool only_read_by(const PassContext& ctx, ValueId v, std::string_view op) {
  bool all = !ctx.model().value(v).graph_output;
  ctx.model().for_each_use(v, [&](Use u) { all = all && ctx.is(u.node, op); });
  return all;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!is_view(ctx, root)) return NoMatch{};
  const NodeId inner = ctx.model().value(n.input(0)).producer;
  if (!inner.valid() || !is_view(ctx, inner)) return NoMatch{};
  const ValueId source = ctx.node(inner).input(0);
  const Shape* from = ctx.shape(source);
  const Shape* to = ctx.shape(n.output(0));
  if (!from || !to) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  if (same_type_and_shape(ctx, source, n.output(0))) {
    edit.replace_output(n.output(0), source);
    edit.note = "the shape comes back";
    return edit;
  }
  const auto spec = reshape_spec(*from, *to);
  const bool shared = !ctx.model().sole_use(n.input(0));
  if (const auto axes = !spec || shared ? both_axes(ctx, inner, root) : std::nullopt;
      axes && (!shared || only_read_by(ctx, n.input(0), n.op.view()))) {
    edit.replace_output(n.output(0),
                        edit.add(n.op, {source, edit.constant(Tensor::ints(*axes), "axes")}));
    edit.note = "two of a kind in a row";
    return edit;
  }
  if (!spec) return refuse("no constant shape says the same for all sizes");
  edit.remove.push_back(inner);
  edit.exclusive = {inner};
  const EditValue shape =
      edit.constant(Tensor::ints(*spec), ctx.model().value(n.output(0)).name + "_shape");
  edit.replace_output(n.output(0), edit.add("Reshape", {source, shape}));
  edit.note = "two reshapes in a row";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_reshape_chain;
const Pass pass_fuse_reshape_chain = {
    .name = "fuse-reshape-chain",
    .summary = "makes one Reshape of several Reshape, Flatten, Squeeze and Unsqueeze in a row",
    .doc =
        "The values between have no other users, and the shape can be said by a constant (see "
        "fold-target-shape); or both are\n"
        "Squeeze, or both Unsqueeze, and all that read the value between are.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
