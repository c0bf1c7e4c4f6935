// SPDX-License-Identifier: Apache-2.0
// fuse-swish
//
//     before: x * Sigmoid(x)       x * Sigmoid(1.702 * x)
//     after:  Swish(x)             Swish(x; alpha 1.702)
#include "passes/gelu.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Mul"};

Match match(const PassContext& ctx, NodeId root) {
  if (!ctx.is(root, "Mul", 7) || !ctx.available(ctx.node(root).graph, {}, "Swish", 24))
    return NoMatch{};
  return match_swish(ctx, root, false);
}

}  // namespace

Match match_swish(const PassContext& ctx, NodeId root, bool foreign) {
  const Node& n = ctx.node(root);
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = n.input(1 - i);
    const NodeId gate = ctx.producer(n.input(i), "Sigmoid", 6);
    if (!gate.valid()) continue;
    Edit edit;
    edit.at = root;
    edit.exclusive = {gate};
    double alpha = 1;
    const ValueId inner = ctx.node(gate).input(0);
    if (inner != x) {
      const NodeId scale = ctx.producer(inner, "Mul", 7);
      const auto c = with_number(ctx, scale);
      if (!scale.valid() || !c || c->x != x) continue;
      alpha = c->number;
      edit.exclusive.push_back(scale);
    }
    if (!same_type_and_shape(ctx, x, n.output(0))) return refuse("the shapes differ");
    edit.remove = edit.exclusive;
    edit.remove.push_back(root);
    std::vector<Attribute> attrs;  // 1 is the default of Swish only
    if (foreign || inner != x) attrs.push_back(Attribute::of("alpha", static_cast<float>(alpha)));
    edit.replace_output(n.output(0), edit.add(foreign ? "QuickGelu" : "Swish", {x},
                                              std::move(attrs), foreign ? "com.microsoft" : ""));
    return edit;
  }
  return NoMatch{};
}

extern const Pass pass_fuse_swish;
const Pass pass_fuse_swish = {
    .name = "fuse-swish",
    .summary = "makes Swish of a product with its own Sigmoid",
    .doc = "From opset 24 on, with or without a number before the Sigmoid.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
