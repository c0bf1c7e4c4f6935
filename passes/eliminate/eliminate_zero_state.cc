// SPDX-License-Identifier: Apache-2.0
// eliminate-zero-state: a recurrent layer starts from zeros anyway.
//
//     before: ConstantOfShape(0) -> h, c; LSTM(x, W, R, B, -, h, c) -> y
//     after:  LSTM(x, W, R, B) -> y
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"LSTM", "GRU", "RNN"};

// All elements are 0, whatever the shape.
bool is_zero(const PassContext& ctx, ValueId v) {
  for (int steps = 0; steps < 16 && v.valid(); ++steps) {
    if (ctx.model().constant(v)) {
      return ctx.model().constant(v)->size() == 0 || uniform(ctx, v) == 0.0;
    }
    const NodeId p = ctx.model().value(v).producer;
    if (!p.valid()) return false;
    if (ctx.is(p, "ConstantOfShape")) {
      const Tensor* value = ctx.node(p).attr_tensor("value");
      return !ctx.node(p).attr("value") || (value && uniform(value->to_aligned()) == 0.0);
    }
    bool copies = false;
    for (const char* op : {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose",
                           "Expand", "Slice", "Gather", "Tile", "Split"})
      copies = copies || ctx.is(p, op);
    if (!copies) return false;
    v = ctx.node(p).input(0);
  }
  return false;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7) return NoMatch{};
  const size_t last = n.is("LSTM") ? 6 : 5;
  std::vector<EditValue> inputs;
  bool changed = false;
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    const bool drop = i >= 5 && i <= last && n.has_input(i) && is_zero(ctx, n.input(i));
    inputs.push_back(drop ? EditValue() : EditValue(n.input(i)));
    changed = changed || drop;
  }
  if (!changed) return NoMatch{};
  while (!inputs.empty() && inputs.back().kind == EditValue::Kind::kNone) inputs.pop_back();
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  const EditValue y = edit.add(n.op, std::move(inputs), n.attrs);
  edit.nodes.back().num_outputs = n.num_outputs();
  for (uint32_t i = 0; i < n.num_outputs(); ++i) {
    if (!n.has_output(i)) continue;
    EditValue o = y;
    o.output = i;
    edit.replace_output(n.output(i), o);
  }
  edit.note = "the initial state is zero";
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_zero_state;
const Pass pass_eliminate_zero_state = {
    .name = "eliminate-zero-state",
    .summary = "drops initial states of LSTM, GRU and RNN that are zero",
    .doc =
        "An initial state made of zeros (a constant, or ConstantOfShape behind reshapes, slices "
        "and expansions) is\n"
        "left out: the operator's default is zero.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
