// SPDX-License-Identifier: Apache-2.0
// fuse-concat-chain: of several concatenations along one axis, one does it.
//
//     before: Concat(a, Concat(b, c), empty) -> y
//     after:  Concat(a, b, c) -> y
#include "libonnxtool/base/str.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Concat"};
constexpr size_t kMostInputs = 256;  // Concat(a, a) of Concat(b, b) ... doubles at each step

std::optional<size_t> axis_of(const PassContext& ctx, NodeId n) {
  const Shape* s = ctx.shape(ctx.node(n).output(0));
  const Attribute* a = ctx.node(n).attr("axis");
  if (!s || !a || a->type != AttrType::kInt || !a->ref.empty()) return std::nullopt;
  const auto rank = static_cast<int64_t>(s->size());
  const int64_t axis = a->i() < 0 ? a->i() + rank : a->i();
  if (axis < 0 || axis >= rank) return std::nullopt;
  return static_cast<size_t>(axis);
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Concat", 4)) return NoMatch{};
  const auto axis = axis_of(ctx, root);
  if (!axis) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  std::vector<EditValue> inputs;
  const auto add = [&](ValueId v) {
    const Shape* s = ctx.shape(v);
    if (s && *axis < s->size() && (*s)[*axis].is_const(0)) return;
    inputs.emplace_back(v);
  };
  const char* note = "an empty part";
  std::string why_not;
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    const NodeId inner = ctx.producer(n.input(i), "Concat", 4);
    if (!inner.valid() || axis_of(ctx, inner) != axis) {
      add(n.input(i));
      continue;
    }
    const Node& p = ctx.node(inner);
    bool others = ctx.model().value(p.output(0)).graph_output;
    ctx.model().for_each_use(p.output(0), [&](Use u) { others = others || u.node != root; });
    if (others || inputs.size() + p.num_inputs() + n.num_inputs() - i > kMostInputs) {
      why_not = others ? format("{} has other users", ctx.model().describe(p.output(0)))
                       : "it would have too many inputs";
      add(n.input(i));
      continue;
    }
    for (size_t k = 0; k < p.num_inputs(); ++k) add(p.input(k));
    edit.remove.push_back(inner);
    note = "concatenations in a row";
  }
  if (inputs.empty()) inputs.emplace_back(n.input(0));
  if (edit.remove.size() == 1 && inputs.size() == n.num_inputs())
    return why_not.empty() ? Match{} : refuse(why_not);
  if (inputs.size() == 1)
    edit.replace_output(n.output(0), inputs[0]);
  else
    edit.replace_output(n.output(0), edit.add("Concat", std::move(inputs), n.attrs));
  edit.note = note;
  return edit;
}

}  // namespace

extern const Pass pass_fuse_concat_chain;
const Pass pass_fuse_concat_chain = {
    .name = "fuse-concat-chain",
    .summary = "makes one Concat of several in a row along one axis, without empty parts",
    .doc =
        "A Concat whose result only another Concat along the same axis reads is merged into it; "
        "inputs of size 0 along\n"
        "the axis are left out.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
