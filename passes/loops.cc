// SPDX-License-Identifier: Apache-2.0
#include "passes/loops.h"

#include <algorithm>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/schema.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

// The condition that a body gives is always true: it hands on the one it gets, or a constant.
bool always_true(const PassContext& ctx, const Graph& body) {
  ValueId v = body.outputs[0];
  for (int i = 0; i < 8; ++i) {
    if (v == body.inputs[1]) return true;
    if (const auto c = number(ctx, v)) return *c != 0;
    const NodeId id = ctx.producer(v, "Identity");
    if (!id.valid()) return false;
    v = ctx.node(id).input(0);
  }
  return false;
}

// Why a node of the body cannot be copied; nullptr: it can.
const char* no_copy(const PassContext& ctx, NodeId id) {
  const Node& n = ctx.node(id);
  if (n.has_subgraphs()) return "the body holds graphs";
  const Schema* s = find_schema(n.domain.view(), n.op.view(), newest_opset(n.domain.view()));
  if (!s || s->since_version != n.version)
    return "the body has an operator in a form of its own version";
  const OpDef* def = find_op(n);
  if (def && (def->flags & kRandom)) return "the body draws random numbers";
  return nullptr;
}

Tensor scalar(DType t, int64_t v, const Dims& dims) {
  auto r = Tensor::from_i64(t, dims, {&v, 1});
  return r.ok() ? std::move(*r) : Tensor();
}

// What Loop and Scan have in common.
struct Trips {
  GraphId body;
  int64_t count = 0;
  size_t carried = 0;
  size_t first_in = 0, first_out = 0;  // carried values of the body; those of the node: first_in
  // What is taken apart, behind the carried values, and what is put together: axis, and whether
  // from the last one on.
  std::vector<std::pair<int64_t, bool>> taken, put;
};

// Nothing: read.
std::optional<Match> read_loop(const PassContext& ctx, const Node& n, int64_t max_trips, Trips& t) {
  const Graph& body = ctx.model().graph(t.body);
  if (body.inputs.size() < 2 || body.outputs.empty() || n.num_inputs() != body.inputs.size())
    return NoMatch{};
  t.carried = n.num_inputs() - 2;
  t.first_in = 2;
  t.first_out = 1;
  if (body.outputs.size() < 1 + t.carried) return NoMatch{};
  const auto trips = n.has_input(0) ? ctx.ints(n.input(0)) : std::nullopt;
  if (!trips || trips->size() != 1) return refuse("the number of trips is not known");
  t.count = std::max<int64_t>(trips->front(), 0);
  if (n.has_input(1)) {
    const auto c = number(ctx, n.input(1));
    if (!c) return refuse("the condition is not known");
    if (*c == 0) t.count = 0;
  }
  t.put.assign(body.outputs.size() - 1 - t.carried, {0, false});
  if (t.count > 0 && t.count <= max_trips && !always_true(ctx, body))
    return refuse("the body may end the loop");
  return std::nullopt;
}

std::optional<Match> read_scan(const PassContext& ctx, const Node& n, Trips& t) {
  const Graph& body = ctx.model().graph(t.body);
  const auto taken = static_cast<size_t>(std::max<int64_t>(n.attr_int("num_scan_inputs", 0), 0));
  if (n.version < 9 || taken == 0 || n.num_inputs() != body.inputs.size() ||
      n.num_inputs() < taken || body.outputs.size() < n.num_inputs() - taken)
    return NoMatch{};
  t.carried = n.num_inputs() - taken;
  const auto read = [&](const char* axes, const char* directions, size_t i, ValueId v,
                        std::vector<std::pair<int64_t, bool>>& to) {
    const auto *a = n.attr_ints(axes), *d = n.attr_ints(directions);
    const Shape* shape = v.valid() ? ctx.shape(v) : nullptr;
    int64_t axis = a && i < a->size() ? (*a)[i] : 0;
    if (axis < 0) axis = shape ? axis + static_cast<int64_t>(shape->size()) : -1;
    if (shape && axis >= static_cast<int64_t>(shape->size())) axis = -1;
    to.emplace_back(axis, d && i < d->size() && (*d)[i] != 0);
    return axis >= 0 && (shape || &to == &t.put);
  };
  for (size_t i = 0; i < taken; ++i) {
    const ValueId v = n.input(t.carried + i);
    if (!read("scan_input_axes", "scan_input_directions", i, v, t.taken))
      return refuse("the number of trips is not known");
    const Dim d = (*ctx.shape(v))[static_cast<size_t>(t.taken[i].first)];
    if (!d.is_const() || (i > 0 && d.value() != t.count))
      return refuse("the number of trips is not known");
    t.count = d.value();
  }
  for (size_t i = 0; i < body.outputs.size() - t.carried; ++i)
    if (!read("scan_output_axes", "scan_output_directions", i,
              t.carried + i < n.num_outputs() ? n.output(t.carried + i) : ValueId(), t.put))
      return refuse("an axis of a result is not known");
  return std::nullopt;
}

}  // namespace

