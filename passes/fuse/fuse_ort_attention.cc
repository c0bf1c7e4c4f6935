// SPDX-License-Identifier: Apache-2.0
// fuse-ort-attention
//
//     before: MatMul(Softmax(MatMul(q, Transpose(k)) * scale + mask), v), heads packed behind it
//     after:  com.microsoft.MultiHeadAttention(q, k, v, , , mask)
#include "passes/attention.h"
#include "passes/ort.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"MatMul"};

// The mask with its row as often as there are queries: a number, or as many as there are keys.
EditValue for_each_query(Edit& edit, ValueId mask, const Dim& queries) {
  EditValue shape;
  if (queries.is_const()) {
    shape = edit.constant(Tensor::ints({1, 1, queries.value(), 1}));
  } else {
    const EditValue one = edit.constant(Tensor::ints({1})), last = edit.constant(Tensor::ints({3}));
    const EditValue keys = edit.add("Gather", {edit.add("Shape", {mask}), last});
    shape = edit.add("Concat", {one, one, keys, one}, {Attribute::of("axis", int64_t{0})});
  }
  return edit.add("Expand", {mask, shape});
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("MatMul") || n.version == 0 ||
      !ctx.available(n.graph, "com.microsoft", "MultiHeadAttention", 1))
    return NoMatch{};
  const char* why = nullptr;
  const auto p = attention_of(ctx, root, why);
  if (!p) return why ? refuse(why) : Match{};
  if (!p->plain()) return refuse("it has a mask that is not added, or a Softmax in another type");
  if (!p->reshape.valid()) return refuse("the result is not packed behind it");
  if (!ort_computes(ctx.type(n.output(0)).dtype)) return refuse("it is for float only");
  if (!(p->scale > 0)) return refuse("the scale is not positive");
  const Shape &q = *ctx.shape(p->q), &k = *ctx.shape(p->k_transposed);
  if (!q[1].is_const() || !q[3].is_const() || q[1].value() < 1 || q[3].value() < 1)
    return refuse("the number of heads or their size is not known");
  bool for_all = false;  // one row of the mask for all queries
  if (p->mask.valid()) {
    const Shape* mask = ctx.shape(p->mask);
    if (!mask || mask->size() != 4 || (*mask)[3] != k[3])
      return refuse("the mask does not name each key, as the operator asks for");
    for_all = (*mask)[2] != q[2];
    if (for_all && (!(*mask)[2].is_const(1) || (!q[2].is_const() && q[2] != k[3])))
      return refuse("the mask does not name each query, as the operator asks for");
  }
  Edit edit;
  edit.at = p->reshape;
  edit.exclusive = p->inner;
  edit.exclusive.insert(edit.exclusive.end(), {root, p->transpose});
  edit.remove = edit.exclusive;
  edit.remove.push_back(p->reshape);
  std::vector<EditValue> inputs;
  if (const auto packed = packed_operands(*p, edit)) {
    inputs.assign(packed->begin(), packed->end());
  } else if (p->q3 && p->q3->part < 0) {
    // Keys and values may stay in four dims.
    const EditValue key = edit.add("Transpose", {p->k_transposed},
                                   {Attribute::of("perm", std::vector<int64_t>{0, 1, 3, 2})});
    inputs = {p->q3->packed, key, p->v};
  } else {
    return refuse("the query does not come out of packed form");
  }
  if (p->mask.valid()) {
    inputs.resize(5);
    inputs.push_back(for_all ? for_each_query(edit, p->mask, q[2]) : EditValue(p->mask));
  }
  edit.replace_output(ctx.node(p->reshape).output(0),
                      edit.add("MultiHeadAttention", std::move(inputs),
                               {Attribute::of("num_heads", q[1].value()),
                                Attribute::of("scale", static_cast<float>(p->scale))},
                               "com.microsoft"));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_ort_attention;
const Pass pass_fuse_ort_attention = {
    .name = "fuse-ort-attention",
    .summary = "makes MultiHeadAttention of two MatMul and the Softmax between them",
    .doc =
        "As fuse-attention, where the heads of the result are packed behind it and those of the "
        "query "
        "before it, or query, key\n"
        "and value come out of one packed product. Other keys and values stay in four dims. A mask "
        "of "
        "keys alone is expanded,\n"
        "where there are as many queries or their number is known.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
