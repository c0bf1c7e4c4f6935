// SPDX-License-Identifier: Apache-2.0
// convert-ort-signed
//
//     before: QuantizeLinear(x, s, z) -> DequantizeLinear(q, s, z), z of int8
//     after:  the same with z + 128 of uint8
//
// ONNX Runtime's products take unsigned activations and signed weights; it turns such a pair only
// where one node reads it, and leaves products between turned and other ones in single precision.
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"QuantizeLinear"};

// Node n again with the zero point z + 128 of uint8; nothing: it has none of int8.
std::optional<EditValue> shifted(const PassContext& ctx, NodeId id, EditValue x, Edit& edit) {
  const Node& n = ctx.node(id);
  const Tensor zero = n.has_input(2) ? ctx.constant(n.input(2)) : Tensor();
  if (!zero.defined() || zero.dtype() != DType::kInt8) return std::nullopt;
  std::vector<int64_t> z = zero.to_i64();
  for (int64_t& v : z) v += 128;
  auto t = Tensor::from_i64(DType::kUint8, zero.dims(), z);
  if (!t.ok()) return std::nullopt;
  const std::string& name = ctx.model().value(n.input(2)).name;
  const EditValue y = edit.add(n.op, {x, n.input(1), edit.constant(std::move(*t), name)}, n.attrs);
  edit.nodes.back().like = id;
  edit.remove.push_back(id);
  return y;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "QuantizeLinear", 10) || n.attr_int("output_dtype", 0) != 0 ||
      !ctx.available(n.graph, "com.microsoft", "FusedConv", 1) ||
      ctx.type(n.output(0)).dtype != DType::kInt8 || ctx.model().constant(n.input(0)))
    return NoMatch{};
  Edit edit;
  edit.at = root;
  const auto q = shifted(ctx, root, n.input(0), edit);
  if (!q) return refuse("the zero point is no constant");
  std::vector<NodeId> users;
  bool others = ctx.model().value(n.output(0)).graph_output;
  ctx.model().for_each_use(n.output(0), [&](Use u) {
    others = others || u.index != 0 || !ctx.is(u.node, "DequantizeLinear", 10) ||
             ctx.node(u.node).graph != n.graph;
    users.push_back(u.node);
  });
  if (others) return refuse("something else than DequantizeLinear reads it");
  for (const NodeId user : users) {
    const auto y = shifted(ctx, user, *q, edit);
    if (!y) return refuse("a DequantizeLinear has no constant zero point");
    edit.replace_output(ctx.node(user).output(0), *y);
  }
  return edit;
}

}  // namespace

extern const Pass pass_convert_ort_signed;
const Pass pass_convert_ort_signed = {
    .name = "convert-ort-signed",
    .summary = "quantizes activations to uint8 instead of int8, with the same steps",
    .doc =
        "A QuantizeLinear to int8 whose result only DequantizeLinear nodes read, all with constant "
        "zero points: 128 is added to\n"
        "these.",
    .roots = kRoots,
    .match = match,
    .quantization = true,
    .target = "ort",
};

}  // namespace onnxtool
