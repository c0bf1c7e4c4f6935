// SPDX-License-Identifier: Apache-2.0
// fuse-matmul-affine: what scales and shifts the columns of a product goes into its weights.
//
//     before: Gemm(x, B, C) -> BatchNormalization -> y
//     after:  Gemm(x, B * s, C * s + t) -> y
#include "libonnxtool/base/str.h"
#include "passes/affine.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"BatchNormalization", "Mul", "Div", "Add", "Sub"};
constexpr size_t kLargest = size_t{16} << 20;  // bytes of a weight

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0) return NoMatch{};
  NodeId product;
  ValueId between;
  for (size_t side = 0; side < (n.is("BatchNormalization") ? 1U : 2U) && !product.valid(); ++side) {
    between = n.input(side);
    product = ctx.producer(between, "Gemm", 7);
    if (!product.valid()) product = ctx.producer(between, "MatMul");
  }
  const Shape* shape = product.valid() ? ctx.shape(between) : nullptr;
  const Tensor* stored = product.valid() ? m.constant(ctx.node(product).input(1)) : nullptr;
  if (!shape || !stored || stored->rank() != 2) return NoMatch{};
  const Node& p = ctx.node(product);
  const bool gemm = p.is("Gemm"), turned = gemm && p.attr_int("transB", 0) != 0;
  const auto rank = static_cast<int64_t>(shape->size());
  const int64_t columns = stored->dims()[turned ? 0 : 1], rows = stored->dims()[turned ? 1 : 0];
  if (rank < 2) return NoMatch{};
  if (n.is("BatchNormalization") && rank != 2)
    return refuse("the normalization is not of the last axis");
  const auto a = affine_of(ctx, root, rank, rank - 1, columns);
  if (!a) return NoMatch{};
  // Adding alone is what fuse-matmul-add does.
  if (a->scale.empty() && !(gemm && p.has_input(2))) return NoMatch{};
  if (!a->shift.empty() && rank != 2) return refuse("a product of more than two dims has no bias");
  if (!same_shape(shape, ctx.shape(n.output(0))))
    return refuse("the constant may broadcast the result to another shape");
  const bool has_c = gemm && p.has_input(2);
  const Tensor c = has_c ? ctx.constant(p.input(2)) : Tensor();
  if (has_c && !c.defined()) return refuse("the addend is no constant");
  const auto addend = has_c ? per_channel(c, 2, 1, columns)
                            : std::vector<double>(static_cast<size_t>(columns), 0.0);
  if (!addend) return refuse("the addend varies along the rows");
  if (stored->bytes() > kLargest) return refuse("the weight is large");
  if (!m.sole_use(between)) return refuse(format("{} has other users", m.describe(between)));
  const Tensor w = stored->to_aligned();
  if (!is_float_type(w.dtype())) return refuse("no floating-point weight");
  Edit edit;
  edit.at = root;
  edit.remove = {root, product};
  edit.exclusive = {product};
  std::vector<EditValue> inputs{p.input(0), p.input(1)};
  if (!a->scale.empty()) {
    auto t = scaled_weight(w, a->scale, turned ? rows : 1);
    if (!t.ok()) return refuse(t.error().text());
    inputs[1] = edit.constant(std::move(*t), m.value(p.input(1)).name);
  }
  std::vector<Attribute> attrs;
  for (const Attribute& x : p.attrs)
    if (x.name != "beta") attrs.push_back(x);
  const bool bias = has_c || !a->shift.empty();
  if (bias) {
    std::vector<double> b = *addend;
    const double beta = p.attr_float("beta", 1);
    for (size_t i = 0; i < b.size(); ++i) {
      if (has_c) b[i] *= beta;
      if (!a->scale.empty()) b[i] *= a->scale[i];
      if (!a->shift.empty()) b[i] += a->shift[i];
    }
    auto t = new_weight(w.dtype(), {columns}, b);
    if (!t.ok()) return refuse(t.error().text());
    inputs.push_back(edit.constant(
        std::move(*t), has_c ? m.value(p.input(2)).name : m.value(p.input(1)).name + "_bias"));
  }
  const EditValue y = edit.add(bias ? Sym("Gemm") : p.op, std::move(inputs), std::move(attrs));
  edit.nodes.back().like = product;
  edit.replace_output(n.output(0), y);
  edit.note = "into the weights of " + m.describe(product);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_matmul_affine;
const Pass pass_fuse_matmul_affine = {
    .name = "fuse-matmul-affine",
    .summary = "puts BatchNormalization and scales and shifts of columns into Gemm and MatMul",
    .doc =
        "Gemm or MatMul with a constant matrix on the right, whose result only "
        "BatchNormalization (of a product of two\n"
        "dims, not training), Mul, Div, Add or Sub by a constant for each column reads. The addend "
        "of the Gemm is\n"
        "constant and the same in all rows.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
