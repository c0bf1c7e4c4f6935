// SPDX-License-Identifier: Apache-2.0
// fuse-transpose-chain
//
//     before: x -> Transpose(1,2,0) -> Transpose(2,0,1)
//     after:  x
//
//     before: x -> Transpose -> Relu -> Transpose back
//     after:  x -> Relu
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Transpose"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Transpose")) return NoMatch{};
  const Axes outer = perm_of(ctx, root);
  if (outer.empty()) return NoMatch{};
  // Up through operators on single elements to the Transpose before.
  std::vector<NodeId> between;
  ValueId v = n.input(0);
  NodeId inner;
  for (int steps = 0; steps < 16; ++steps) {
    inner = ctx.producer(v, "Transpose");
    if (inner.valid()) break;
    const NodeId p = ctx.model().value(v).producer;
    if (!is_unary_elementwise(ctx, p)) break;
    between.push_back(p);
    v = ctx.node(p).input(0);
  }
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  if (inner.valid()) {
    const Axes first = perm_of(ctx, inner);
    if (first.size() != outer.size()) return NoMatch{};
    Axes both;
    for (int64_t p : outer) both.push_back(first[static_cast<size_t>(p)]);
    const bool cancels = keeps_order(both);
    EditValue x = ctx.node(inner).input(0);
    if (between.empty() && cancels) {
      edit.replace_output(n.output(0), x);
      edit.note = "the order comes back";
      return edit;
    }
    if (between.empty() || cancels) {
      edit.exclusive = between;
      if (between.empty()) {
        edit.exclusive.push_back(inner);
        edit.remove.push_back(inner);
      }
      for (auto b = between.rbegin(); b != between.rend(); ++b) {
        const Node& node = ctx.node(*b);
        std::vector<EditValue> inputs{x};
        for (size_t i = 1; i < node.num_inputs(); ++i) inputs.emplace_back(node.input(i));
        x = edit.add(node.op, inputs, node.attrs);
        edit.nodes.back().like = *b;
        edit.remove.push_back(*b);
      }
      if (!cancels) x = make_transpose(edit, x, both);
      edit.replace_output(n.output(0), x);
      edit.note = cancels ? "the order comes back" : "two transposes in a row";
      return edit;
    }
  }
  return NoMatch{};
}

}  // namespace

extern const Pass pass_fuse_transpose_chain;
const Pass pass_fuse_transpose_chain = {
    .name = "fuse-transpose-chain",
    .summary = "merges and cancels transposes, also around operators on single elements",
    .doc =
        "Two Transposes in a row become one or none; two that cancel around operators on single "
        "elements (Relu, Cast,\n"
        "Sigmoid...) whose values nobody else reads disappear.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
