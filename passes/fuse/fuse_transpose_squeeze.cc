// SPDX-License-Identifier: Apache-2.0
// fuse-transpose-squeeze: a Transpose goes behind a Squeeze, Unsqueeze or Gather where another one
// waits.
//
//     before: Transpose(Unsqueeze(Transpose(x)))
//     after:  Transpose(Transpose(Unsqueeze(x))), which fuse-transpose-chain makes one
#include <algorithm>

#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Squeeze", "Unsqueeze", "Gather"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const bool adds = n.is("Unsqueeze");
  if (!ctx.is(root, n.op.view())) return NoMatch{};
  const NodeId inner = ctx.producer(n.input(0), "Transpose");
  if (!inner.valid()) return NoMatch{};
  const Axes perm = perm_of(ctx, inner);
  const Shape* to = ctx.shape(n.output(0));
  if (perm.empty() || !to) return NoMatch{};
  const auto rank = static_cast<int64_t>(perm.size());
  const bool gather = n.is("Gather");
  const Shape* index = gather ? ctx.shape(n.input(1)) : nullptr;
  if (gather && (!index || index->size() > 1)) return NoMatch{};
  const bool stays = gather && index->size() == 1;  // the axis of a Gather
  const auto axes = gather ? normalized({n.attr_int("axis", 0)}, rank)
                           : axes_of(ctx, root, adds ? static_cast<int64_t>(to->size()) : rank);
  if (!axes) return refuse("the axes are not known");
  Axes before, order;  // axes on what is not transposed, and the Transpose behind
  if (adds) {          // new axes in front
    const auto more = static_cast<int64_t>(axes->size());
    for (int64_t a = 0; a < more; ++a) before.push_back(a);
    int64_t added = 0, old = 0;
    for (int64_t a = 0; a < static_cast<int64_t>(to->size()); ++a)
      order.push_back(contains(*axes, a) ? added++ : perm[static_cast<size_t>(old++)] + more);
  } else {
    for (int64_t a : *axes) before.push_back(perm[static_cast<size_t>(a)]);
    std::sort(before.begin(), before.end());
    const Axes stay = others(stays ? Axes() : before, rank);
    for (int64_t a : others(stays ? Axes() : *axes, rank))
      order.push_back(std::lower_bound(stay.begin(), stay.end(), perm[static_cast<size_t>(a)]) -
                      stay.begin());
  }
  const Use* user = ctx.model().sole_use(n.output(0));
  if (!keeps_order(order) && !(user && ctx.is(user->node, "Transpose"))) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.exclusive = {inner};
  edit.remove = {root, inner};
  const ValueId x = ctx.node(inner).input(0);
  EditValue y = gather ? edit.add(n.op, {x, n.input(1)}, {Attribute::of("axis", before.front())})
                       : edit.add(n.op, {x, edit.constant(Tensor::ints(before), "axes")});
  edit.nodes.back().like = root;
  if (!keeps_order(order)) {
    y = make_transpose(edit, y, std::move(order));
    edit.nodes.back().like = inner;
  }
  edit.replace_output(n.output(0), y);
  edit.note = "transposed behind it";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_transpose_squeeze;
const Pass pass_fuse_transpose_squeeze = {
    .name = "fuse-transpose-squeeze",
    .summary = "puts a Transpose behind a Squeeze, Unsqueeze or Gather where it meets another one",
    .doc =
        "A Transpose that only a Squeeze or Unsqueeze of known axes or a Gather of one element or "
        "a "
        "list reads, whose result\n"
        "only a Transpose reads, or which leaves nothing to transpose.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
