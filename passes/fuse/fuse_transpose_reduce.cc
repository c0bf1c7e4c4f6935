// SPDX-License-Identifier: Apache-2.0
// fuse-transpose-reduce: what is reduced is transposed afterwards, if at all.
//
//     before: ReduceMean(Transpose(x; 0, 2, 3, 1); axes 1, 2)
//     after:  Transpose(ReduceMean(x; axes 2, 3); 0, 2, 3, 1)
#include <algorithm>

#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"ReduceSum",       "ReduceMean", "ReduceMax", "ReduceMin",
                              "ReduceProd",      "ReduceL1",   "ReduceL2",  "ReduceLogSumExp",
                              "ReduceSumSquare", "ArgMax",     "ArgMin"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  const NodeId inner = ctx.producer(n.input(0), "Transpose");
  if (!inner.valid()) return NoMatch{};
  const Axes perm = perm_of(ctx, inner);
  const auto rank = static_cast<int64_t>(perm.size());
  const auto axes = rank > 0 ? axes_of(ctx, root, rank) : std::nullopt;
  if (!axes) return refuse("the axes are not known");
  Axes before;
  for (int64_t a : *axes) before.push_back(perm[static_cast<size_t>(a)]);
  std::sort(before.begin(), before.end());
  Edit edit;
  edit.at = root;
  edit.exclusive = {inner};
  edit.remove = {root, inner};
  EditValue y = make_reduction(edit, ctx, root, ctx.node(inner).input(0), before);
  // The order of what is left.
  Axes left = perm;
  if (n.attr_int("keepdims", 1) == 0) {
    left.clear();
    const Axes stay = others(before, rank);
    for (int64_t a : others(*axes, rank))
      left.push_back(std::lower_bound(stay.begin(), stay.end(), perm[static_cast<size_t>(a)]) -
                     stay.begin());
  }
  if (!keeps_order(left)) y = make_transpose(edit, y, left);
  edit.replace_output(n.output(0), y);
  edit.note = "reduced before it is transposed";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_transpose_reduce;
const Pass pass_fuse_transpose_reduce = {
    .name = "fuse-transpose-reduce",
    .summary = "does reductions, ArgMax and ArgMin before a Transpose",
    .doc =
        "Over known axes; nobody else reads what is transposed. What is left to transpose is less, "
        "and often nothing.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
