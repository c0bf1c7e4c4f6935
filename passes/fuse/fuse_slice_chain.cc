// SPDX-License-Identifier: Apache-2.0
// fuse-slice-chain: of several slices in a row, one does it.
//
//     before: x -> Slice(axis 2, step 2) -> Slice(axis 3, from 1) -> y
//     after:  x -> Slice(axes 2 and 3) -> y
#include <algorithm>
#include <limits>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Slice"};
constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
constexpr int64_t kBegin = std::numeric_limits<int64_t>::min();

struct Range {
  int64_t axis, start, end, step;
};

// Constant ranges, each axis once; nullopt: not known.
std::optional<std::vector<Range>> ranges_of(const PassContext& ctx, NodeId id) {
  if (!ctx.is(id, "Slice", 10)) return std::nullopt;
  const Node& n = ctx.node(id);
  const Shape* s = ctx.shape(n.input(0));
  const auto starts = ctx.ints(n.input(1)), ends = ctx.ints(n.input(2));
  if (!s || !starts || !ends || starts->size() != ends->size()) return std::nullopt;
  const auto rank = static_cast<int64_t>(s->size());
  std::vector<int64_t> axes, steps(starts->size(), 1);
  for (size_t i = 0; i < starts->size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (n.has_input(3)) {
    const auto a = ctx.ints(n.input(3));
    if (!a || a->size() != axes.size()) return std::nullopt;
    axes = *a;
  }
  if (n.has_input(4)) {
    const auto a = ctx.ints(n.input(4));
    if (!a || a->size() != axes.size()) return std::nullopt;
    steps = *a;
  }
  std::vector<Range> r;
  std::vector<bool> seen(s->size());
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    if (axis < 0 || axis >= rank || steps[i] == 0 || seen[static_cast<size_t>(axis)])
      return std::nullopt;
    seen[static_cast<size_t>(axis)] = true;
    r.push_back({axis, (*starts)[i], (*ends)[i], steps[i]});
  }
  return r;
}

// First index, step and number of what a range takes of `size` elements.
struct Taken {
  int64_t first, step, count;
};
std::optional<Taken> taken(const Range& r, int64_t size) {
  const bool forward = r.step > 0;
  const auto index = [&](int64_t v, int64_t least) {
    if (v < 0) v = v < -size - 1 ? -1 : v + size;
    return std::clamp(v, least, forward ? size : size - 1);
  };
  if (r.step > (int64_t{1} << 31) || r.step < -(int64_t{1} << 31) || size > (int64_t{1} << 40))
    return std::nullopt;
  if (size == 0) return Taken{0, 1, 0};
  const int64_t first = index(r.start, 0), last = index(r.end, forward ? 0 : -1);
  const int64_t span = forward ? last - first : first - last;
  if (span <= 0) return Taken{0, 1, 0};
  const int64_t each = forward ? r.step : -r.step;
  return Taken{first, r.step, (span + each - 1) / each};
}

// The range that takes of x what `b` takes of what `a` takes of x.
std::optional<Range> composed(const Range& a, const Range& b, Dim size) {
  if (size.is_const()) {
    const auto t = taken(a, size.value());
    const auto u = t ? taken(b, t->count) : std::nullopt;
    if (!u) return std::nullopt;
    if (u->count == 0) return Range{a.axis, 0, 0, 1};
    const int64_t step = t->step * u->step, first = t->first + u->first * t->step;
    const int64_t last = first + (u->count - 1) * step;
    const int64_t end = step > 0 ? last + 1 : last == 0 ? kBegin : last - 1;
    return Range{a.axis, first, end, step};
  }
  if (a.step != 1 || b.step != 1 || a.start < 0 || a.end < 0 || b.start < 0 || b.end < 0)
    return std::nullopt;
  const auto plus = [](int64_t x, int64_t y) { return x > kEnd - y ? kEnd : x + y; };
  return Range{a.axis, plus(a.start, b.start), std::min(a.end, plus(a.start, b.end)), 1};
}

std::optional<std::vector<Range>> merged(const PassContext& ctx, NodeId inner, NodeId outer) {
  auto r = ranges_of(ctx, inner);
  const auto more = ranges_of(ctx, outer);
  const Shape* s = ctx.shape(ctx.node(inner).input(0));
  if (!r || !more || !s) return std::nullopt;
  for (const Range& b : *more) {
    const auto same =
        std::find_if(r->begin(), r->end(), [&](const Range& a) { return a.axis == b.axis; });
    if (same == r->end()) {
      r->push_back(b);
      continue;
    }
    const auto c = composed(*same, b, (*s)[static_cast<size_t>(b.axis)]);
    if (!c) return std::nullopt;
    *same = *c;
  }
  std::sort(r->begin(), r->end(), [](auto& a, auto& b) { return a.axis < b.axis; });
  return r;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const NodeId inner = ctx.producer(n.input(0), "Slice", 10);
  if (!inner.valid() || !ctx.is(root, "Slice", 10)) return NoMatch{};
  const auto ranges = merged(ctx, inner, root);
  if (!ranges) return refuse("the ranges are not known well enough to be one");
  // Others may read what the first takes, if they can do without it too.
  const ValueId between = n.input(0);
  if (ctx.model().value(between).graph_output) return refuse("what is between is a graph output");
  if (ctx.model().value(between).use_count > 64) return refuse("what is between has many users");
  bool all = true;
  ctx.model().for_each_use(between, [&](Use u) {
    all = all && u.index == 0 && ctx.is(u.node, "Slice", 10) &&
          (u.node == root || merged(ctx, inner, u.node));
  });
  if (!all) return refuse("what is between has other users");
  Edit edit;
  edit.at = root;
  edit.remove = {root, inner};
  std::vector<int64_t> lists[4];
  for (const Range& r : *ranges) {
    lists[0].push_back(r.start);
    lists[1].push_back(r.end);
    lists[2].push_back(r.axis);
    lists[3].push_back(r.step);
  }
  std::vector<EditValue> inputs{ctx.node(inner).input(0)};
  static const char* const kNames[] = {"_starts", "_ends", "_axes", "_steps"};
  const bool steps =
      std::any_of(lists[3].begin(), lists[3].end(), [](int64_t s) { return s != 1; });
  for (size_t i = 0; i < (steps ? 4U : 3U); ++i)
    inputs.push_back(
        edit.constant(Tensor::ints(lists[i]), ctx.model().value(n.output(0)).name + kNames[i]));
  edit.replace_output(n.output(0), edit.add("Slice", std::move(inputs)));
  edit.note = "slices in a row";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_slice_chain;
const Pass pass_fuse_slice_chain = {
    .name = "fuse-slice-chain",
    .summary = "makes one Slice of several in a row",
    .doc =
        "Constant ranges on different axes, or on the same axis where its size is known or both "
        "ranges count forward\n"
        "from the start by steps of 1. What is between is read by such slices only.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
