// SPDX-License-Identifier: Apache-2.0
// eliminate-nop-arithmetic
//
//     before: x * 1, x / 1, x + 0, x - 0, x ** 1, Not(Not(x)), Neg(Neg(x)), x or false, x and true
//     after:  x
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add", "Sub", "Mul", "Div", "Pow",
                              "And", "Or",  "Not", "Neg", "Where"};

Match replaced(const PassContext& ctx, NodeId root, ValueId by, const char* note) {
  const ValueId out = ctx.node(root).output(0);
  if (ctx.type(by).dtype != ctx.type(out).dtype) return refuse("the element type would change");
  if (!same_shape(ctx.shape(by), ctx.shape(out)))
    return refuse("the constant may broadcast the result to another shape");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.replace_output(out, by);
  edit.note = note;
  return edit;
}

// The one value that all elements have: of a constant, of a ConstantOfShape whose shape may not be
// known, or 0 as a product with one of these.
std::optional<double> filled(const PassContext& ctx, ValueId v, int depth = 0) {
  if (const auto u = uniform(ctx, v)) return u;
  if (!v.valid() || depth > 2) return std::nullopt;
  if (const NodeId made = ctx.producer(v, "ConstantOfShape"); made.valid()) {
    const Tensor* t = ctx.node(made).attr_tensor("value");
    return t ? uniform(*t) : 0.0;
  }
  const NodeId mul = ctx.producer(v, "Mul", 7);
  if (!mul.valid()) return std::nullopt;
  const auto a = filled(ctx, ctx.node(mul).input(0), depth + 1);
  const auto b = filled(ctx, ctx.node(mul).input(1), depth + 1);
  if (!a || !b || !std::isfinite(*a) || !std::isfinite(*b) || (*a != 0 && *b != 0))
    return std::nullopt;
  return 0.0;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7 - 6 * static_cast<int>(n.num_inputs() == 1))
    return NoMatch{};
  const std::string_view op = n.op.view();
  if (op == "Not" || op == "Neg") {
    const NodeId inner = ctx.producer(n.input(0), op);
    return inner.valid() ? replaced(ctx, root, ctx.node(inner).input(0), "twice is nothing")
                         : NoMatch{};
  }
  if (op == "Where") {
    const auto c = filled(ctx, n.input(0));
    if (!c) return NoMatch{};
    return replaced(ctx, root, n.input(*c != 0 ? 1 : 2), "the condition is constant");
  }
  if (n.num_inputs() != 2 || n.attr("axis") || n.attr("broadcast")) return NoMatch{};
  const bool additive = op == "Add" || op == "Sub" || op == "Or";
  const double neutral = additive ? 0 : 1;
  const bool either = op == "Add" || op == "Mul" || op == "And" || op == "Or";
  for (size_t i = 1; i + 1 > 0; --i) {
    if (i == 0 && !either) break;
    if (filled(ctx, n.input(i)) == neutral)
      return replaced(ctx, root, n.input(1 - i), "neutral element");
    if (i == 0) break;
  }
  return NoMatch{};
}

}  // namespace

extern const Pass pass_eliminate_nop_arithmetic;
const Pass pass_eliminate_nop_arithmetic = {
    .name = "eliminate-nop-arithmetic",
    .summary = "removes additions of 0, multiplications by 1 and the like",
    .doc =
        "x + 0, 0 + x, x - 0, x * 1, 1 * x, x / 1, x ** 1, x or false, x and true, Not(Not(x)), "
        "Neg(Neg(x)) and Where\n"
        "with a constant condition (constants may be of any shape that a ConstantOfShape gives), "
        "where element type and shape of the result are those of x. (-0 "
        "+ 0 is 0, so the\n"
        "sign of a zero may change.)",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
