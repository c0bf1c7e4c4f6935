// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/rewrite/quantization.h"

#include <unordered_set>

namespace onnxtool::rewrite {
namespace {

bool quantizes(const Node& n) {
  const std::string_view op = n.op.view();
  if (op == "MatMulNBits") return n.attr_int("accuracy_level", 0) == 4;  // activations in 8 bits
  return op == "QuantizeLinear" || op.starts_with("DynamicQuantize");
}

// The node of the main graph that n is, or is inside of.
NodeId outermost(const Model& m, NodeId n) {
  for (NodeId owner = n; owner.valid(); owner = m.graph(m.node(n).graph).owner) n = owner;
  return n;
}

}  // namespace

void QuantizationMap::build(const Model& m) {
  any_ = false;
  marked_.assign(m.num_nodes(), false);
  for (uint32_t i = 0; i < m.num_nodes(); ++i) {
    if (m.node(NodeId(i)).removed() || !quantizes(m.node(NodeId(i)))) continue;
    any_ = marked_[outermost(m, NodeId(i)).v] = true;
  }
  if (!any_) return;
  const std::vector<NodeId>& nodes = m.graph(m.main()).nodes;
  for (auto n = nodes.rbegin(); n != nodes.rend(); ++n)
    for (ValueId v : m.node(*n).outputs())
      if (v.valid())
        m.for_each_use(v, [&](Use u) {
          if (marked_[outermost(m, u.node).v]) marked_[n->v] = true;
        });
}

bool QuantizationMap::behind(const Model& m, ValueId first) const {
  if (!any_) return false;
  std::vector<ValueId> work{first};
  std::unordered_set<uint32_t> seen;
  bool found = false;
  const auto pass = [&](NodeId inner) {
    const NodeId n = outermost(m, inner);
    if (n.v < marked_.size())
      found = found || marked_[n.v];
    else if (seen.insert(n.v).second)
      for (ValueId v : m.node(n).outputs())
        if (v.valid()) work.push_back(v);
  };
  while (!work.empty() && !found) {
    const ValueId v = work.back();
    work.pop_back();
    if (const NodeId owner = m.graph(m.value(v).graph).owner; owner.valid())
      pass(owner);
    else
      m.for_each_use(v, [&](Use u) { pass(u.node); });
  }
  return found;
}

}  // namespace onnxtool::rewrite
