// SPDX-License-Identifier: Apache-2.0
// fuse-attention
//
//     before: MatMul(Softmax(MatMul(q, Transpose(k)) * scale + mask), v)
//     after:  Attention(q, k, v, mask)
#include "passes/attention.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"MatMul"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("MatMul") || n.version == 0 || !ctx.available(n.graph, {}, "Attention", 23))
    return NoMatch{};
  const char* why = nullptr;
  const auto p = attention_of(ctx, root, why);
  if (!p) return why ? refuse(why) : Match{};
  if (!(p->scale > 0)) return refuse("the scale is not positive");
  if (p->mask.valid()) {
    const Shape *mask = ctx.shape(p->mask), *q = ctx.shape(p->q), *k = ctx.shape(p->k_transposed);
    if (!mask || mask->size() < 2 || (*mask)[mask->size() - 2] != (*q)[2] ||
        mask->back() != (*k)[3])
      return refuse("the mask does not name each query and key, as runtimes ask for");
  }
  Edit edit;
  edit.at = root;
  edit.exclusive = p->inner;
  edit.remove = p->inner;
  edit.remove.push_back(root);
  std::vector<Attribute> attrs{Attribute::of("scale", static_cast<float>(p->scale))};
  std::vector<EditValue> inputs;
  ValueId result = n.output(0);
  const auto packed = p->reshape.valid() ? packed_operands(*p, edit) : std::nullopt;
  if (packed) {
    attrs.push_back(Attribute::of("q_num_heads", p->q3->heads));
    attrs.push_back(Attribute::of("kv_num_heads", p->k3->heads));
    inputs.assign(packed->begin(), packed->end());
    edit.at = p->reshape;
    edit.exclusive.insert(edit.exclusive.end(), {root, p->transpose});
    edit.remove.insert(edit.remove.end(), {p->transpose, p->reshape});
    result = ctx.node(p->reshape).output(0);
  } else if (p->few_k.valid()) {
    inputs = {p->q, p->few_k, p->few_v};
  } else {
    const NodeId made = ctx.producer(p->k_transposed, "Transpose");
    const auto* perm = made.valid() ? ctx.node(made).attr_ints("perm") : nullptr;
    ValueId source = p->k_transposed;
    std::vector<int64_t> order = {0, 1, 3, 2};
    if (perm && perm->size() == 4) {
      source = ctx.node(made).input(0);
      order = {(*perm)[0], (*perm)[1], (*perm)[3], (*perm)[2]};
    }
    EditValue key = source;
    if (order != std::vector<int64_t>{0, 1, 2, 3})
      key = edit.add("Transpose", {source}, {Attribute::of("perm", std::move(order))});
    inputs = {p->q, key, p->v};
  }
  if (p->mask.valid()) inputs.push_back(p->mask);
  edit.replace_output(result, edit.add("Attention", std::move(inputs), std::move(attrs)));
  edit.note = packed             ? "heads packed"
              : p->few_k.valid() ? "keys and values of grouped heads"
                                 : "four dims";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_attention;
const Pass pass_fuse_attention = {
    .name = "fuse-attention",
    .summary = "makes Attention of two MatMul and the Softmax between them",
    .doc =
        "From opset 23 on. Query, key and value have four dims and the same batch and heads, those "
        "of key and value perhaps\n"
        "by repeating each of fewer heads; numbers may scale the scores or their operands, a mask "
        "of full size may be\n"
        "added. Where all three come out of a Reshape and a Transpose and the result goes into "
        "their opposite, the packed\n"
        "form is taken and these go too.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
