// SPDX-License-Identifier: Apache-2.0
// fuse-cast-chain: a Cast after one that lost nothing takes the first one's input.
//
//     before: x: int32 -> Cast(int64) -> Cast(float) -> y
//     after:  x -> Cast(float) -> y
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Cast"};

// Bits of the integers that a type holds exactly, sign not counted; 0: no plain number.
int exact_bits(DType t) {
  switch (t) {
    case DType::kBool: return 1;
    case DType::kInt8: return 7;
    case DType::kUint8: return 8;
    case DType::kInt16: return 15;
    case DType::kUint16: return 16;
    case DType::kInt32: return 31;
    case DType::kUint32: return 32;
    case DType::kInt64: return 63;
    case DType::kUint64: return 64;
    case DType::kFloat16: return 11;
    case DType::kBfloat16: return 8;
    case DType::kFloat: return 24;
    case DType::kDouble: return 53;
    default: return 0;
  }
}

bool is_signed(DType t) {
  return t == DType::kInt8 || t == DType::kInt16 || t == DType::kInt32 || t == DType::kInt64 ||
         is_float_type(t);
}

// Every value of `from` is a value of `to`.
bool lossless(DType from, DType to) {
  if (from == to) return exact_bits(from) > 0;
  if (exact_bits(from) == 0 || exact_bits(to) == 0 || to == DType::kBool) return false;
  if (is_float_type(from)) {
    if (!is_float_type(to)) return false;
    if (to == DType::kDouble) return true;
    return to == DType::kFloat && from != DType::kDouble;
  }
  if (is_signed(from) && !is_signed(to)) return false;
  if (to == DType::kFloat16 && exact_bits(from) > 11) return false;
  return exact_bits(from) <= exact_bits(to);
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const NodeId inner = ctx.producer(n.input(0), "Cast", 6);
  if (!ctx.is(root, "Cast", 6) || !inner.valid()) return NoMatch{};
  const ValueId x = ctx.node(inner).input(0);
  const DType from = ctx.type(x).dtype, through = ctx.type(n.input(0)).dtype,
              to = ctx.type(n.output(0)).dtype;
  if (exact_bits(from) == 0 || exact_bits(to) == 0) return NoMatch{};
  if (!lossless(from, through)) return refuse("the first cast may lose something");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.note = "the first cast loses nothing";
  if (from == to)
    edit.replace_output(n.output(0), x);
  else
    edit.replace_output(n.output(0), edit.add("Cast", {x}, n.attrs));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_cast_chain;
const Pass pass_fuse_cast_chain = {
    .name = "fuse-cast-chain",
    .summary = "skips a Cast that loses nothing before another Cast",
    .doc =
        "The type in between holds every value of the first type exactly (int32 in int64, float16 "
        "in float).",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
