// SPDX-License-Identifier: Apache-2.0
// fuse-hard-sigmoid
//
//     before: Clip(x + 3, 0, 6) / 6          x * Clip(x + 3, 0, 6) / 6
//     after:  HardSigmoid(x; 1/6, 1/2)       HardSwish(x), or x * HardSigmoid(x) before opset 14
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Div", "Mul"};

// v is Clip(x + shift, 0, height).
struct Ramp {
  NodeId clip, sum;
  ValueId x;
  double shift, height;
};
std::optional<Ramp> ramp_of(const PassContext& ctx, ValueId v) {
  Ramp r{};
  r.clip = ctx.producer(v, "Clip", 11);
  if (!r.clip.valid()) return std::nullopt;
  const Node& clip = ctx.node(r.clip);
  const auto low = number(ctx, clip.input(1)), high = number(ctx, clip.input(2));
  if (!low || !high || *low != 0 || !(*high > 0) || std::isinf(*high)) return std::nullopt;
  r.height = *high;
  r.sum = ctx.producer(clip.input(0), "Add", 7);
  if (!r.sum.valid()) return std::nullopt;
  const Node& sum = ctx.node(r.sum);
  for (size_t i = 0; i < 2; ++i) {
    const auto c = number(ctx, sum.input(1 - i));
    if (!c) continue;
    r.shift = *c;
    r.x = sum.input(i);
    if (same_shape(ctx.shape(r.x), ctx.shape(v))) return r;
  }
  return std::nullopt;
}

std::vector<Attribute> slope(double alpha, double beta) {
  return {Attribute::of("alpha", static_cast<float>(alpha)),
          Attribute::of("beta", static_cast<float>(beta))};
}

// x * HardSigmoid(x; 1/6, 1/2), either way around.
Match to_swish(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("Mul") || !ctx.available(n.graph, {}, "HardSwish", 14)) return NoMatch{};
  for (size_t i = 0; i < 2; ++i) {
    const NodeId h = ctx.producer(n.input(i), "HardSigmoid", 6);
    if (!h.valid() || ctx.node(h).input(0) != n.input(1 - i)) continue;
    if (ctx.node(h).attr_float("alpha", 0.2F) != static_cast<float>(1.0 / 6) ||
        ctx.node(h).attr_float("beta", 0.5F) != 0.5F)
      return refuse("the slope is not that of HardSwish");
    Edit edit;
    edit.at = root;
    edit.remove = {root, h};
    edit.exclusive = {h};
    edit.replace_output(n.output(0), edit.add("HardSwish", {n.input(1 - i)}));
    return edit;
  }
  return NoMatch{};
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7 || n.num_inputs() != 2) return NoMatch{};
  if (ctx.type(n.output(0)).dtype != DType::kFloat) return NoMatch{};  // as ONNX Runtime has it
  if (Match swish = to_swish(ctx, root); !std::holds_alternative<NoMatch>(swish)) return swish;
  // The division by the height.
  ValueId numerator = n.input(0);
  auto by = number(ctx, n.input(1));
  if (n.is("Mul")) {
    if (!by) {
      by = number(ctx, n.input(0));
      numerator = n.input(1);
    }
    if (by) by = 1 / *by;
  }
  if (!by || !same_shape(ctx.shape(numerator), ctx.shape(n.output(0)))) return NoMatch{};
  Edit edit;
  edit.at = root;
  std::optional<Ramp> ramp = ramp_of(ctx, numerator);
  const NodeId product = ctx.producer(numerator, "Mul", 7);
  ValueId factor;
  for (size_t i = 0; i < 2 && !ramp && product.valid(); ++i) {
    ramp = ramp_of(ctx, ctx.node(product).input(i));
    factor = ctx.node(product).input(1 - i);
  }
  if (!ramp) return NoMatch{};
  if (std::fabs(*by / ramp->height - 1) > 1e-6)
    return refuse("the divisor is not the height of the ramp");
  if (factor.valid() && !same_shape(ctx.shape(factor), ctx.shape(numerator)))
    return refuse("the factor has another shape");
  edit.remove = {root, ramp->clip, ramp->sum};
  edit.exclusive = {ramp->clip, ramp->sum};
  if (factor.valid()) {
    edit.remove.push_back(product);
    edit.exclusive.push_back(product);
  }
  if (factor == ramp->x && ramp->shift == 3 && ramp->height == 6 &&
      ctx.available(n.graph, {}, "HardSwish", 14)) {
    edit.replace_output(n.output(0), edit.add("HardSwish", {factor}));
    edit.note = "the known form of HardSwish";
    return edit;
  }
  EditValue y =
      edit.add("HardSigmoid", {ramp->x}, slope(1 / ramp->height, ramp->shift / ramp->height));
  edit.nodes.back().like = ramp->clip;
  if (factor.valid()) {
    y = edit.add("Mul", {factor, y});
    edit.nodes.back().like = product;
  }
  edit.replace_output(n.output(0), y);
  edit.note = "the known form of HardSigmoid";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_hard_sigmoid;
const Pass pass_fuse_hard_sigmoid = {
    .name = "fuse-hard-sigmoid",
    .summary = "makes HardSigmoid and HardSwish of the sums, clips and quotients that say them",
    .doc =
        "Clip(x + b, 0, h) / h, also with a factor before the division, in single precision: "
        "b, h and the\n"
        "divisor are single constants, the divisor is h, and nobody reads what is between. "
        "HardSwish from opset 14 on.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
