// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/strided.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace {

constexpr int kMaxHops = 16;

Strided dense(Rewire& g, int v) {
  Strided s;
  s.source = v;
  const Dims& d = g.value(v).dims;
  std::vector<int64_t> strides = memory_strides(d, Layout::kPlain);
  for (size_t i = 0; i < d.size(); ++i) s.dims.push_back({d[i], 1, strides[i]});
  return s;
}

// Splits off extents one after the other from the finest factors; false where bytes would move.
bool reshape(Strided& s, const Dims& to) {
  // Factors, slowest first; extent 1 has none.
  std::vector<StridedDim> from;
  for (const StridedDim& d : s.dims)
    if (d.extent() != 1) from.push_back(d);
  std::vector<StridedDim> result;
  size_t at = 0;
  for (int64_t want : to) {
    if (want == 1) {
      result.push_back({1, 1, 0});
      continue;
    }
    if (at == from.size()) return false;
    StridedDim d = from[at++];
    while (d.extent() < want) {  // merge the next one in
      if (at == from.size()) return false;
      StridedDim n = from[at++];
      if (n.stride == 0 && n.repeat == 1)
        d.repeat *= n.size;  // a broadcast one
      else if (d.repeat == 1 && n.repeat == 1 && d.stride == n.stride * n.size)
        d = {d.size * n.size, 1, n.stride};
      else
        return false;
    }
    if (d.extent() > want) {  // split
      if (d.repeat != 1 || d.size % want) return false;
      int64_t rest = d.size / want;
      from[--at] = {rest, 1, d.stride};
      d = {want, 1, d.stride * rest};
    }
    result.push_back(d);
  }
  if (at != from.size()) return false;
  s.dims = std::move(result);
  return true;
}

bool transpose(Strided& s, const PlanStep& step, const Model& model) {
  size_t rank = s.dims.size();
  std::vector<int64_t> perm;
  if (auto* p = model.node(step.node).attr_ints("perm"))
    perm = *p;
  else
    for (size_t i = rank; i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  if (perm.size() != rank) return false;
  std::vector<StridedDim> d;
  for (int64_t p : perm) {
    if (p < 0 || p >= static_cast<int64_t>(rank)) return false;
    d.push_back(s.dims[static_cast<size_t>(p)]);
  }
  s.dims = std::move(d);
  return true;
}

// Narrows an axis to `count` places from `start`.
bool narrow(Strided& s, int64_t axis, int64_t start, int64_t count) {
  if (axis < 0 || axis >= static_cast<int64_t>(s.dims.size())) return false;
  StridedDim& d = s.dims[static_cast<size_t>(axis)];
  if (d.repeat != 1 || start < 0 || count < 1 || start + count > d.size) return false;
  s.offset += start * d.stride;
  d.size = count;
  return true;
}

bool split(Rewire& g, Strided& s, const PlanStep& step, int v) {
  int64_t rank = static_cast<int64_t>(s.dims.size());
  auto axis = normalize_axis(g.model.node(step.node).attr_int("axis", 0), rank);
  if (!axis) return false;
  int64_t start = 0;
  for (int o : step.out) {
    if (o < 0) return false;
    int64_t extent = g.value(o).dims[static_cast<size_t>(*axis)];
    if (o == v) return narrow(s, *axis, start, extent);
    start += extent;
  }
  return false;
}

bool slice(Rewire& g, Strided& s, const PlanStep& step) {
  auto ints = [&](size_t i) -> std::optional<std::vector<int64_t>> {
    const Tensor* t = i < step.in.size() ? g.constant(step.in[i]) : nullptr;
    if (!t) return std::nullopt;
    return t->to_i64();
  };
  auto starts = ints(1), ends = ints(2), axes = ints(3);
  bool stepped = step.in.size() > 4 && step.in[4] >= 0;
  auto steps = ints(4);
  if (!starts || !ends || !axes || (stepped && !steps)) return false;
  if (steps && std::any_of(steps->begin(), steps->end(), [](int64_t x) { return x != 1; }))
    return false;
  for (size_t i = 0; i < axes->size(); ++i) {
    auto axis = normalize_axis((*axes)[i], static_cast<int64_t>(s.dims.size()));
    if (!axis || i >= starts->size() || i >= ends->size()) return false;
    int64_t d = s.dims[static_cast<size_t>(*axis)].extent();
    auto clip = [d](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + d : x, 0, d); };
    int64_t a = clip((*starts)[i]), b = clip((*ends)[i]);
    if (!narrow(s, *axis, a, b - a)) return false;
  }
  return true;
}

