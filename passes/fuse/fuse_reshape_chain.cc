// SPDX-License-Identifier: Apache-2.0
// fuse-reshape-chain: of several reshapes in a row, one does it.
//
//     before: x: float[4,6] -> Unsqueeze(1) -> Reshape([2,12]) -> y
//     after:  x -> Reshape([2,12]) -> y
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};

bool is_view(const PassContext& ctx, NodeId n) {
  for (const char* op : kRoots)
    if (ctx.is(n, op)) return ctx.node(n).has_input(0);
  return false;
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
        "fold-target-shape).",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
