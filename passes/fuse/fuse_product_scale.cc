// SPDX-License-Identifier: Apache-2.0
// fuse-product-scale
//
//     before: MatMul(a * s, b * t)
//     after:  MatMul(a * (s * t), b)
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"MatMul"};

// n is x * c or x / c that nobody else reads; the factor.
std::optional<WithNumber> factor_of(const PassContext& ctx, ValueId v, NodeId& node) {
  const NodeId mul = ctx.producer(v, "Mul", 7), div = ctx.producer(v, "Div", 7);
  node = mul.valid() ? mul : div;
  auto c = with_number(ctx, node);
  if (!c || c->number == 0 || (div.valid() && c->index != 0)) return std::nullopt;
  if (div.valid()) c->number = 1 / c->number;
  return c;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("MatMul") || n.version == 0) return NoMatch{};
  NodeId first, second;
  const auto a = factor_of(ctx, n.input(0), first), b = factor_of(ctx, n.input(1), second);
  if (!a || !b || first == second) return NoMatch{};
  const DType type = ctx.type(n.output(0)).dtype;
  if (!is_float_type(type)) return NoMatch{};
  auto factor = new_weight(type, {}, std::vector{a->number * b->number});
  if (!factor.ok()) return refuse(factor.error().text());
  if (std::abs(a->number * b->number) < 1e-30) return refuse("the product of both is tiny");
  Edit edit;
  edit.at = root;
  edit.exclusive = {first, second};
  edit.remove = {root, first, second};
  const EditValue scaled = edit.add("Mul", {a->x, edit.constant(std::move(*factor))});
  edit.nodes.back().like = first;
  edit.replace_output(n.output(0), edit.add("MatMul", {scaled, b->x}));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_product_scale;
const Pass pass_fuse_product_scale = {
    .name = "fuse-product-scale",
    .summary = "scales one operand of a MatMul instead of both",
    .doc = "Both are products with, or quotients by, one number that nobody else reads.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
