// SPDX-License-Identifier: Apache-2.0
// fuse-hard-sigmoid
//
//     before: Clip(x + 3, 0, 6) / 6          x * Clip(x + 3, 0, 6) / 6
//     after:  HardSigmoid(x; 1/6, 1/2)       HardSwish(x), or x * HardSigmoid(x) before opset 14
#include <cmath>

#include "passes/ort.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Div", "Mul"};

// v is Clip(x + shift, 0, height).
struct Ramp {
  NodeId clip, sum;
  ValueId x;
  double shift, height;
  bool swish() const { return shift == 3 && height == 6; }
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

// v is a ramp over its height.
struct Quotient {
  NodeId division;
  std::optional<Ramp> ramp;  // of the numerator, or of one factor of it
  NodeId product;
  ValueId factor;
  bool whole;  // the divisor is the height
};
std::optional<Quotient> quotient_of(const PassContext& ctx, NodeId id) {
  if (!ctx.is(id, "Div", 7) && !ctx.is(id, "Mul", 7)) return std::nullopt;
  const Node& n = ctx.node(id);
  auto by = number(ctx, n.input(1));
  ValueId numerator = n.input(0);
  if (n.is("Mul")) {
    if (!by) {
      by = number(ctx, n.input(0));
      numerator = n.input(1);
    }
    if (by) by = 1 / *by;
  }
  if (!by || !same_shape(ctx.shape(numerator), ctx.shape(n.output(0)))) return std::nullopt;
  Quotient q{id, ramp_of(ctx, numerator), {}, {}, false};
  const NodeId product = ctx.producer(numerator, "Mul", 7);
  for (size_t i = 0; i < 2 && !q.ramp && product.valid(); ++i) {
    q.ramp = ramp_of(ctx, ctx.node(product).input(i));
    q.factor = ctx.node(product).input(1 - i);
    q.product = product;
  }
  if (!q.ramp) return std::nullopt;
  q.whole = std::fabs(*by / q.ramp->height - 1) <= 1e-6;
  return q;
}

Edit swish(const PassContext& ctx, NodeId root, ValueId x, std::vector<NodeId> inner) {
  Edit edit;
  edit.at = root;
  edit.exclusive = inner;
  edit.remove = std::move(inner);
  edit.remove.push_back(root);
  edit.replace_output(ctx.node(root).output(0), edit.add("HardSwish", {x}));
  edit.note = "the known form of HardSwish";
  return edit;
}

// x * HardSigmoid(x; 1/6, 1/2), or with the ramp over its height, either way around.
Match to_swish(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("Mul")) return NoMatch{};
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = n.input(1 - i);
    const NodeId p = ctx.model().value(n.input(i)).producer;
    if (!p.valid()) continue;
    if (ctx.is(p, "HardSigmoid", 6) && ctx.node(p).input(0) == x) {
      if (ctx.node(p).attr_float("alpha", 0.2F) != static_cast<float>(1.0 / 6) ||
          ctx.node(p).attr_float("beta", 0.5F) != 0.5F)
        return refuse("the slope is not that of HardSwish");
      return swish(ctx, root, x, {p});
    }
    const auto q = quotient_of(ctx, p);
    if (q && q->whole && !q->factor.valid() && q->ramp->x == x && q->ramp->swish())
      return swish(ctx, root, x, {p, q->ramp->clip, q->ramp->sum});
  }
  return NoMatch{};
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7 || n.num_inputs() != 2) return NoMatch{};
  // ONNX Runtime has it in single precision only, and casts for its own target.
  const DType type = ctx.type(n.output(0)).dtype;
  const bool ort = ctx.available(n.graph, "com.microsoft", "FusedConv", 1);
  if (ort ? !ort_computes(type) : type != DType::kFloat) return NoMatch{};
  const bool has_swish = ctx.available(n.graph, {}, "HardSwish", 14);
  if (has_swish)
    if (Match m = to_swish(ctx, root); !std::holds_alternative<NoMatch>(m)) return m;
  const auto q = quotient_of(ctx, root);
  if (!q) return NoMatch{};
  const Ramp& ramp = *q->ramp;
  if (!q->whole) return refuse("the divisor is not the height of the ramp");
  std::vector<NodeId> inner{ramp.clip, ramp.sum};
  if (q->factor.valid()) {
    if (!same_shape(ctx.shape(q->factor), ctx.shape(n.output(0))))
      return refuse("the factor has another shape");
    inner.push_back(q->product);
  }
  if (has_swish && q->factor == ramp.x && ramp.swish()) return swish(ctx, root, ramp.x, inner);
  if (!ctx.available(n.graph, {}, "HardSigmoid", 6))
    return refuse("the target is no faster with HardSigmoid");
  Edit edit;
  edit.at = root;
  edit.exclusive = inner;
  edit.remove = std::move(inner);
  edit.remove.push_back(root);
  EditValue y = edit.add("HardSigmoid", {ramp.x}, slope(1 / ramp.height, ramp.shift / ramp.height));
  edit.nodes.back().like = ramp.clip;
  if (q->factor.valid()) {
    y = edit.add("Mul", {q->factor, y});
    edit.nodes.back().like = q->product;
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
        "HardSwish from opset 14 on,\n"
        "HardSigmoid for the targets that are fast with it (list targets).",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
