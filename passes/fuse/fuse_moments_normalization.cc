// SPDX-License-Identifier: Apache-2.0
// fuse-moments-normalization: the form of TensorFlow's batch_normalization of moments.
//
//     before: m = ReduceMean(x); k = scale / Sqrt(ReduceMean((x - m)^2) + epsilon)
//             x * k + (bias - m * k)
//     after:  LayerNormalization(x, scale, bias)
#include "passes/spread.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add"};

// What is multiplied with x, as a factor and what it is a constant multiple of.
struct Factor {
  std::optional<Spread> spread;
  ValueId scale;  // invalid: 1
  NodeId product;
};
Factor factor_of(const PassContext& ctx, ValueId v) {
  Factor f{spread_of(ctx, v, false), {}, {}};
  const NodeId mul = ctx.producer(v, "Mul", 7);
  for (size_t i = 0; i < 2 && !f.spread && mul.valid(); ++i) {
    f.scale = ctx.node(mul).input(1 - i);
    if (ctx.model().constant(f.scale)) f.spread = spread_of(ctx, ctx.node(mul).input(i), false);
    f.product = mul;
  }
  return f;
}

// A constant of one number for each element of the last axis.
bool is_row(const PassContext& ctx, ValueId v, Dim width) {
  const Tensor* t = ctx.model().constant(v);
  return t && t->rank() == 1 && width.is_const(t->size());
}

// Where `product` is x * k with k the given value: x.
ValueId other_factor(const PassContext& ctx, NodeId product, ValueId k) {
  if (!product.valid()) return {};
  const Node& n = ctx.node(product);
  return n.input(0) == k ? n.input(1) : n.input(1) == k ? n.input(0) : ValueId();
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Add", 7)) return NoMatch{};
  for (size_t i = 0; i < 2; ++i) {
    const NodeId scaled = ctx.producer(n.input(i), "Mul", 7);
    const NodeId shift = ctx.producer(n.input(1 - i), "Sub", 7);
    const NodeId moved =
        shift.valid() ? ctx.producer(ctx.node(shift).input(1), "Mul", 7) : NodeId();
    if (!scaled.valid() || !moved.valid()) continue;
    for (size_t side = 0; side < 2; ++side) {
      const ValueId k = ctx.node(scaled).input(side), x = ctx.node(scaled).input(1 - side);
      const Factor f = factor_of(ctx, k);
      const ValueId mean = other_factor(ctx, moved, k);
      const NodeId m = mean.valid() ? ctx.producer(mean, "ReduceMean") : NodeId();
      const Shape* shape = ctx.shape(x);
      if (!f.spread || !m.valid() || ctx.node(m).input(0) != x || !shape || shape->empty())
        continue;
      const auto rank = static_cast<int64_t>(shape->size());
      const std::vector<int64_t> last{rank - 1};
      if (kept_axes(ctx, m, rank) != last || kept_axes(ctx, f.spread->mean, rank) != last)
        return refuse("the means are not over the last axis, or drop it");
      const ValueId squared = ctx.node(f.spread->mean).input(0);
      const NodeId by_pow = ctx.producer(squared, "Pow", 7),
                   by_mul = ctx.producer(squared, "Mul", 7);
      const NodeId square = by_pow.valid() ? by_pow : by_mul;
      const ValueId d = square.valid() ? ctx.node(square).input(0) : ValueId();
      const NodeId sub = d.valid() ? ctx.producer(d, "Sub", 7) : NodeId();
      if (!sub.valid() || !square_of(ctx, squared, d).valid()) continue;
      const Node& s = ctx.node(sub);
      if (!(s.input(0) == x && s.input(1) == mean) && !(s.input(1) == x && s.input(0) == mean))
        continue;
      const ValueId bias = ctx.node(shift).input(0);
      if (!f.scale.valid() || !is_row(ctx, f.scale, shape->back()) ||
          !is_row(ctx, bias, shape->back()))
        return refuse("scale and bias are no rows of constants");
      if (!ctx.available(n.graph, {}, "LayerNormalization", 17) ||
          ctx.type(x).dtype != DType::kFloat || !same_type_and_shape(ctx, x, n.output(0)))
        return refuse("there is no LayerNormalization of it");
      Edit edit;
      edit.at = root;
      edit.exclusive = f.spread->nodes;
      edit.exclusive.insert(edit.exclusive.end(),
                            {f.product, scaled, shift, moved, m, square, sub, f.spread->mean});
      edit.remove = edit.exclusive;
      edit.remove.push_back(root);
      const auto epsilon = static_cast<float>(f.spread->epsilon);
      edit.replace_output(n.output(0), edit.add("LayerNormalization", {x, f.scale, bias},
                                                {Attribute::of("axis", int64_t{-1}),
                                                 Attribute::of("epsilon", epsilon)}));
      edit.note = "by moments";
      return edit;
    }
  }
  return NoMatch{};
}

}  // namespace

extern const Pass pass_fuse_moments_normalization;
const Pass pass_fuse_moments_normalization = {
    .name = "fuse-moments-normalization",
    .summary = "makes LayerNormalization of TensorFlow's normalization by moments",
    .doc =
        "From opset 17 on, in single precision: means over the last axis that keep it, scale and "
        "bias rows of constants,\n"
        "and nobody reads what is between.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
