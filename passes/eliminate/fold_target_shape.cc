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

// Reshape: what the computed shape is known to say, 0 where it is the size that the dim has.
std::optional<std::vector<int64_t>> copying_spec(const PartialValue& target, const Shape& from,
                                                 bool allowzero) {
  std::vector<int64_t> spec;
  for (size_t i = 0; i < target.size(); ++i) {
    const Dim d = target[i];
    if (i < from.size() && from[i] == d && !(d.is_const() && d.value() > 0))
      spec.push_back(0);
    else if (d.is_const() && (d.value() != 0 || !allowzero))
      spec.push_back(d.value());
    else
      return std::nullopt;
  }
  return spec;
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
        "its size, and -1 for one more where no other can be 0.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
