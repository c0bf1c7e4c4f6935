// SPDX-License-Identifier: Apache-2.0
// fuse-stack-reduce
//
//     before: ReduceMean(Concat(Unsqueeze(a), Unsqueeze(b), ...)) over the axis of the Concat
//     after:  Mean(a, b, ...)
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  const NodeId concat = ctx.producer(n.input(0), "Concat", 4);
  const Shape *stack = ctx.shape(n.input(0)), *out = ctx.shape(n.output(0));
  if (!concat.valid() || !stack || !out) return NoMatch{};
  // ONNX Runtime has no other type for all of them.
  if (ctx.type(n.output(0)).dtype != DType::kFloat) return NoMatch{};
  const Node& c = ctx.node(concat);
  const auto rank = static_cast<int64_t>(stack->size());
  int64_t axis = c.attr_int("axis", 0);
  if (axis < 0) axis += rank;
  if (axes_of(ctx, root, rank) != Axes{axis}) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root, concat};
  edit.exclusive = {concat};
  std::vector<EditValue> inputs;
  for (size_t i = 0; i < c.num_inputs(); ++i) {
    const ValueId v = c.input(i);
    const Shape* s = ctx.shape(v);
    if (!s || !(*s)[static_cast<size_t>(axis)].is_const(1))
      return refuse("a part of the stack is not one layer");
    if (same_shape(s, out)) {
      inputs.emplace_back(v);
      continue;
    }
    NodeId p = ctx.producer(v, "Unsqueeze");
    if (!p.valid()) p = ctx.producer(v, "Reshape", 5);
    if (!p.valid() || !same_shape(ctx.shape(ctx.node(p).input(0)), out))
      return refuse("a layer does not have the shape of the result before it");
    edit.remove.push_back(p);
    inputs.emplace_back(ctx.node(p).input(0));
  }
  const std::string op(n.op.view().substr(6));
  edit.replace_output(n.output(0), edit.add(Sym(op), std::move(inputs)));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_stack_reduce;
const Pass pass_fuse_stack_reduce = {
    .name = "fuse-stack-reduce",
    .summary = "makes Mean, Sum, Max or Min of values that were put on one another to be reduced",
    .doc =
        "For float, where each part of the Concat is one layer that was made by Unsqueeze or "
        "Reshape, and only that axis is\n"
        "reduced. Bagged models are such.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
