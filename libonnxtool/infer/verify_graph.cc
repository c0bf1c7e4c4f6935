// SPDX-License-Identifier: Apache-2.0
// Names, definitions, scopes and the order of nodes (verifier.h).
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/verifier.h"

namespace onnxtool {
namespace verifying {
namespace {

constexpr int kMaxDepth = 100;

template <typename F>
void for_each_graph(const Node& node, F f) {
  for (const Attribute& a : node.attrs) {
    if (std::holds_alternative<GraphId>(a.value)) f(a.g());
    if (std::holds_alternative<std::vector<GraphId>>(a.value))
      for (GraphId g : a.graphs()) f(g);
  }
}

}  // namespace

void Verifier::define(GraphId g, ValueId v, std::unordered_map<std::string_view, ValueId>& names) {
  const Value& value = model.value(v);
  auto what = [&](const Value& x) -> std::string {
    if (x.kind == ValueKind::kOutput) return "output of " + model.describe(x.producer);
    return x.kind == ValueKind::kInput ? "input" : "initializer";
  };
  auto [it, fresh] = names.emplace(value.name, v);
  if (!fresh && !value.name.empty())
    add("E103",
        format("{} is defined twice: {} and {}", quoted(value.name), what(model.value(it->second)),
               what(value)),
        place(g), g, value.producer, v);
  if (!fresh || value.name.empty() || !scope_.count(value.name)) return;
  if (value.kind == ValueKind::kOutput)
    add("E108", value.producer,
        format("output {} has the name of a value around the graph", quoted(value.name)), v);
  else
    add("W114",
        format("{} {} has the name of a value around the graph", what(value), quoted(value.name)),
        place(g), g, {}, v);
}

void Verifier::check_use(GraphId g, NodeId n, ValueId v, const std::string& as) {
  if (!v.valid() || defined_[v.v]) return;
  const Value& value = model.value(v);
  const bool ahead = value.kind == ValueKind::kOutput && model.is_inside(g, value.graph);
  if (ahead) {
    if (unordered_.insert(value.graph.v).second) check_order(value.graph);
    return;
  }
  std::string message = format("{} {} is not defined", as, quoted(value.name));
  if (value.kind != ValueKind::kUndefined && value.kind != ValueKind::kNone && value.graph.valid())
    message += format(" here: {} is not visible", place(value.graph));
  if (n.valid())
    add("E104", n, std::move(message), v);
  else
    add("E104", std::move(message), place(g), g, {}, v);
}

// A graph in which something is used before its definition: a cycle, or the wrong order.
void Verifier::check_order(GraphId g) {
  const std::vector<NodeId> cycle = find_cycle(model, g);
  if (!cycle.empty()) {
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(cycle.size(), 5); ++i)
      names += (i ? ", " : "") + model.describe(cycle[i]);
    if (cycle.size() > 5) names += format(" and {} more", cycle.size() - 5);
    add("E105", cycle[0], "depends on its own result: " + names);
    return;
  }
  // The first node that stands too early.
  std::unordered_set<uint32_t> done;
  for (NodeId id : model.graph(g).nodes) {
    const Node& node = model.node(id);
    if (node.removed()) continue;
    auto late = [&](ValueId v) {
      return v.valid() && model.value(v).kind == ValueKind::kOutput && model.value(v).graph == g &&
             !done.count(model.value(v).producer.v);
    };
    std::vector<ValueId> used;
    for (size_t i = 0; i < node.num_inputs(); ++i) used.push_back(node.input(i));
    if (node.has_subgraphs())
      for (ValueId v : model.captures(id)) used.push_back(v);
    for (ValueId v : used) {
      if (!late(v)) continue;
      add("E106", id,
          format("uses {} before {} computes it", quoted(model.value(v).name),
                 model.describe(model.value(v).producer)),
          v);
      return;
    }
    done.insert(id.v);
  }
}

void Verifier::check_graph(GraphId g, int depth) {
  if (full() || !g.valid() || g.v >= model.num_graphs()) return;
  const Graph& graph = model.graph(g);
  if (depth > kMaxDepth) {
    add("E104", format("graphs are nested deeper than {}: not looked at", kMaxDepth), place(g), g);
    return;
  }
  const bool main = g == model.main();
  if (graph.name.empty() && (graph.function < 0 || graph.owner.valid()))
    add("E107", "has no name", place(g), g);

  std::unordered_map<std::string_view, ValueId> names;
  names.reserve(graph.nodes.size() + graph.initializers.size());
  std::vector<ValueId> mine;
  auto enter = [&](ValueId v) {
    define(g, v, names);
    defined_[v.v] = true;
    mine.push_back(v);
  };
  for (ValueId v : graph.inputs) {
    enter(v);
    const Value& value = model.value(v);
    if (value.constant) {
      check_initializer(g, v);
      if (!main && model.ir_version >= 4)
        add("E113", format("input {} is an initializer as well", quoted(value.name)), place(g), g,
            {}, v);
    }
  }
  for (ValueId v : graph.initializers) {
    const Value& value = model.value(v);
    if (value.kind != ValueKind::kInitializer) continue;
    enter(v);
    check_initializer(g, v);
    if (main && model.ir_version < 4 && !value.lifted)
      add("E112", format("initializer {} is not an input", quoted(value.name)), place(g), g, {}, v);
  }
  std::unordered_set<std::string_view> node_names;
  size_t repeated = 0;
  NodeId repeats;
  std::vector<std::string_view> added;  // names of this graph, as its bodies see them
  for (const auto& [name, v] : names) added.push_back(name);
  const bool bodies = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                                  [&](NodeId n) { return model.node(n).has_subgraphs(); });
  if (!bodies) added.clear();
  for (std::string_view name : added) ++scope_[name];
  for (NodeId n : graph.nodes) {
    const Node& node = model.node(n);
    if (node.removed()) continue;
    if (full()) break;
    if (!node.name.empty() && !node_names.insert(node.name).second && repeated++ == 0) repeats = n;
    for (size_t i = 0; i < node.num_inputs(); ++i)
      if (node.has_input(i) && !defined_[node.input(i).v])
        check_use(g, n, node.input(i), format("input {}", i));
    check_node(n);
    for_each_graph(node, [&](GraphId inner) { check_graph(inner, depth + 1); });
    for (ValueId v : node.outputs()) {
      if (!v.valid()) continue;
      enter(v);
      if (!bodies) continue;
      const std::string_view name = model.value(v).name;
      added.push_back(name);
      ++scope_[name];
    }
  }
  if (repeated)
    add("W115", repeats,
        repeated == 1
            ? "another node has the same name"
            : format("another node has the same name, as have {} more pairs", repeated - 1));
  std::unordered_set<uint32_t> outputs;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const ValueId v = graph.outputs[i];
    check_use(g, {}, v, format("output {}", i));
    if (v.valid() && !outputs.insert(v.v).second && graph.function < 0)
      add("W116", format("output {} is listed twice", quoted(model.value(v).name)), place(g), g, {},
          v);
  }
  if (main && graph.outputs.empty()) add("W117", "has no outputs", place(g), g);
  for (ValueId v : mine) defined_[v.v] = false;
  for (std::string_view name : added)
    if (auto it = scope_.find(name); it != scope_.end() && --it->second == 0) scope_.erase(it);
}

}  // namespace verifying

