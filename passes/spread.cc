// SPDX-License-Identifier: Apache-2.0
#include "passes/spread.h"

#include "passes/util.h"

namespace onnxtool {

std::optional<Spread> spread_of(const PassContext& ctx, ValueId v, bool root) {
  Spread s;
  if (!root) {
    NodeId one = ctx.producer(v, "Reciprocal", 6);
    if (one.valid()) {
      s.nodes.push_back(one);
      v = ctx.node(one).input(0);
    } else if (one = ctx.producer(v, "Div", 7);
               one.valid() && number(ctx, ctx.node(one).input(0)) == 1.0) {
      s.nodes.push_back(one);
      v = ctx.node(one).input(1);
    } else if (one = ctx.producer(v, "Pow", 7);
               one.valid() && number(ctx, ctx.node(one).input(1)) == -0.5) {
      s.nodes.push_back(one);
      v = ctx.node(one).input(0);
      root = true;  // no Sqrt
    } else {
      return std::nullopt;
    }
    if (root) {
      const NodeId add = ctx.producer(v, "Add", 7);
      const auto c = with_number(ctx, add);
      if (!add.valid() || !c) return std::nullopt;
      s.nodes.push_back(add);
      s.epsilon = c->number;
      s.mean = ctx.producer(c->x, "ReduceMean");
      return s.mean.valid() ? std::optional(s) : std::nullopt;
    }
  }
  NodeId sqrt = ctx.producer(v, "Sqrt", 6);
  if (!sqrt.valid()) {
    sqrt = ctx.producer(v, "Pow", 7);
    if (!sqrt.valid() || number(ctx, ctx.node(sqrt).input(1)) != 0.5) return std::nullopt;
  }
  const NodeId add = ctx.producer(ctx.node(sqrt).input(0), "Add", 7);
  const auto c = with_number(ctx, add);
  if (!add.valid() || !c) return std::nullopt;
  s.nodes.insert(s.nodes.end(), {sqrt, add});
  s.epsilon = c->number;
  s.mean = ctx.producer(c->x, "ReduceMean");
  return s.mean.valid() ? std::optional(s) : std::nullopt;
}

NodeId square_of(const PassContext& ctx, ValueId v, ValueId d) {
  const NodeId pow = ctx.producer(v, "Pow", 7);
  if (pow.valid() && ctx.node(pow).input(0) == d && number(ctx, ctx.node(pow).input(1)) == 2.0)
    return pow;
  const NodeId mul = ctx.producer(v, "Mul", 7);
  return mul.valid() && ctx.node(mul).input(0) == d && ctx.node(mul).input(1) == d ? mul : NodeId();
}

}  // namespace onnxtool
