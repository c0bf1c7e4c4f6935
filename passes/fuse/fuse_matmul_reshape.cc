// SPDX-License-Identifier: Apache-2.0
// fuse-matmul-reshape
//
//     before: Reshape(Gemm(Reshape(x; -1, K), w, b); d..., N), or a MatMul, where x is [d..., K]
//     after:  Add(MatMul(x, w), b)
#include <cstring>

#include "passes/util.h"

namespace onnxtool {
namespace {

constexpr size_t kMostTransposed = 4 << 20;  // bytes: large weights stay as they lie in the file

const char* const kRoots[] = {"Reshape"};

// A matrix the other way around; undefined: it is no constant that nobody else reads.
Tensor transposed(const PassContext& ctx, ValueId v) {
  const Tensor* stored = ctx.model().constant(v);
  if (!stored || stored->rank() != 2 || stored->is_string() || stored->bytes() > kMostTransposed ||
      !ctx.model().sole_use(v))
    return {};
  const Tensor& t = *stored;
  const size_t rows = static_cast<size_t>(t.dims()[0]), columns = static_cast<size_t>(t.dims()[1]);
  auto r = Tensor::allocate(t.dtype(), {t.dims()[1], t.dims()[0]});
  if (!r.ok() || t.size() == 0) return {};
  const size_t each = t.bytes() / static_cast<size_t>(t.size());
  if (each * static_cast<size_t>(t.size()) != t.bytes()) return {};
  std::byte* to = r->mutable_raw();
  for (size_t i = 0; i < rows; ++i)
    for (size_t k = 0; k < columns; ++k)
      std::memcpy(to + (k * rows + i) * each, t.raw() + (i * columns + k) * each, each);
  return std::move(*r);
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Reshape", 5)) return NoMatch{};
  const NodeId gemm = ctx.producer(n.input(0), "Gemm", 7);
  const NodeId product = gemm.valid() ? gemm : ctx.producer(n.input(0), "MatMul");
  if (!product.valid()) return NoMatch{};
  const Node& p = ctx.node(product);
  const NodeId flat = ctx.producer(p.input(0), "Reshape", 5);
  if (!flat.valid()) return NoMatch{};
  const ValueId x = ctx.node(flat).input(0);
  const Shape *from = ctx.shape(x), *rows = ctx.shape(p.input(0)), *w = ctx.shape(p.input(1)),
              *to = ctx.shape(n.output(0));
  if (!from || !rows || !w || !to || rows->size() != 2 || w->size() != 2 || from->size() < 3)
    return NoMatch{};
  const bool turned = p.attr_int("transB", 0) != 0;
  const Dim columns = (*w)[turned ? 0 : 1];
  if (from->back() != rows->back() || from->size() != to->size() || to->back() != columns)
    return NoMatch{};
  for (size_t i = 0; i + 1 < from->size(); ++i)
    if ((*from)[i] != (*to)[i]) return refuse("its rows are not those that were put in one dim");
  Edit edit;
  edit.at = root;
  edit.exclusive = {product};
  edit.remove = {root, product, flat};
  EditValue weight = p.input(1);
  ValueId bias;
  if (gemm.valid()) {
    if (p.attr_int("transA", 0) != 0) return refuse("the first operand is transposed");
    if (p.attr_float("alpha", 1) != 1) return refuse("the product is scaled");
    if (p.has_input(2)) {
      bias = p.input(2);
      const Shape* b = ctx.shape(bias);
      if (p.attr_float("beta", 1) != 1) return refuse("the bias is scaled");
      const bool row =
          b && (b->empty() || (b->size() == 1 && (b->back() == columns || b->back().is_const(1))) ||
                (b->size() == 2 && (*b)[0].is_const(1) && b->back() == columns));
      if (!row) return refuse("the bias is no row");
    }
    if (turned) {
      Tensor t = transposed(ctx, p.input(1));
      if (!t.defined()) return refuse("the weight is transposed, and large or read by others");
      weight = edit.constant(std::move(t), ctx.model().value(p.input(1)).name);
    }
  }
  EditValue y = edit.add("MatMul", {x, weight});
  edit.nodes.back().like = product;
  if (bias.valid()) y = edit.add("Add", {y, bias});
  edit.replace_output(n.output(0), y);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_matmul_reshape;
const Pass pass_fuse_matmul_reshape = {
    .name = "fuse-matmul-reshape",
    .summary = "multiplies a value of more dims as it is, instead of as a matrix of all its rows",
    .doc =
        "A Gemm or MatMul between a Reshape to a matrix and one back; Gemm without scales, its "
        "bias a row, a transposed\\n"
        "weight only where it is a constant of its own.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
