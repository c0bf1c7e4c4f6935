// SPDX-License-Identifier: Apache-2.0
// fuse-ort-skip-norm
//
//     before: LayerNormalization(x + skip), RMSNormalization(x + skip)
//     after:  com.microsoft.SkipLayerNormalization(x, skip), SkipSimplifiedLayerNormalization
//
// They can give the sum as well, but are then slower than the two operators they replace (measured
// on CPU): it stays where others read it.
#include "passes/ort.h"
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
  if (!add.valid() || !ort_computes(ctx.type(n.output(0)).dtype)) return NoMatch{};
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
  edit.exclusive = {add};
  EditValue y = edit.add(
      center ? "SkipLayerNormalization" : "SkipSimplifiedLayerNormalization", std::move(inputs),
      {Attribute::of("epsilon", n.attr_float("epsilon", 1e-5F))}, "com.microsoft");
  edit.replace_output(n.output(0), y);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_ort_skip_norm;
const Pass pass_fuse_ort_skip_norm = {
    .name = "fuse-ort-skip-norm",
    .summary = "puts the addition before a LayerNormalization or RMSNormalization into it",
    .doc = "For float and half values of three dims of one shape, where nobody else reads the sum.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
