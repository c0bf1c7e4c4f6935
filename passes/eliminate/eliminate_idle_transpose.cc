// SPDX-License-Identifier: Apache-2.0
// eliminate-idle-transpose: a Transpose that only moves dims of size 1 becomes a Reshape.
//
//     before: x[2,1,3] -> Transpose(1,0,2) -> y
//     after:  x -> Reshape([1,2,3]) -> y
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Transpose"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Transpose")) return NoMatch{};
  const Axes perm = perm_of(ctx, root);
  const Shape *from = ctx.shape(n.input(0)), *to = ctx.shape(n.output(0));
  if (!from || !to || perm.empty() || from->size() != perm.size() || keeps_order(perm) ||
      !moves_only_ones(perm, *from))
    return NoMatch{};
  const auto spec = reshape_spec(*from, *to);
  if (!spec || !ctx.available(n.graph, {}, "Reshape", 5)) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  const EditValue shape =
      edit.constant(Tensor::ints(*spec), ctx.model().value(n.output(0)).name + "_shape");
  edit.replace_output(n.output(0), edit.add("Reshape", {n.input(0), shape}));
  edit.note = "moves only dims of size 1";
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_idle_transpose;
const Pass pass_eliminate_idle_transpose = {
    .name = "eliminate-idle-transpose",
    .summary = "makes a Reshape of a Transpose that moves nothing",
    .doc =
        "Only dims of size 1 move, so that all elements stay where they are. Tried last: other "
        "passes cancel Transposes, and\n"
        "put them into products and reductions.",
    .roots = kRoots,
    .match = match,
    .last = true,
    .level = 1,
};

}  // namespace onnxtool
