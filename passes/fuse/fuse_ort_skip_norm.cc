// SPDX-License-Identifier: Apache-2.0
// fuse-ort-skip-norm
//
//     before: LayerNormalization(x + skip), RMSNormalization(x + skip)
//     after:  com.microsoft.SkipLayerNormalization(x, skip), SkipSimplifiedLayerNormalization
//
// The sum itself is an output of these, for who reads it as well.
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"LayerNormalization", "RMSNormalization",
                              "SimplifiedLayerNormalization"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (n.version == 0 || !ctx.available(n.graph, "com.microsoft", "SkipLayerNormalization", 1))
    return NoMatch{};
  const bool center = n.is("LayerNormalization");
  const NodeId add = ctx.producer(n.input(0), "Add", 7);
  if (!add.valid() || ctx.type(n.output(0)).dtype != DType::kFloat) return NoMatch{};
  const Node& a = ctx.node(add);
  const Shape* sum = ctx.shape(a.output(0));
  if (!sum || sum->size() != 3) return refuse("the sum has not three dims");
  const int64_t axis = n.attr_int("axis", -1);
  if (axis != -1 && axis != 2) return refuse("it is not over the last axis");
  if (n.has_output(1) || n.has_output(2)) return refuse("statistics are read");
  for (size_t i = 1; i < n.num_inputs(); ++i) {
    const Shape* s = ctx.shape(n.input(i));
    if (n.has_input(i) && (!s || s->size() != 1 || (*s)[0] != sum->back()))
      return refuse("scale or bias is no row");
  }
  if (!same_shape(ctx.shape(a.input(0)), sum) || !same_shape(ctx.shape(a.input(1)), sum))
    return refuse("the addition broadcasts");
  if (a.graph != n.graph) return NoMatch{};
  std::vector<EditValue> inputs{a.input(0), a.input(1), n.input(1)};
  if (center && n.has_input(2)) inputs.emplace_back(n.input(2));
  Edit edit;
  edit.at = root;
  edit.remove = {root, add};
  const bool others = !ctx.model().sole_use(a.output(0));
  if (others && ctx.model().value(a.output(0)).graph_output)
    return refuse("the sum is a graph output");
  EditValue y = edit.add(
      center ? "SkipLayerNormalization" : "SkipSimplifiedLayerNormalization", std::move(inputs),
      {Attribute::of("epsilon", n.attr_float("epsilon", 1e-5F))}, "com.microsoft");
  edit.nodes.back().num_outputs = others ? 4 : 1;
  edit.replace_output(n.output(0), y);
  if (others) {
    y.output = 3;
    edit.replace_output(a.output(0), y);
    edit.at = add;
  }
  return edit;
}

}  // namespace

extern const Pass pass_fuse_ort_skip_norm;
const Pass pass_fuse_ort_skip_norm = {
    .name = "fuse-ort-skip-norm",
    .summary = "puts the addition before a LayerNormalization or RMSNormalization into it",
    .doc =
        "For float values of three dims of one shape. Who else reads the sum gets it from the new "
        "operator.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
