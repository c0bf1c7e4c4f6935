// SPDX-License-Identifier: Apache-2.0
// fuse-gather-unsqueeze: one element taken, and its axis put back.
//
//     before: Gather(x, 2, axis 1): [a,c] -> Unsqueeze(1): [a,1,c] -> y
//     after:  Gather(x, [2], axis 1) -> y
#include "libonnxtool/base/str.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Unsqueeze", "Reshape"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  const NodeId inner = ctx.producer(n.input(0), "Gather");
  if (!inner.valid()) return NoMatch{};
  const Node& g = ctx.node(inner);
  const Shape* x = ctx.shape(g.input(0));
  const Shape* index = ctx.shape(g.input(1));
  const Shape* to = ctx.shape(n.output(0));
  if (!x || !index || !to || !index->empty()) return NoMatch{};
  const Tensor at = ctx.constant(g.input(1));
  if (!at.defined() || at.size() != 1) return refuse("the index is no constant");
  const auto rank = static_cast<int64_t>(x->size());
  int64_t axis = g.attr_int("axis", 0);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return NoMatch{};
  Shape want = *x;
  want[static_cast<size_t>(axis)] = Dim(1);
  if (!same_shape(&want, to)) return refuse("another axis is put in");
  if (!ctx.model().sole_use(n.input(0)))
    return refuse(format("{} has other users", ctx.model().describe(n.input(0))));
  Edit edit;
  edit.at = root;
  edit.remove = {root, inner};
  edit.exclusive = {inner};
  const EditValue indices = edit.constant(at.reshaped({1}), ctx.model().value(g.input(1)).name);
  edit.replace_output(n.output(0), edit.add("Gather", {g.input(0), indices}, g.attrs));
  edit.nodes.back().like = inner;
  edit.note = "the axis is kept";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_gather_unsqueeze;
const Pass pass_fuse_gather_unsqueeze = {
    .name = "fuse-gather-unsqueeze",
    .summary = "lets a Gather of one element keep its axis, in place of an Unsqueeze behind it",
    .doc =
        "The index is a constant without dims, the Unsqueeze or Reshape puts the axis back where "
        "it was, and nobody else\n"
        "reads the element.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
