// SPDX-License-Identifier: Apache-2.0
// fuse-cast-chain: a Cast after one that lost nothing takes the first one's input.
//
//     before: x: int32 -> Cast(int64) -> Cast(float) -> y
//     after:  x -> Cast(float) -> y
//
// Also where one operator that moves or picks elements stands between the two.
#include <algorithm>

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

// Sizes of tensors, or what is computed of them and never negative: no shape could be made of such
// a number after a type that does not hold it.
bool is_size(const PassContext& ctx, ValueId v) {
  const PartialValue* p = ctx.inference().partial(v);
  return p &&
         std::all_of(p->begin(), p->end(), [](Dim d) { return d.lower_bound().value_or(-1) >= 0; });
}

// Moves or picks elements of its first input.
bool is_movement(const PassContext& ctx, NodeId n) {
  static const char* const kOps[] = {"Slice",   "Gather",    "Reshape", "Squeeze",
                                     "Flatten", "Unsqueeze", "Expand",  "Transpose"};
  return std::any_of(std::begin(kOps), std::end(kOps),
                     [&](const char* op) { return ctx.is(n, op); });
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Cast", 6)) return NoMatch{};
  NodeId inner = ctx.producer(n.input(0), "Cast", 6), between;
  if (!inner.valid() && ctx.model().value(n.input(0)).kind == ValueKind::kOutput) {
    between = ctx.model().value(n.input(0)).producer;
    if (!is_movement(ctx, between)) return NoMatch{};
    inner = ctx.producer(ctx.node(between).input(0), "Cast", 6);
  }
  if (!inner.valid()) return NoMatch{};
  const ValueId x = ctx.node(inner).input(0);
  const DType from = ctx.type(x).dtype, through = ctx.type(n.input(0)).dtype,
              to = ctx.type(n.output(0)).dtype;
  if (exact_bits(from) == 0 || exact_bits(to) == 0) return NoMatch{};
  const bool sizes = from == DType::kInt64 && to == DType::kInt64 && is_size(ctx, x);
  if (!lossless(from, through) && !(sizes && through == DType::kInt32))
    return refuse("the first cast may lose something");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.note = "the first cast loses nothing";
  EditValue y = x;
  if (between.valid()) {
    edit.remove.push_back(between);
    edit.exclusive = {between};
    const Node& moved = ctx.node(between);
    std::vector<EditValue> inputs{x};
    for (size_t i = 1; i < moved.num_inputs(); ++i) inputs.emplace_back(moved.input(i));
    y = edit.add(moved.op, std::move(inputs), moved.attrs);
    edit.nodes.back().like = between;
  }
  if (from != to) y = edit.add("Cast", {y}, n.attrs);
  edit.replace_output(n.output(0), y);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_cast_chain;
const Pass pass_fuse_cast_chain = {
    .name = "fuse-cast-chain",
    .summary = "skips a Cast that loses nothing before another Cast",
    .doc =
        "The type in between holds every value of the first type exactly (int32 in int64, float16 "
        "in float); or sizes of tensors go through int32 and back. One operator that moves or "
        "picks "
        "elements may stand\n"
        "between the two, if nobody else reads it.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
