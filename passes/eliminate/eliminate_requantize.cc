// SPDX-License-Identifier: Apache-2.0
// eliminate-requantize
//
//     before: x: int8 -> DequantizeLinear(s, z) -> QuantizeLinear(s, z) -> y: int8
//     after:  x
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"QuantizeLinear"};

bool equal_constants(const PassContext& ctx, ValueId a, ValueId b) {
  if (a == b) return true;
  if (!a.valid() || !b.valid()) return false;
  const Tensor x = ctx.constant(a), y = ctx.constant(b);
  return x.defined() && y.defined() && x.same_bytes(y);
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& q = ctx.node(root);
  if (!q.domain.view().empty() || q.version < 10) return NoMatch{};
  const NodeId producer = ctx.producer(q.input(0), "DequantizeLinear", 10);
  if (!producer.valid()) return NoMatch{};
  const Node& dq = ctx.node(producer);
  const ValueId x = dq.input(0);
  const DType t = ctx.type(x).dtype;
  if (t != DType::kInt8 && t != DType::kUint8)
    return refuse("only 8-bit values are known to come back exactly");
  if (t != ctx.type(q.output(0)).dtype) return refuse("the element types differ");
  if (q.attr_int("precision", 0) != 0) return refuse("it divides in a precision of its own");
  const Tensor scale = ctx.constant(dq.input(1));
  if (!scale.defined() || scale.dtype() != DType::kFloat ||
      ctx.type(q.input(0)).dtype != DType::kFloat)
    return refuse("the scale is no float constant");
  for (int64_t i = 0; i < scale.size(); ++i) {
    const double s = scale.f64_at(i);
    if (!(s > 1e-30 && s < 1e30)) return refuse("a scale is out of the ordinary");
  }
  if (!equal_constants(ctx, dq.input(1), q.input(1)) ||
      (dq.has_input(2) || q.has_input(2) ? !equal_constants(ctx, dq.input(2), q.input(2)) : false))
    return refuse("scale or zero point differ");
  if (scale.size() != 1 && (dq.attr_int("axis", 1) != q.attr_int("axis", 1) ||
                            dq.attr_int("block_size", 0) != 0 || q.attr_int("block_size", 0) != 0))
    return refuse("the axes differ");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.replace_output(q.output(0), x);
  edit.note = "quantized again as it was";
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_requantize;
const Pass pass_eliminate_requantize = {
    .name = "eliminate-requantize",
    .summary = "removes a QuantizeLinear that undoes the DequantizeLinear before it",
    .doc =
        "8-bit values, with the same constant scales and zero points: dequantizing and quantizing "
        "gives them back\n"
        "exactly. The other order (QuantizeLinear, then DequantizeLinear) rounds and stays.",
    .roots = kRoots,
    .match = match,
    .quantization = true,
};

}  // namespace onnxtool
