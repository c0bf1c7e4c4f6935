// SPDX-License-Identifier: Apache-2.0
// fuse-group-norm
//
//     before: x: [N,C,H,W] -> Reshape([0,G,-1]) -> InstanceNormalization -> Reshape back -> y
//     after:  GroupNormalization(x; G groups)
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Reshape"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const NodeId norm = ctx.producer(n.input(0), "InstanceNormalization", 6);
  if (!norm.valid() || !ctx.is(root, "Reshape", 5) ||
      !ctx.available(n.graph, {}, "GroupNormalization", 21))
    return NoMatch{};
  const Node& p = ctx.node(norm);
  const NodeId split = ctx.producer(p.input(0), "Reshape", 5);
  if (!split.valid()) return NoMatch{};
  const ValueId x = ctx.node(split).input(0);
  const Shape* from = ctx.shape(x);
  const Shape* grouped = ctx.shape(p.input(0));
  if (!from || !grouped || from->size() < 3 || grouped->size() < 3) return NoMatch{};
  if (!same_shape(from, ctx.shape(n.output(0)))) return refuse("the shape does not come back");
  if (!((*from)[0] == (*grouped)[0])) return refuse("the batch is split");
  const Dim channels = (*from)[1], groups = (*grouped)[1];
  if (!channels.is_const() || !groups.is_const() || groups.value() < 1 ||
      channels.value() % groups.value() != 0)
    return refuse("the channels are not split into groups");
  const Tensor scale = ctx.constant(p.input(1)), bias = ctx.constant(p.input(2));
  if (!scale.defined() || !bias.defined() || scale.size() != groups.value() ||
      bias.size() != groups.value())
    return refuse("scale and bias are no constants");
  Edit edit;
  edit.at = root;
  edit.remove = {root, norm, split};
  edit.exclusive = {norm, split};
  std::vector<EditValue> inputs{x};
  const int64_t each = channels.value() / groups.value();
  for (size_t i : {1U, 2U}) {
    const std::vector<double> of = (i == 1 ? scale : bias).to_f64();
    std::vector<double> v;
    for (int64_t c = 0; c < channels.value(); ++c) v.push_back(of[static_cast<size_t>(c / each)]);
    auto t = Tensor::from_f64(scale.dtype(), {channels.value()}, v);
    if (!t.ok()) return refuse(t.error().text());
    inputs.push_back(edit.constant(std::move(*t), ctx.model().value(p.input(i)).name));
  }
  std::vector<Attribute> attrs{Attribute::of("num_groups", groups.value())};
  attrs.push_back(Attribute::of("epsilon", p.attr_float("epsilon", 1e-5F)));
  edit.replace_output(n.output(0), edit.add("GroupNormalization", std::move(inputs), attrs));
  edit.nodes.back().like = norm;
  edit.note = "groups by reshapes";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_group_norm;
const Pass pass_fuse_group_norm = {
    .name = "fuse-group-norm",
    .summary = "makes GroupNormalization of an InstanceNormalization between reshapes",
    .doc =
        "From opset 21 on. The first Reshape splits the channels into groups and keeps the batch, "
        "the second one gives\n"
        "the shape back, and scale and bias are constants. What scales and shifts behind it goes "
        "in by fuse-norm-affine.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
