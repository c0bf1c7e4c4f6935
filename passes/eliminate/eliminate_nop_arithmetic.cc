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
constexpr size_t kMostSeen = 16;

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
  return *a * *b;
}

// Something is divided by v, or by what takes its zeros as they are: 1 / -0 is not 1 / 0, and
// nothing else tells these apart. Looks at the nodes near v.
bool divides(const PassContext& ctx, ValueId v) {
  std::vector<ValueId> work{v};
  bool found = false;
  for (size_t at = 0; at < work.size() && at < kMostSeen && !found; ++at) {
    if (ctx.model().value(work[at]).use_count > kMostSeen) continue;
    ctx.model().for_each_use(work[at], [&](Use u) {
      const Node& n = ctx.node(u.node);
      found = found || n.is("Reciprocal") || (n.is("Div") && u.index == 1) ||
              (n.is("Pow") && u.index == 0 && !(uniform(ctx, n.input(1)) > 0.0));
      for (const char* op :
           {"Mul", "Div", "Neg", "Sqrt", "Cast", "Identity", "Reshape", "Transpose", "Squeeze",
            "Unsqueeze", "Expand", "Slice", "Gather", "Concat"})
        if (n.is(op)) work.push_back(n.output(0));
    });
  }
  return found;
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
  for (size_t i : {1U, 0U}) {
    if (i == 0 && !either) break;
    const auto value = filled(ctx, n.input(i));
    if (value != neutral) continue;
    // -0 + 0 is 0: only x + -0 and x - 0 are x for both zeros.
    if (additive && is_float_type(ctx.type(n.output(0)).dtype) &&
        std::signbit(*value) != (op == "Add") && divides(ctx, n.output(0)))
      return refuse("it makes 0 of -0, by which something is divided");
    return replaced(ctx, root, n.input(1 - i), "neutral element");
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
        "where element type and shape of the result are those of x. x + 0 stays where something "
        "near it is\n"
        "divided by it, as -0 + 0 is 0; elsewhere nothing tells the sign of a zero.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
