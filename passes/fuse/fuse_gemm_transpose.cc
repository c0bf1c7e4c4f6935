// SPDX-License-Identifier: Apache-2.0
// fuse-gemm-transpose
//
//     before: Gemm(x, Transpose(w), c), MatMul(x, Transpose(w)) of matrices
//     after:  Gemm(x, w, c; transB)
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Gemm", "MatMul"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const bool gemm = ctx.is(root, "Gemm", 7);
  if (!gemm && !ctx.is(root, "MatMul")) return NoMatch{};
  const Shape *a = ctx.shape(n.input(0)), *b = ctx.shape(n.input(1));
  if (!a || !b || a->size() != 2 || b->size() != 2) return NoMatch{};
  int64_t turned[] = {n.attr_int("transA", 0), n.attr_int("transB", 0)};
  std::vector<EditValue> inputs{n.input(0), n.input(1)};
  Edit edit;
  for (size_t i = 0; i < 2; ++i) {
    const NodeId t = ctx.producer(n.input(i), "Transpose");
    if (!t.valid() || perm_of(ctx, t) != Axes{1, 0} || !ctx.model().sole_use(n.input(i))) continue;
    turned[i] = turned[i] == 0;
    inputs[i] = ctx.node(t).input(0);
    edit.remove.push_back(t);
  }
  if (edit.remove.empty()) return NoMatch{};
  if (!gemm &&
      (!is_float_type(ctx.type(n.output(0)).dtype) || !ctx.available(n.graph, {}, "Gemm", 7)))
    return refuse("there is no Gemm of that type");
  edit.at = root;
  edit.exclusive = edit.remove;
  edit.remove.push_back(root);
  if (gemm && n.has_input(2)) inputs.emplace_back(n.input(2));
  std::vector<Attribute> attrs;
  for (const Attribute& x : n.attrs)
    if (x.name != "transA" && x.name != "transB") attrs.push_back(x);
  if (turned[0]) attrs.push_back(Attribute::of("transA", int64_t{1}));
  if (turned[1]) attrs.push_back(Attribute::of("transB", int64_t{1}));
  edit.replace_output(n.output(0), edit.add("Gemm", std::move(inputs), std::move(attrs)));
  edit.note = "the product transposes";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_gemm_transpose;
const Pass pass_fuse_gemm_transpose = {
    .name = "fuse-gemm-transpose",
    .summary = "puts a Transpose of a matrix into the Gemm or MatMul that reads it",
    .doc =
        "Matrices of floating-point numbers, transposed for this product alone. A MatMul becomes a "
        "Gemm.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
