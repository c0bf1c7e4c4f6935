// SPDX-License-Identifier: Apache-2.0
// fuse-reshape-transpose
//
//     before: Reshape(Transpose(Reshape(x))), where the last one splits a dim of the Transpose
//     after:  Transpose(Reshape(x)), or Transpose(x) where the dim was made by the first one
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Reshape"};

// Which axis of `from` is split in `to`, all others being the same; nullopt: none, or not known.
std::optional<size_t> split_axis(const Shape& from, const Shape& to) {
  if (to.size() <= from.size()) return std::nullopt;
  const size_t more = to.size() - from.size();
  std::optional<size_t> found;
  for (size_t i = 0; i < from.size() && !found; ++i) {
    bool same = true;
    for (size_t k = 0; k < from.size() && same; ++k)
      if (k != i) same = from[k] == to[k < i ? k : k + more];
    if (same) found = i;
  }
  return found;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Reshape", 5)) return NoMatch{};
  const NodeId t = ctx.producer(n.input(0), "Transpose");
  if (!t.valid()) return NoMatch{};
  const NodeId first = ctx.producer(ctx.node(t).input(0), "Reshape", 5);
  const auto* perm = ctx.node(t).attr_ints("perm");
  if (!first.valid() || !perm) return NoMatch{};
  const ValueId x = ctx.node(first).input(0);
  const Shape *from = ctx.shape(x), *moved = ctx.shape(n.input(0)), *to = ctx.shape(n.output(0));
  if (!from || !moved || !to || moved->size() != perm->size()) return NoMatch{};
  for (int64_t p : *perm)
    if (p < 0 || p >= static_cast<int64_t>(perm->size())) return NoMatch{};
  const auto axis = split_axis(*moved, *to);
  if (!axis) return NoMatch{};
  const size_t parts = to->size() - moved->size() + 1;
  const auto at = static_cast<size_t>((*perm)[*axis]);
  // Shape before the Transpose with that axis split, and where its axes go.
  Shape split;
  std::vector<size_t> start(perm->size());  // of each old axis
  std::vector<size_t> back(perm->size());
  for (size_t i = 0; i < perm->size(); ++i) back[static_cast<size_t>((*perm)[i])] = i;
  for (size_t i = 0; i < back.size(); ++i) {
    start[i] = split.size();
    if (i != at) split.push_back((*moved)[back[i]]);
    for (size_t k = 0; i == at && k < parts; ++k) split.push_back((*to)[*axis + k]);
  }
  std::vector<int64_t> order;
  for (size_t i = 0; i < perm->size(); ++i) {
    const auto axis_before = static_cast<size_t>((*perm)[i]);
    for (size_t k = 0; k < (i == *axis ? parts : 1); ++k)
      order.push_back(static_cast<int64_t>(start[axis_before] + k));
  }
  Edit edit;
  edit.at = root;
  edit.exclusive = {t, first};
  edit.remove = {root, t, first};
  EditValue source = x;
  if (!same_shape(from, &split)) {
    const auto spec = reshape_spec(*from, split);
    if (!spec) return refuse("more than one size is not known");
    auto shape = Tensor::from_i64(DType::kInt64, {static_cast<int64_t>(spec->size())}, *spec);
    if (!shape.ok()) return NoMatch{};
    source = edit.add("Reshape", {x, edit.constant(std::move(*shape))});
  }
  edit.replace_output(n.output(0),
                      edit.add("Transpose", {source}, {Attribute::of("perm", std::move(order))}));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_reshape_transpose;
const Pass pass_fuse_reshape_transpose = {
    .name = "fuse-reshape-transpose",
    .summary = "takes a Transpose behind the split of a dim that comes after it",
    .doc =
        "Reshape, Transpose, Reshape, where the last one splits one dim and keeps all others, and "
        "nobody else reads what is\n"
        "between: as PyTorch writes attention with batch and heads in one dim.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