Match unroll_loop(const PassContext& ctx, NodeId root, int64_t max_trips, int64_t max_nodes) {
  const Node& n = ctx.node(root);
  const Model& m = ctx.model();
  Trips t;
  const GraphId g = t.body = n.attr_graph("body");
  if (!n.domain.view().empty() || n.version == 0 || !g.valid()) return NoMatch{};
  const auto not_read = n.is("Scan") ? read_scan(ctx, n, t) : read_loop(ctx, n, max_trips, t);
  if (not_read) return *not_read;
  const Graph& body = m.graph(g);
  const size_t carried = t.carried;
  const int64_t count = t.count;
  if (count > max_trips) return refuse(format("it takes {} trips", count));
  std::vector<NodeId> nodes;
  auto order = m.topological_order(g);
  if (!order.ok()) return NoMatch{};
  for (NodeId id : *order) {
    if (m.node(id).removed()) continue;
    if (const char* why = no_copy(ctx, id)) return refuse(why);
    nodes.push_back(id);
  }
  if (count * static_cast<int64_t>(nodes.size() + t.taken.size()) > max_nodes)
    return refuse(format("{} trips of {} nodes are too many", count, nodes.size()));
  if (count == 0 && !t.put.empty())
    return refuse("it takes no trip, and results of trips are put together");

  Edit edit;
  edit.at = root;
  std::unordered_map<uint32_t, EditValue> fixed;  // constants of the body
  const auto constant_of = [&](ValueId v) -> const EditValue& {
    const auto [it, fresh] = fixed.try_emplace(v.v);
    if (fresh) it->second = edit.constant(*m.constant(v), m.value(v).name);
    return it->second;
  };
  std::vector<EditValue> state;
  for (size_t i = 0; i < carried; ++i) state.emplace_back(n.input(t.first_in + i));
  std::vector<std::vector<EditValue>> scans(t.put.size());
  bool missing = false;  // a value that could not be handed over
  for (int64_t trip = 0; trip < count; ++trip) {
    std::unordered_map<uint32_t, EditValue> made;
    const auto value = [&](ValueId v) -> EditValue {
      if (!v.valid()) return {};
      if (const auto it = made.find(v.v); it != made.end()) return it->second;
      if (m.value(v).graph != g) return v;  // captured
      if (m.constant(v)) return constant_of(v);
      if (t.first_in > 0 && v == body.inputs[0])
        return made[v.v] = edit.constant(scalar(DType::kInt64, trip, {}), m.value(v).name);
      if (t.first_in > 0 && v == body.inputs[1])
        return made[v.v] = edit.constant(scalar(DType::kBool, 1, {}), m.value(v).name);
      missing = true;
      return {};
    };
    for (size_t i = 0; i < carried; ++i) made[body.inputs[t.first_in + i].v] = state[i];
    for (size_t i = 0; i < t.taken.size(); ++i) {
      const auto& [axis, reversed] = t.taken[i];
      const int64_t at = reversed ? count - 1 - trip : trip;
      made[body.inputs[carried + i].v] =
          edit.add("Gather", {n.input(carried + i), edit.constant(scalar(DType::kInt64, at, {}))},
                   {Attribute::of("axis", axis)});
    }
    for (NodeId id : nodes) {
      const Node& from = m.node(id);
      if (from.has_output(0) && m.constant(from.output(0))) continue;
      std::vector<EditValue> inputs;
      for (size_t i = 0; i < from.num_inputs(); ++i) inputs.push_back(value(from.input(i)));
      EditValue v = edit.add(from.op, std::move(inputs), from.attrs, from.domain);
      edit.nodes.back().num_outputs = from.num_outputs();
      edit.nodes.back().like = id;
      for (size_t i = 0; i < from.num_outputs(); ++i) {
        v.output = static_cast<uint32_t>(i);
        if (from.has_output(i)) made[from.output(i).v] = v;
      }
    }
    std::vector<EditValue> next;
    for (size_t i = 0; i < carried; ++i) next.push_back(value(body.outputs[t.first_out + i]));
    for (size_t i = 0; i < scans.size(); ++i)
      scans[i].push_back(value(body.outputs[t.first_out + carried + i]));
    state = std::move(next);
    if (missing) return refuse("the body has a constant that is not dense");
    for (const EditValue& v : state)
      if (v.kind == EditValue::Kind::kNone) return NoMatch{};
  }
  for (size_t i = 0; i < carried && i < n.num_outputs(); ++i)
    if (n.has_output(i)) edit.replace_output(n.output(i), state[i]);
  for (size_t i = 0; i < scans.size(); ++i) {
    if (!n.has_output(carried + i)) continue;
    const auto& [axis, reversed] = t.put[i];
    if (reversed) std::reverse(scans[i].begin(), scans[i].end());
    const EditValue at = edit.constant(scalar(DType::kInt64, axis, {1}));
    std::vector<EditValue> parts;
    for (const EditValue& v : scans[i]) parts.push_back(edit.add("Unsqueeze", {v, at}));
    edit.replace_output(n.output(carried + i),
                        parts.size() == 1
                            ? parts[0]
                            : edit.add("Concat", std::move(parts), {Attribute::of("axis", axis)}));
  }
  edit.note = format("{} trips", count);
  return edit;
}

}  // namespace onnxtool
