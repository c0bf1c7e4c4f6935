// SPDX-License-Identifier: Apache-2.0
// convert-ort-conv
//
//     before: Conv(x, w) of one spatial dim
//     after:  Squeeze(Conv(Unsqueeze(x), w)) of two, the first of which is 1
//
// ONNX Runtime has its blocked kernels for two dims only. Measured: depthwise takes a third to a
// half of the time, others 0.6 to 0.95 of it where they are listed below, and more where not.
#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Conv", "FusedConv"};
const char* const kLater[] = {"Relu", "Sigmoid",           "Tanh", "LeakyRelu", "HardSigmoid",
                              "Clip", "BatchNormalization"};
constexpr int64_t kBlock = 16;  // channels
constexpr int64_t kShort = 16;  // results so few that a plain product of matrices is slow

// What reads the result goes into the convolution first.
bool grows(const PassContext& ctx, NodeId user) {
  if (!user.valid()) return false;
  const Node& n = ctx.node(user);
  if (std::any_of(std::begin(kLater), std::end(kLater), [&](auto* op) { return n.is(op); }))
    return true;
  if (!n.is("Add") && !n.is("Sub") && !n.is("Mul") && !n.is("Div")) return false;
  return ctx.model().constant(n.input(0)) || ctx.model().constant(n.input(1));
}

bool pays(const Dims& w, int64_t group, const Dim& length) {
  const int64_t out = w[0], in = w[1];
  if (in == 1 && out == group) return true;
  if (group > 1 && (in % kBlock != 0 || out / group % kBlock != 0)) return false;
  if (length.is_const() && length.value() <= kShort) return in < kBlock || in % 4 == 0;
  return in % kBlock == 0 && w[2] > 1;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const bool fused = n.is("com.microsoft", "FusedConv");
  if ((!fused && !ctx.is(root, "Conv")) || !ctx.available(n.graph, "com.microsoft", "FusedConv", 1))
    return NoMatch{};
  const Tensor* w = ctx.model().constant(n.input(1));
  const Shape* out = ctx.shape(n.output(0));
  if (!w || w->rank() != 3 || w->dtype() != DType::kFloat || !out || out->size() != 3)
    return NoMatch{};
  if (n.has_input(3)) return refuse("it adds another value");
  if (!fused && grows(ctx, ctx.sole_user(n.output(0))))
    return refuse("what reads the result goes into it first");
  if (!pays(w->dims(), std::max<int64_t>(n.attr_int("group", 1), 1), out->back()))
    return refuse("the kernels for one dim are as fast for it");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  std::vector<Attribute> attrs;
  for (const Attribute& a : n.attrs) {
    const bool spans = a.name == "kernel_shape" || a.name == "strides" || a.name == "dilations";
    const auto* v = n.attr_ints(a.name);
    if (spans && v && v->size() == 1)
      attrs.push_back(Attribute::of(a.name, std::vector<int64_t>{1, v->front()}));
    else if (a.name == "pads" && v && v->size() == 2)
      attrs.push_back(Attribute::of(a.name, std::vector<int64_t>{0, v->front(), 0, v->back()}));
    else
      attrs.push_back(a);
  }
  const Dims& d = w->dims();
  const EditValue axis = edit.constant(Tensor::ints({2}), "axis");
  const EditValue x = edit.add("Unsqueeze", {n.input(0), axis});
  std::vector<EditValue> inputs{
      x, edit.constant(w->reshaped({d[0], d[1], 1, d[2]}), ctx.model().value(n.input(1)).name)};
  if (n.has_input(2)) inputs.emplace_back(n.input(2));
  const EditValue y = edit.add(n.op, std::move(inputs), std::move(attrs), n.domain);
  edit.replace_output(n.output(0), edit.add("Squeeze", {y, axis}));
  return edit;
}

}  // namespace

extern const Pass pass_convert_ort_conv;
const Pass pass_convert_ort_conv = {
    .name = "convert-ort-conv",
    .summary = "gives a Conv of one spatial dim a second one of size 1",
    .doc =
        "For float and constant weights, where the blocked kernels for two dims are faster: "
        "depthwise, kernels of more than one\n"
        "on a multiple of 16 channels, and short results.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
