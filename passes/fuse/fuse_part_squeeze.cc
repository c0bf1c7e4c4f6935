// SPDX-License-Identifier: Apache-2.0
// fuse-part-squeeze
//
//     before: Squeeze(Slice(x; i, i + 1)), or Squeeze of each part of a Split into ones
//     after:  Gather(x; i)
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Squeeze"};

// The one axis that a Squeeze takes away, not negative.
std::optional<int64_t> squeezed_axis(const PassContext& ctx, NodeId id, int64_t rank) {
  const Node& n = ctx.node(id);
  if (!ctx.is(id, "Squeeze", 13) || !n.has_input(1)) return std::nullopt;
  const auto axes = ctx.ints(n.input(1));
  if (!axes || axes->size() != 1) return std::nullopt;
  const int64_t a = axes->front() < 0 ? axes->front() + rank : axes->front();
  return a >= 0 && a < rank ? std::optional(a) : std::nullopt;
}

// Which element a Slice takes along `axis` and nothing else.
std::optional<int64_t> sliced(const PassContext& ctx, const Node& n, int64_t axis, int64_t rank) {
  if (n.version < 10) return std::nullopt;
  const auto start = ctx.ints(n.input(1)), end = ctx.ints(n.input(2));
  std::optional<std::vector<int64_t>> axes = std::vector<int64_t>{0};
  if (n.has_input(3)) axes = ctx.ints(n.input(3));
  if (n.has_input(4)) {
    const auto steps = ctx.ints(n.input(4));
    if (!steps || *steps != std::vector<int64_t>{1}) return std::nullopt;
  }
  if (!start || !end || !axes || start->size() != 1 || end->size() != 1 || axes->size() != 1)
    return std::nullopt;
  const int64_t a = axes->front() < 0 ? axes->front() + rank : axes->front();
  const int64_t i = start->front(), stop = end->front();
  if (a != axis) return std::nullopt;
  const bool last = i == -1 && stop >= (int64_t{1} << 31) - 1;
  if (!last && (i == -1 || stop != i + 1)) return std::nullopt;
  return i;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const NodeId slice = ctx.producer(n.input(0), "Slice"), split = ctx.producer(n.input(0), "Split");
  const NodeId before = slice.valid() ? slice : split;
  if (!before.valid()) return NoMatch{};
  const ValueId x = ctx.node(before).input(0);
  const Shape* shape = ctx.shape(x);
  if (!shape || !ctx.available(n.graph, {}, "Gather", 1)) return NoMatch{};
  const auto rank = static_cast<int64_t>(shape->size());
  const auto axis = squeezed_axis(ctx, root, rank);
  if (!axis) return NoMatch{};
  int64_t index = 0;
  if (slice.valid()) {
    const auto i = sliced(ctx, ctx.node(slice), *axis, rank);
    if (!i) return NoMatch{};
    index = *i;
    const Dim whole = (*shape)[static_cast<size_t>(*axis)];
    if (index < 0 && whole.is_const()) index += whole.value();
  } else {
    const Node& s = ctx.node(split);
    int64_t along = s.attr_int("axis", 0);
    if (along < 0) along += rank;
    const Dim whole = (*shape)[static_cast<size_t>(*axis)];
    if (along != *axis || !whole.is_const(static_cast<int64_t>(s.num_outputs()))) return NoMatch{};
    for (ValueId o : s.outputs()) {
      const Shape* part = o.valid() ? ctx.shape(o) : nullptr;
      if (!part || !(*part)[static_cast<size_t>(*axis)].is_const(1)) return NoMatch{};
      // One that is not squeezed keeps the Split, and nothing is won.
      bool squeezed = !ctx.model().value(o).graph_output;
      ctx.model().for_each_use(
          o, [&](Use u) { squeezed = squeezed && squeezed_axis(ctx, u.node, rank) == axis; });
      if (!squeezed) return refuse("a part of the Split keeps its axis");
    }
    index = ctx.model().value(n.input(0)).output_index;
  }
  auto at = Tensor::from_i64(DType::kInt64, {}, {&index, 1});
  if (!at.ok()) return NoMatch{};
  Edit edit;
  edit.at = root;
  if (slice.valid()) edit.exclusive = {slice};
  edit.remove = {root, before};
  edit.replace_output(n.output(0), edit.add("Gather", {x, edit.constant(std::move(*at))},
                                            {Attribute::of("axis", *axis)}));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_part_squeeze;
const Pass pass_fuse_part_squeeze = {
    .name = "fuse-part-squeeze",
    .summary =
        "makes a Gather of the Slice or Split that takes one element and the Squeeze behind it",
    .doc =
        "A Slice of one element along one axis, or a Split of an axis into parts of 1 that are all "
        "squeezed.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
