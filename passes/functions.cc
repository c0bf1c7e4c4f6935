// SPDX-License-Identifier: Apache-2.0
#include "passes/functions.h"

#include <map>
#include <tuple>
#include <vector>

namespace onnxtool {
namespace {

using Key = std::tuple<std::string, std::string, std::string>;

// Which functions are called from outside of functions, directly or not.
std::vector<bool> called_functions(const Model& m) {
  std::map<Key, std::vector<uint32_t>> by_name;
  for (uint32_t f = 0; f < m.functions.size(); ++f) {
    const Function& fn = m.functions[f];
    by_name[{fn.domain == "ai.onnx" ? "" : fn.domain, fn.name, fn.overload}].push_back(f);
  }
  std::vector<bool> called(m.functions.size());
  std::vector<std::vector<uint32_t>> calls(m.functions.size());
  std::vector<uint32_t> work;
  for (uint32_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(i));
    if (n.removed()) continue;
    const auto it = by_name.find({n.domain.str(), n.op.str(), n.overload});
    if (it == by_name.end()) continue;
    const int32_t inside = m.graph(n.graph).function;
    auto& to = inside < 0 ? work : calls[static_cast<size_t>(inside)];
    to.insert(to.end(), it->second.begin(), it->second.end());
  }
  while (!work.empty()) {
    const uint32_t f = work.back();
    work.pop_back();
    if (called[f]) continue;
    called[f] = true;
    work.insert(work.end(), calls[f].begin(), calls[f].end());
  }
  return called;
}

}  // namespace

int drop_unused_functions(Model& m) {
  if (m.functions.empty()) return 0;
  const std::vector<bool> called = called_functions(m);
  std::vector<int32_t> moved(called.size(), -1);
  std::vector<Function> kept;
  for (size_t f = 0; f < called.size(); ++f) {
    if (called[f]) {
      moved[f] = static_cast<int32_t>(kept.size());
      kept.push_back(std::move(m.functions[f]));
    }
  }
  const int dropped = static_cast<int>(called.size() - kept.size());
  for (uint32_t g = 0; g < m.num_graphs() && dropped > 0; ++g) {
    Graph& graph = m.graph(GraphId(g));
    if (graph.function < 0) continue;
    const int32_t to = moved[static_cast<size_t>(graph.function)];
    if (to < 0) {
      const std::vector<NodeId> nodes = graph.nodes;
      for (NodeId n : nodes)
        if (!m.node(n).removed()) m.remove_node(n);
      m.graph(GraphId(g)).removed = true;
    }
    m.graph(GraphId(g)).function = to;
  }
  m.functions = std::move(kept);
  return dropped;
}

}  // namespace onnxtool
