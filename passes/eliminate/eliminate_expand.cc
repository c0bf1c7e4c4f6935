// SPDX-License-Identifier: Apache-2.0
// eliminate-expand: what is repeated for an operator that repeats by itself is not.
//
//     before: Add(Expand(x: [1,4], [N,4]), z: [N,4])
//     after:  Add(x, z)
#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add",
                              "Sub",
                              "Mul",
                              "Div",
                              "Pow",
                              "Max",
                              "Min",
                              "Less",
                              "LessOrEqual",
                              "Equal",
                              "GreaterOrEqual",
                              "Greater",
                              "And",
                              "Or",
                              "Xor",
                              "Mod",
                              "Where"};

// The shape still comes out where `in` takes the place of input `at`.
bool same_result(const PassContext& ctx, const Node& n, size_t at, const Shape& in) {
  const Shape* out = ctx.shape(n.output(0));
  if (!out || in.size() > out->size()) return false;
  for (size_t k = 0; k < out->size(); ++k) {  // from the last dim
    const Dim wanted = (*out)[out->size() - 1 - k];
    const auto gives = [&](const Shape& s) {
      return k < s.size() && s[s.size() - 1 - k] == wanted;
    };
    if (gives(in)) continue;
    if (k < in.size() && !in[in.size() - 1 - k].is_const(1)) return false;
    bool other = wanted.is_const(1);
    for (size_t i = 0; i < n.num_inputs() && !other; ++i) {
      const Shape* s = i == at ? nullptr : ctx.shape(n.input(i));
      other = s && gives(*s);
    }
    if (!other) return false;
  }
  return true;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7) return NoMatch{};
  bool near = false;
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    const NodeId expand = ctx.producer(n.input(i), "Expand"),
                 tile = ctx.producer(n.input(i), "Tile"),
                 fill = ctx.producer(n.input(i), "ConstantOfShape");
    if (!expand.valid() && !tile.valid() && !fill.valid()) continue;
    near = true;
    const NodeId source = expand.valid() ? expand : tile.valid() ? tile : fill;
    Edit edit;
    edit.at = root;
    EditValue x;
    if (fill.valid()) {
      const Tensor* value = ctx.node(fill).attr_tensor("value");
      if (!same_result(ctx, n, i, {})) continue;
      x = edit.constant(value ? value->to_aligned().reshaped({}) : Tensor::of<float>({}, {0.0F}));
    } else {
      const Shape* thin = ctx.shape(ctx.node(source).input(0));
      const Shape* wide = ctx.shape(n.input(i));
      if (!thin || !wide || !same_result(ctx, n, i, *thin)) continue;
      // Copies of a whole dim of more than one element are another thing.
      bool repeats = true;
      for (size_t k = 0; k < thin->size() && tile.valid(); ++k)
        repeats = repeats && ((*thin)[k].is_const(1) || (*thin)[k] == (*wide)[k]);
      if (!repeats) continue;
      x = ctx.node(source).input(0);
    }
    edit.remove = {root, source};
    std::vector<EditValue> inputs;
    for (size_t k = 0; k < n.num_inputs(); ++k)
      inputs.push_back(k == i ? x : EditValue(n.input(k)));
    edit.replace_output(n.output(0), edit.add(n.op, std::move(inputs), n.attrs));
    edit.note = "repeated by the operator";
    return edit;
  }
  return near ? refuse("the result may have another shape without it") : Match{};
}

}  // namespace

extern const Pass pass_eliminate_expand;
const Pass pass_eliminate_expand = {
    .name = "eliminate-expand",
    .summary = "removes Expand, Tile and ConstantOfShape before operators that broadcast",
    .doc =
        "Each dim of the result is proven to be that of what is expanded or of another operand. A "
        "Tile repeats only dims\n"
        "of 1; in the place of a ConstantOfShape comes its one number.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
