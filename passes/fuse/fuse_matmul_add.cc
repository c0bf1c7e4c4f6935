// SPDX-License-Identifier: Apache-2.0
// fuse-matmul-add
//
//     before: MatMul(a: [M,K], b: [K,N]) -> Add(c) -> y: [M,N]
//     after:  Gemm(a, b, c)
//
// and Gemm(a, b) -> Add(c) likewise, where the Gemm has no third operand yet.
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Add", 7)) return NoMatch{};
  size_t side = 0;
  NodeId product;
  for (; side < 2; ++side) {
    product = ctx.producer(n.input(side), "MatMul");
    if (!product.valid()) product = ctx.producer(n.input(side), "Gemm", 7);
    if (product.valid() && ctx.model().sole_use(n.input(side))) break;
    product = {};
  }
  if (!product.valid()) return NoMatch{};
  const Node& p = ctx.node(product);
  const Shape* a = ctx.shape(p.input(0));
  const Shape* b = ctx.shape(p.input(1));
  const ValueId c = n.input(1 - side);
  const Shape* cs = ctx.shape(c);
  if (!a || !b || !cs || a->size() != 2 || b->size() != 2) return NoMatch{};
  if (p.is("Gemm") && p.has_input(2)) return NoMatch{};
  if (!is_float_type(ctx.type(c).dtype)) return refuse("no floating-point type");
  const Shape* out = ctx.shape(n.output(0));
  if (cs->size() > 2 || !same_shape(out, ctx.shape(p.output(0))))
    return refuse("the addition broadcasts the product to another shape");
  // Each dim of c is proven to be 1 or that of the product.
  for (size_t i = 0; i < cs->size(); ++i) {
    const Dim d = (*cs)[cs->size() - 1 - i], o = (*out)[out->size() - 1 - i];
    if (!d.is_const(1) && !(d == o))
      return refuse("the shape of the addend is not known well enough");
  }
  Edit edit;
  edit.at = root;
  edit.remove = {root, product};
  edit.exclusive = {product};
  std::vector<Attribute> attrs;
  if (p.is("Gemm"))
    for (const Attribute& x : p.attrs)
      if (x.name != "beta") attrs.push_back(x);
  const EditValue y = edit.add("Gemm", {p.input(0), p.input(1), c}, std::move(attrs));
  edit.nodes.back().like = product;
  edit.replace_output(n.output(0), y);
  edit.note = "product and addition";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_matmul_add;
const Pass pass_fuse_matmul_add = {
    .name = "fuse-matmul-add",
    .summary = "makes a Gemm of a MatMul of matrices and the Add behind it",
    .doc =
        "Both operands of the MatMul have rank 2, the product has no other users, and the addend "
        "broadcasts to the\n"
        "shape of the product without changing it.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
