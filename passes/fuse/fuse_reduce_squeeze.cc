// SPDX-License-Identifier: Apache-2.0
// fuse-reduce-squeeze: a reduction keeps its axes, or does not, as what comes behind wants it.
//
//     before: Squeeze(ReduceMean(x; axes 2, keepdims 1); axes 2)
//     after:  ReduceMean(x; axes 2, keepdims 0)
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Squeeze", "Unsqueeze", "Reshape", "Flatten"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0 ||
      ctx.model().value(n.input(0)).kind != ValueKind::kOutput)
    return NoMatch{};
  const NodeId inner = ctx.model().value(n.input(0)).producer;
  const Node& r = ctx.node(inner);
  if (!r.domain.view().empty() || r.version == 0 ||
      !(r.op.view().starts_with("Reduce") || r.is("ArgMax") || r.is("ArgMin")))
    return NoMatch{};
  const Shape *from = ctx.shape(r.input(0)), *to = ctx.shape(n.output(0));
  if (!from || !to) return NoMatch{};
  const auto rank = static_cast<int64_t>(from->size());
  const auto axes = axes_of(ctx, inner, rank);
  if (!axes) return refuse("the axes are not known");
  const int64_t keep = r.attr_int("keepdims", 1) == 0;
  Shape wanted;
  for (int64_t a = 0; a < rank; ++a) {
    if (!contains(*axes, a))
      wanted.push_back((*from)[static_cast<size_t>(a)]);
    else if (keep)
      wanted.emplace_back(1);
  }
  if (!same_shape(&wanted, to)) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.exclusive = {inner};
  edit.remove = {root, inner};
  edit.replace_output(n.output(0), make_reduction(edit, ctx, inner, r.input(0), *axes, keep));
  edit.note = keep ? "the axes are kept" : "the axes are not kept";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_reduce_squeeze;
const Pass pass_fuse_reduce_squeeze = {
    .name = "fuse-reduce-squeeze",
    .summary = "lets a reduction keep its axes or drop them, in place of a reshape behind it",
    .doc =
        "Reductions, ArgMax and ArgMin over known axes, and a Squeeze, Unsqueeze, Reshape or "
        "Flatten that drops all of these\n"
        "axes or puts them back, where nobody else reads what is between.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