bool gather(Rewire& g, Strided& s, const PlanStep& step) {
  const Tensor* index = step.in.size() > 1 ? g.constant(step.in[1]) : nullptr;
  if (!index || index->size() != 1 || index->rank() > 0 || !is_integer(index->dtype()))
    return false;
  auto axis = normalize_axis(g.model.node(step.node).attr_int("axis", 0),
                             static_cast<int64_t>(s.dims.size()));
  if (!axis) return false;
  int64_t d = s.dims[static_cast<size_t>(*axis)].extent(), i = index->i64_at(0);
  if (i < 0) i += d;
  if (!narrow(s, *axis, i, 1)) return false;
  s.dims.erase(s.dims.begin() + *axis);
  return true;
}

bool expand(Strided& s, const Dims& to) {
  if (to.size() < s.dims.size()) return false;
  s.dims.insert(s.dims.begin(), to.size() - s.dims.size(), {1, 1, 0});
  for (size_t i = 0; i < to.size(); ++i) {
    StridedDim& d = s.dims[i];
    if (d.extent() == to[i]) continue;
    if (d.extent() != 1) return false;
    d = {to[i], 1, 0};
  }
  return true;
}

Strided trace(Rewire& g, int v, int hops) {
  int p = g.producer(v);
  if (hops == 0 || p < 0 || g.step(p).removed || g.step(p).dynamic || !g.step(p).node.valid() ||
      !g.step(p).post.empty() || g.step(p).program || g.step(p).in.empty() || g.step(p).in[0] < 0)
    return dense(g, v);
  const PlanStep& step = g.step(p);
  std::string_view op = step.op.view();
  if (op == "Mul" || op == "Div") {
    for (size_t i = 0; i < 2; ++i) {
      auto c = i < step.in.size() ? g.scalar(step.in[i]) : std::nullopt;
      int other = step.in[1 - i];
      if (!c || (op == "Div" && i == 0) || g.value(other).dims != g.value(v).dims || *c == 0)
        continue;
      Strided s = trace(g, other, hops - 1);
      s.scale *= op == "Div" ? 1.0 / *c : *c;
      return s;
    }
    return dense(g, v);
  }
  bool moves = op == "Transpose" || op == "Reshape" || op == "Unsqueeze" || op == "Squeeze" ||
               op == "Flatten" || op == "Identity" || op == "Split" || op == "Slice" ||
               op == "Gather" || op == "Expand";
  int from = step.in[0];
  if (!moves || !g.value(from).known || !g.value(v).known || g.value(from).dtype != DType::kFloat ||
      g.value(from).is_constant() || g.value(v).size() == 0)
    return dense(g, v);
  Strided s = trace(g, from, hops - 1);
  const Dims& to = g.value(v).dims;
  bool fine = op == "Transpose" ? transpose(s, step, g.model)
              : op == "Split"   ? split(g, s, step, v)
              : op == "Slice"   ? slice(g, s, step)
              : op == "Gather"  ? gather(g, s, step)
              : op == "Expand"  ? expand(s, to)
                                : reshape(s, to);
  if (!fine || s.dims.size() != to.size()) return dense(g, v);
  for (size_t i = 0; i < to.size(); ++i)
    if (s.dims[i].extent() != to[i]) return dense(g, v);
  return s;
}

}  // namespace

Strided trace_strided(Rewire& g, int v) { return trace(g, v, kMaxHops); }

}  // namespace onnxtool
