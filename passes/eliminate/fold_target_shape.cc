// SPDX-License-Identifier: Apache-2.0
// fold-target-shape: a Reshape or Expand to a computed shape becomes one to a constant shape.
//
//     before: x: float[N,768] -> Reshape(Concat(Gather(Shape(x), 0), 12, 64)) -> y
//     after:  x -> Reshape([0,12,64]) -> y
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Reshape", "Expand"};

// Expand: 1 keeps a dim that already has the size.
std::optional<std::vector<int64_t>> expand_spec(const Shape& from, const Shape& to) {
  std::vector<int64_t> spec;
  for (size_t i = 0; i < to.size(); ++i) {
    const size_t skipped = to.size() - from.size();
    if (to[i].is_const())
      spec.push_back(to[i].value());
    else if (i >= skipped && from[i - skipped] == to[i])
      spec.push_back(1);
    else
      return std::nullopt;
  }
  return spec;
}

// Reshape: what the computed shape is known to say of the dims from `first` on, 0 where it is the
// size that the dim has.
std::optional<std::vector<int64_t>> copying_spec(const PartialValue& target, const Shape& from,
                                                 bool allowzero, size_t first = 0) {
  std::vector<int64_t> spec;
  for (size_t i = 0; i < target.size(); ++i) {
    const Dim d = target[i];
    if (first + i < from.size() && from[first + i] == d && !(d.is_const() && d.value() > 0))
      spec.push_back(0);
    else if (d.is_const() && (d.value() != 0 || !allowzero))
      spec.push_back(d.value());
    else
      return std::nullopt;
  }
  return spec;
}

// Reshape to sizes that are put together, some of which stay: these need not be computed.
Match fold_parts(const PassContext& ctx, NodeId root, const Shape& from) {
  const Node& n = ctx.node(root);
  const NodeId concat = ctx.producer(n.input(1), "Concat", 4);
  if (!concat.valid() || !ctx.model().sole_use(n.input(1)) || n.attr_int("allowzero", 0) != 0)
    return refuse("no constant shape says the same for all sizes");
  Edit edit;
  edit.at = root;
  edit.remove = {root, concat};
  std::vector<EditValue> parts;
  std::vector<int64_t> known;  // of several parts in a row
  const auto put_known = [&] {
    if (!known.empty()) parts.push_back(edit.constant(Tensor::ints(known), "shape"));
    known.clear();
  };
  bool won = false;
  size_t at = 0;
  for (size_t i = 0; i < ctx.node(concat).num_inputs(); ++i) {
    const ValueId v = ctx.node(concat).input(i);
    const PartialValue* p = ctx.inference().partial(v);
    if (!p) return refuse("the parts of the shape are not known");
    if (const auto spec = copying_spec(*p, from, false, at)) {
      known.insert(known.end(), spec->begin(), spec->end());
      won = won || !ctx.model().constant(v);
    } else {
      put_known();
      parts.emplace_back(v);
    }
    at += p->size();
  }
  put_known();
  if (!won) return refuse("no constant shape says the same for all sizes");
  EditValue shape = parts[0];
  if (parts.size() > 1) {
    shape = edit.add("Concat", std::move(parts), {Attribute::of("axis", int64_t{0})});
    edit.nodes.back().like = concat;
  }
  edit.replace_output(n.output(0), edit.add("Reshape", {n.input(0), shape}));
  edit.note = "sizes that stay need not be computed";
  return edit;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 5 || n.num_inputs() != 2 || !n.has_input(1))
    return NoMatch{};
  if (ctx.model().constant(n.input(1))) return NoMatch{};
  const Shape* from = ctx.shape(n.input(0));
  const Shape* to = ctx.shape(n.output(0));
  if (!from || !to) return NoMatch{};
  const bool reshape = n.is("Reshape");
  if (!reshape && from->size() > to->size()) return NoMatch{};
  auto spec = reshape ? reshape_spec(*from, *to) : expand_spec(*from, *to);
  const PartialValue* target = ctx.inference().partial(n.input(1));
  if (!spec && reshape && target)
    spec = copying_spec(*target, *from, n.attr_int("allowzero", 0) != 0);
  if (!spec && reshape) return fold_parts(ctx, root, *from);
  if (!spec) return refuse("no constant shape says the same for all sizes");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  const EditValue shape =
      edit.constant(Tensor::ints(*spec), ctx.model().value(n.output(0)).name + "_shape");
  edit.replace_output(n.output(0), edit.add(n.op, {n.input(0), shape}));
  edit.note = "the shape is known but for sizes that stay";
  return edit;
}

}  // namespace

extern const Pass pass_fold_target_shape;
const Pass pass_fold_target_shape = {
    .name = "fold-target-shape",
    .summary = "gives Reshape and Expand a constant shape where only kept sizes are not known",
    .doc =
        "The computed shape becomes a constant: sizes that are known, 0 (Reshape) or 1 (Expand) "
        "for a dim that keeps\n"
        "its size, and -1 for one more where no other can be 0. Of a shape that is put together, "
        "parts "
        "that say what stays become\n"
        "constants at least.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
