// SPDX-License-Identifier: Apache-2.0
// fuse-conv-affine: what scales and shifts the channels of a convolution goes into its weights.
//
//     before: Conv(x, W, b) -> BatchNormalization, Mul or Div by s[C,1,1], Add or Sub of t[C,1,1]
//     after:  Conv(x, W * s, b * s + t)
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "passes/affine.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"BatchNormalization", "Mul", "Div", "Add", "Sub"};

// The weight times the scale of the output channel that each element makes.
Result<Tensor> scaled(const Tensor& w, const std::vector<double>& scale, bool transposed,
                      int64_t groups) {
  int64_t inner = 1;
  for (size_t i = transposed ? 2 : 1; i < w.dims().size(); ++i) inner *= w.dims()[i];
  if (!transposed) return scaled_weight(w, scale, inner);
  const int64_t rows = w.dims()[0] / groups, columns = w.dims()[1];  // of the inputs of a group
  std::vector<double> factors;
  for (int64_t b = 0; b < w.dims()[0] * columns; ++b)
    factors.push_back(scale[static_cast<size_t>(b / columns / rows * columns + b % columns)]);
  return scaled_weight(w, factors, inner);
}

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  const bool bn = n.is("BatchNormalization");
  if (!n.domain.view().empty() || n.version < (bn ? 9 : 7) || n.attr("axis") || n.attr("broadcast"))
    return NoMatch{};
  size_t side = 0;
  NodeId conv;
  for (; side < (bn ? 1U : 2U); ++side) {
    conv = ctx.producer(n.input(side), "Conv");
    if (!conv.valid()) conv = ctx.producer(n.input(side), "ConvTranspose");
    if (conv.valid()) break;
  }
  if (!conv.valid()) return NoMatch{};
  if (!bn && !ctx.constant(n.input(1 - side)).defined()) return NoMatch{};
  if (n.is("Div") && side == 1) return NoMatch{};
  const Node& c = ctx.node(conv);
  const bool transposed = c.is("ConvTranspose");
  const Tensor* stored = m.constant(c.input(1));
  const Tensor b = c.has_input(2) ? ctx.constant(c.input(2)) : Tensor();
  if (!stored || stored->rank() < 3 || stored->size() == 0 || !is_float_type(stored->dtype()))
    return refuse("the weight is no constant");
  if (c.has_input(2) && !b.defined()) return refuse("the bias is no constant");
  const int64_t groups = c.attr_int("group", 1);
  if (groups < 1 || stored->dims()[0] % groups != 0) return NoMatch{};
  const int64_t channels = transposed ? stored->dims()[1] * groups : stored->dims()[0];
  if (b.defined() && (b.rank() != 1 || b.size() != channels)) return NoMatch{};
  for (size_t i = 1; i < n.num_outputs(); ++i)
    if (n.has_output(i)) return refuse("statistics of the BatchNormalization are used");
  const std::optional<Affine> a = affine_of(ctx, root, stored->rank(), 1, channels);
  if (!a)
    return refuse(bn ? "parameters are no constants, or it is in training mode"
                     : "the other operand does not vary along the channels only");
  if (!m.sole_use(c.output(0)))
    return refuse(format("{} has other users or is a graph output", m.describe(c.output(0))));
  const Tensor w = stored->to_aligned();
  Edit edit;
  edit.remove = {root};
  if (!a->scale.empty()) {
    auto r = scaled(w, a->scale, transposed, groups);
    if (!r.ok()) return refuse(r.error().text());
    edit.set_input(conv, 1, edit.constant(std::move(*r), m.value(c.input(1)).name));
  }
  std::vector<double> bias(static_cast<size_t>(channels), 0.0);
  if (b.defined()) bias = b.to_f64();
  for (size_t i = 0; i < bias.size(); ++i) {
    if (!a->scale.empty()) bias[i] *= a->scale[i];
    if (!a->shift.empty()) bias[i] += a->shift[i];
  }
  if (b.defined() || !a->shift.empty()) {
    auto r = new_weight(w.dtype(), {channels}, bias);
    if (!r.ok()) return refuse(r.error().text());
    edit.set_input(conv, 2,
                   edit.constant(std::move(*r), b.defined() ? m.value(c.input(2)).name
                                                            : m.value(c.input(1)).name + "_bias"));
  }
  edit.replace_output(n.output(0), c.output(0));
  edit.note = "into the weights of " + m.describe(conv);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_conv_affine;
const Pass pass_fuse_conv_affine = {
    .name = "fuse-conv-affine",
    .summary =
        "puts BatchNormalization and scales and shifts of channels into Conv and ConvTranspose",
    .doc =
        "Conv or ConvTranspose with constant weight and bias, whose result only BatchNormalization "
        "(not training), Mul,\n"
        "Div, Add or Sub reads. The other operand is constant, varies along the channels only and "
        "does not raise\n"
        "the rank. Weights are computed in double precision and must stay finite; those of half "
        "precision must come out exactly.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
