// SPDX-License-Identifier: Apache-2.0
// fuse-uniform-scale: a convolution whose weight is one value everywhere takes one scale.
//
//     before: Conv(x, ConstantOfShape(w)) -> BatchNormalization with equal channels -> y
//     after:  Conv(x, ConstantOfShape(w * s), t) -> y
//
// The weight stays a shape and a value: nothing grows.
#include <algorithm>
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"BatchNormalization"};

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "BatchNormalization", 9) || n.num_inputs() != 5 ||
      n.attr_int("training_mode", 0) != 0)
    return NoMatch{};
  const NodeId conv = ctx.producer(n.input(0), "Conv");
  if (!conv.valid() || ctx.node(conv).has_input(2)) return NoMatch{};
  const Node& c = ctx.node(conv);
  const NodeId fill = ctx.producer(c.input(1), "ConstantOfShape");
  const auto dims = ctx.dims(c.input(1));
  if (!fill.valid() || !dims || dims->empty()) return NoMatch{};
  const Tensor* value = ctx.node(fill).attr_tensor("value");
  if (!value || value->dtype() != DType::kFloat) return NoMatch{};
  for (size_t i = 1; i < n.num_outputs(); ++i)
    if (n.has_output(i)) return refuse("statistics of the BatchNormalization are used");
  double p[4];
  for (size_t i = 0; i < 4; ++i) {
    std::optional<double> u = uniform(ctx, n.input(i + 1));
    const NodeId made = ctx.producer(n.input(i + 1), "ConstantOfShape");
    if (!u && made.valid() && ctx.node(made).attr_tensor("value"))
      u = uniform(ctx.node(made).attr_tensor("value")->to_aligned());
    if (!u) return refuse("the channels differ");
    p[i] = *u;
  }
  const double scale = p[0] / std::sqrt(p[3] + n.attr_float("epsilon", 1e-5f));
  const auto weight = static_cast<float>(value->to_aligned().f64_at(0) * scale);
  const auto shift = static_cast<float>(p[1] - p[2] * scale);
  if (!std::isfinite(weight) || !std::isfinite(shift))
    return refuse("a weight would leave the range of its type");
  Edit edit;
  edit.at = root;
  edit.remove = {root, conv};
  edit.exclusive = {conv};
  const EditValue w = edit.add("ConstantOfShape", {ctx.node(fill).input(0)},
                               {Attribute::of("value", Tensor::of<float>({1}, {weight}))});
  edit.nodes.back().like = fill;
  std::vector<EditValue> inputs{c.input(0), w};
  if (shift != 0) {
    const std::vector<float> bias(static_cast<size_t>((*dims)[0]), shift);
    inputs.push_back(edit.constant(Tensor::of<float>({(*dims)[0]}, std::span<const float>(bias)),
                                   m.value(c.input(1)).name + "_bias"));
  }
  const EditValue y = edit.add("Conv", std::move(inputs), c.attrs);
  edit.nodes.back().like = conv;
  edit.replace_output(n.output(0), y);
  edit.note = "one scale for one weight";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_uniform_scale;
const Pass pass_fuse_uniform_scale = {
    .name = "fuse-uniform-scale",
    .summary =
        "puts BatchNormalization with equal channels into a Conv whose weight is a ConstantOfShape",
    .doc =
        "For weights that are too large to be made a constant, as in models without their weights: "
        "the value of the\n"
        "ConstantOfShape is scaled.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
