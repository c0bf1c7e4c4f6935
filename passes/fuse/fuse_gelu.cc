// SPDX-License-Identifier: Apache-2.0
// fuse-gelu
//
//     before: x * 0.5 * (1 + Erf(x / sqrt(2)))
//             x * 0.5 * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))
//     after:  Gelu(x), Gelu(x; tanh)
#include <algorithm>
#include <cmath>

#include "passes/gelu.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Mul", "Div"};

// A product of Mul nodes as a list of factors and a number.
struct Product {
  std::vector<ValueId> factors;
  double number = 1;
  std::vector<NodeId> nodes;
};
void factors_of(const PassContext& ctx, NodeId n, Product& p) {
  p.nodes.push_back(n);
  if (ctx.is(n, "Div")) {
    p.number /= with_number(ctx, n)->number;
    p.factors.push_back(ctx.node(n).input(0));
  } else {
    for (size_t i = 0; i < 2; ++i) {
      const ValueId v = ctx.node(n).input(i);
      if (const auto c = number(ctx, v))
        p.number *= *c;
      else
        p.factors.push_back(v);
    }
  }
  for (size_t i = 0; i < p.factors.size() && p.nodes.size() < 4; ++i) {
    NodeId inner = ctx.producer(p.factors[i], "Mul", 7);
    if (!inner.valid()) inner = ctx.producer(p.factors[i], "Div", 7);
    const auto c = with_number(ctx, inner);
    const bool div = inner.valid() && ctx.is(inner, "Div");
    if (!inner.valid() || !ctx.model().sole_use(p.factors[i]) || (div && (!c || c->index != 0)))
      continue;
    if (!div && !c && p.factors.size() > 1) continue;
    p.factors.erase(p.factors.begin() + static_cast<std::ptrdiff_t>(i));
    factors_of(ctx, inner, p);
    return;
  }
}

// x to the power of 3.
bool is_cube(const PassContext& ctx, ValueId v, ValueId x, std::vector<NodeId>& nodes) {
  const NodeId pow = ctx.producer(v, "Pow", 7);
  if (pow.valid()) {
    nodes.push_back(pow);
    return ctx.node(pow).input(0) == x && number(ctx, ctx.node(pow).input(1)) == 3.0;
  }
  const NodeId outer = ctx.producer(v, "Mul", 7);
  if (!outer.valid()) return false;
  for (size_t i = 0; i < 2; ++i) {
    const NodeId inner = ctx.producer(ctx.node(outer).input(i), "Mul", 7);
    if (ctx.node(outer).input(1 - i) != x || !inner.valid()) continue;
    if (ctx.node(inner).input(0) != x || ctx.node(inner).input(1) != x) continue;
    nodes.insert(nodes.end(), {outer, inner});
    return true;
  }
  return false;
}

// v is 1 + the error function of x; `tanh`: by its approximation. Why not, in `why`.
bool is_bell(const PassContext& ctx, ValueId v, ValueId x, bool& tanh, std::vector<NodeId>& nodes,
             const char*& why) {
  const NodeId sum = ctx.producer(v, "Add", 7);
  const auto one = with_number(ctx, sum);
  if (!sum.valid() || !one || one->number != 1) return false;
  nodes.push_back(sum);
  if (const NodeId erf = ctx.producer(one->x, "Erf"); erf.valid()) {
    nodes.push_back(erf);
    NodeId by = ctx.producer(ctx.node(erf).input(0), "Div", 7);
    if (!by.valid()) by = ctx.producer(ctx.node(erf).input(0), "Mul", 7);
    const auto c = with_number(ctx, by);
    if (!by.valid() || !c || c->x != x) return false;
    nodes.push_back(by);
    tanh = false;
    why = "it does not divide by the square root of 2";
    return ctx.is(by, "Div") ? c->index == 0 && about(std::sqrt(2.0), c->number)
                             : about(std::sqrt(0.5), c->number);
  }
  const NodeId th = ctx.producer(one->x, "Tanh");
  if (!th.valid()) return false;
  const NodeId mul = ctx.producer(ctx.node(th).input(0), "Mul", 7);
  const auto slope = with_number(ctx, mul);
  if (!mul.valid() || !slope) return false;
  const NodeId add = ctx.producer(slope->x, "Add", 7);
  if (!add.valid()) return false;
  nodes.insert(nodes.end(), {th, mul, add});
  tanh = true;
  for (size_t i = 0; i < 2; ++i) {
    if (ctx.node(add).input(i) != x) continue;
    const NodeId cubic = ctx.producer(ctx.node(add).input(1 - i), "Mul", 7);
    const auto c = with_number(ctx, cubic);
    if (!cubic.valid() || !c || !is_cube(ctx, c->x, x, nodes)) continue;
    nodes.push_back(cubic);
    why = "the numbers are not those of the approximation";
    return about(std::sqrt(2 / 3.14159265358979323846), slope->number) &&
           about(0.044715, c->number);
  }
  return false;
}

}  // namespace

Match match_gelu(const PassContext& ctx, NodeId root, bool foreign) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7) return NoMatch{};
  if (!is_float_type(ctx.type(n.output(0)).dtype)) return NoMatch{};
  if (n.is("Div")) {
    const auto c = with_number(ctx, root);
    if (!c || c->index != 0) return NoMatch{};
  }
  Product p;
  factors_of(ctx, root, p);
  if (p.factors.size() != 2) return NoMatch{};
  const char* why = nullptr;
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = p.factors[i];
    Edit edit;
    edit.at = root;
    edit.exclusive = p.nodes;
    edit.exclusive.erase(edit.exclusive.begin());
    bool tanh = false;
    if (!is_bell(ctx, p.factors[1 - i], x, tanh, edit.exclusive, why)) continue;
    if (p.number != 0.5) return refuse("the factor is not a half");
    if (!same_shape(ctx.shape(x), ctx.shape(n.output(0))))
      return refuse("a constant broadcasts it to another shape");
    edit.remove = edit.exclusive;
    edit.remove.push_back(root);
    std::vector<Attribute> attrs;
    if (tanh && !foreign) attrs.push_back(Attribute::of("approximate", "tanh"));
    edit.replace_output(n.output(0),
                        edit.add(tanh && foreign ? "FastGelu" : "Gelu", {x}, std::move(attrs),
                                 foreign ? Sym("com.microsoft") : Sym()));
    edit.note = tanh ? "its approximation by Tanh" : "by the error function";
    return edit;
  }
  return why ? refuse(why) : Match{};
}

namespace {

Match match(const PassContext& ctx, NodeId root) {
  return ctx.available(ctx.node(root).graph, {}, "Gelu", 20) ? match_gelu(ctx, root, false)
                                                             : NoMatch{};
}

}  // namespace

extern const Pass pass_fuse_gelu;
const Pass pass_fuse_gelu = {
    .name = "fuse-gelu",
    .summary = "makes Gelu of the error function or Tanh and what is around it",
    .doc =
        "From opset 20 on. The products may stand in any order, 0.5 may be a factor or a divisor "
        "of 2, the cube a Pow or\n"
        "two Mul. Constants are as exporters round them (1e-5), and nobody reads what is between.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
