// SPDX-License-Identifier: Apache-2.0
// eliminate-constant-if: an If whose condition is known becomes its branch.
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"If"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || !n.has_input(0)) return NoMatch{};
  Tensor cond = ctx.constant(n.input(0));
  if (!cond.defined())
    if (const Tensor* known = ctx.inference().constant(n.input(0))) cond = *known;
  if (!cond.defined() || cond.dtype() != DType::kBool || cond.size() != 1) return NoMatch{};
  const GraphId body = n.attr_graph(cond.i64_at(0) != 0 ? "then_branch" : "else_branch");
  if (!body.valid() || ctx.model().graph(body).removed || ctx.model().graph(body).owner != root)
    return NoMatch{};
  const Graph& g = ctx.model().graph(body);
  if (!g.inputs.empty()) return refuse("the branch has inputs");
  if (g.outputs.size() < n.num_outputs()) return NoMatch{};
  for (ValueId o : g.outputs)
    if (!o.valid() || ctx.model().value(o).kind == ValueKind::kUndefined) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.inline_body = body;
  edit.note = cond.i64_at(0) != 0 ? "the condition is true" : "the condition is false";
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_constant_if;
const Pass pass_eliminate_constant_if = {
    .name = "eliminate-constant-if",
    .summary = "puts the branch of an If whose condition is known in its place",
    .doc =
        "The nodes of the branch that is taken move to the graph of the If; the other branch is "
        "removed.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