std::vector<NodeId> find_cycle(const Model& model, GraphId g) {
  // Depth first over producers, with an explicit stack: 1 = on the path, 2 = done.
  std::unordered_map<uint32_t, int> mark;
  std::unordered_map<uint32_t, std::vector<NodeId>> needs;
  auto producers = [&](NodeId n) -> std::vector<NodeId>& {
    auto [it, fresh] = needs.try_emplace(n.v);
    if (fresh) {
      auto take = [&, &found = it->second](ValueId v) {
        if (v.valid() && model.value(v).kind == ValueKind::kOutput && model.value(v).graph == g)
          found.push_back(model.value(v).producer);
      };
      const Node& node = model.node(n);
      for (size_t i = 0; i < node.num_inputs(); ++i) take(node.input(i));
      if (node.has_subgraphs())
        for (ValueId v : model.captures(n)) take(v);
    }
    return it->second;
  };
  for (NodeId start : model.graph(g).nodes) {
    if (model.node(start).removed() || mark.count(start.v)) continue;
    std::vector<std::pair<NodeId, size_t>> path{{start, 0}};
    mark[start.v] = 1;
    while (!path.empty()) {
      auto& [n, next] = path.back();
      const std::vector<NodeId>& list = producers(n);
      if (next == list.size()) {
        mark[n.v] = 2;
        path.pop_back();
        continue;
      }
      const NodeId p = list[next++];
      const int seen = mark.count(p.v) ? mark[p.v] : 0;
      if (seen == 0) {
        mark[p.v] = 1;
        path.emplace_back(p, 0);
      } else if (seen == 1) {
        std::vector<NodeId> cycle;
        auto it =
            std::find_if(path.begin(), path.end(), [&](const auto& e) { return e.first == p; });
        for (; it != path.end(); ++it) cycle.push_back(it->first);
        std::reverse(cycle.begin(), cycle.end());
        return cycle;
      }
    }
  }
  return {};
}

Result<int> sort_nodes(Model& model) {
  int changed = 0;
  for (uint32_t g = 0; g < model.num_graphs(); ++g) {
    Graph& graph = model.graph(GraphId(g));
    if (graph.removed) continue;
    auto order = model.topological_order(GraphId(g));
    if (!order.ok()) {
      std::string names;
      for (NodeId n : find_cycle(model, GraphId(g))) {
        if (names.size() > 200) {
          names += ", ...";
          break;
        }
        names += (names.empty() ? "" : ", ") + model.describe(n);
      }
      return invalid("nodes depend on their own results: " + names);
    }
    std::vector<NodeId> before;
    for (NodeId n : graph.nodes)
      if (!model.node(n).removed()) before.push_back(n);
    if (before == *order) continue;
    graph.nodes = std::move(*order);
    ++changed;
  }
  return changed;
}

}  // namespace onnxtool
