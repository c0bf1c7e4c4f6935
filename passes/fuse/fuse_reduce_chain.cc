// SPDX-License-Identifier: Apache-2.0
// fuse-reduce-chain
//
//     before: ReduceMean(ReduceMean(x; axis 2); axis 1)
//     after:  ReduceMean(x; axes 1, 2)
#include <algorithm>

#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  const NodeId inner = ctx.producer(n.input(0), n.op.view());
  if (!inner.valid()) return NoMatch{};
  const ValueId x = ctx.node(inner).input(0);
  const Shape *from = ctx.shape(x), *middle = ctx.shape(n.input(0));
  if (!from || !middle) return NoMatch{};
  const auto rank = static_cast<int64_t>(from->size());
  const auto first = axes_of(ctx, inner, rank);
  const auto second = axes_of(ctx, root, static_cast<int64_t>(middle->size()));
  if (!first || !second) return refuse("the axes are not known");
  const int64_t keep = n.attr_int("keepdims", 1);
  if (ctx.node(inner).attr_int("keepdims", 1) != keep)
    return refuse("one keeps its axes, the other does not");
  if (n.is("ReduceMean") && !is_float_type(ctx.type(x).dtype))
    return refuse("each mean of integers is rounded");
  const Axes left = others(*first, rank);
  Axes all = *first;
  for (int64_t a : *second) {
    const int64_t axis = keep ? a : left[static_cast<size_t>(a)];
    if (!contains(all, axis)) all.push_back(axis);
  }
  std::sort(all.begin(), all.end());
  Edit edit;
  edit.at = root;
  edit.exclusive = {inner};
  edit.remove = {root, inner};
  edit.replace_output(n.output(0), make_reduction(edit, ctx, root, x, std::move(all)));
  edit.note = "two reductions in a row";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_reduce_chain;
const Pass pass_fuse_reduce_chain = {
    .name = "fuse-reduce-chain",
    .summary = "makes one reduction of two of a kind in a row",
    .doc =
        "ReduceSum, ReduceMean (not of integers), ReduceMax, ReduceMin and ReduceProd over known "
        "axes, both keeping them\n"
        "or both not, where nobody else reads what is between.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
