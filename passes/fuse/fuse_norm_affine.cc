// SPDX-License-Identifier: Apache-2.0
// fuse-norm-affine: a normalization scales and shifts its channels anyway.
//
//     before: BatchNormalization(x, s, b, m, v) -> Mul(k[C,1,1]) -> y
//     after:  BatchNormalization(x, s * k, b * k, m, v) -> y
#include "passes/affine.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Mul", "Div", "Add", "Sub"};

// Axis of the channels that scale and bias are for; -1: it has none.
int64_t channel_axis(const PassContext& ctx, NodeId id, int64_t rank) {
  const Node& n = ctx.node(id);
  if (ctx.is(id, "BatchNormalization", 9))
    return n.num_inputs() == 5 && n.attr_int("training_mode", 0) == 0 ? 1 : -1;
  if (ctx.is(id, "InstanceNormalization", 6) || ctx.is(id, "GroupNormalization", 21)) return 1;
  if (ctx.is(id, "LayerNormalization") || ctx.is(id, "RMSNormalization") ||
      ctx.is(id, "SimplifiedLayerNormalization")) {
    const int64_t axis = n.attr_int("axis", -1);
    return axis == -1 || axis == rank - 1 ? rank - 1 : -1;
  }
  return -1;
}

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7 || n.num_inputs() != 2) return NoMatch{};
  NodeId norm;
  int64_t axis = -1, rank = 0;
  size_t side = 0;
  for (; side < 2 && axis < 0; ++side) {
    if (m.value(n.input(side)).kind != ValueKind::kOutput) continue;
    const Shape* s = ctx.shape(n.input(side));
    norm = m.value(n.input(side)).producer;
    rank = s ? static_cast<int64_t>(s->size()) : 0;
    if (rank > 1) axis = channel_axis(ctx, norm, rank);
  }
  if (axis < 0 || !ctx.constant(n.input(2 - side)).defined()) return NoMatch{};
  const Node& p = ctx.node(norm);
  for (size_t i = 1; i < p.num_outputs(); ++i)
    if (p.has_output(i)) return refuse("its statistics are used");
  const Tensor scale = ctx.constant(p.input(1));
  const Tensor bias = p.has_input(2) ? ctx.constant(p.input(2)) : Tensor();
  if (!scale.defined() || scale.rank() != 1 || !is_float_type(scale.dtype()))
    return refuse("the scale is no constant");
  if (p.has_input(2) && (!bias.defined() || bias.rank() != 1 || bias.size() != scale.size()))
    return refuse("the bias is no constant");
  const auto a = affine_of(ctx, root, rank, axis, scale.size());
  if (!a) return refuse("the other operand does not vary along the channels only");
  if (!a->shift.empty() && (p.is("RMSNormalization") || p.is("SimplifiedLayerNormalization")))
    return refuse("it has no bias");
  std::vector<double> s = scale.to_f64();
  std::vector<double> b = bias.defined() ? bias.to_f64() : std::vector<double>(s.size(), 0.0);
  for (size_t i = 0; i < s.size(); ++i) {
    if (!a->scale.empty()) {
      s[i] *= a->scale[i];
      b[i] *= a->scale[i];
    }
    if (!a->shift.empty()) b[i] += a->shift[i];
  }
  Edit edit;
  edit.remove = {root};
  edit.exclusive = {norm};
  if (!a->scale.empty()) {
    auto t = new_weight(scale.dtype(), scale.dims(), s);
    if (!t.ok()) return refuse(t.error().text());
    edit.set_input(norm, 1, edit.constant(std::move(*t), m.value(p.input(1)).name));
  }
  if (bias.defined() || !a->shift.empty()) {
    auto t = new_weight(scale.dtype(), scale.dims(), b);
    if (!t.ok()) return refuse(t.error().text());
    edit.set_input(
        norm, 2,
        edit.constant(std::move(*t), bias.defined() ? m.value(p.input(2)).name
                                                    : m.value(p.input(1)).name + "_bias"));
  }
  edit.replace_output(n.output(0), p.output(0));
  edit.note = "into " + m.describe(norm);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_norm_affine;
const Pass pass_fuse_norm_affine = {
    .name = "fuse-norm-affine",
    .summary = "puts scales and shifts of channels into the normalization before them",
    .doc =
        "BatchNormalization (not training), InstanceNormalization, GroupNormalization, "
        "LayerNormalization and\n"
        "RMSNormalization of the last axis, with constant scale and bias, whose result only a Mul, "
        "Div, Add or Sub by a\n"
        "constant for each channel reads.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
