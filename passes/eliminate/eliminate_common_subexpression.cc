// SPDX-License-Identifier: Apache-2.0
// eliminate-common-subexpression: of nodes that compute the same, one is left.
#include <algorithm>
#include <unordered_map>

#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

template <typename T>
void put(std::string& key, const T& v) {
  key.append(reinterpret_cast<const char*>(&v), sizeof v);
}

void put(std::string& key, const std::string& s) {
  put(key, s.size());
  key += s;
}

// Appends what makes an attribute equal to another one; false: not compared.
bool put_attribute(std::string& key, const Attribute& a) {
  if (!a.ref.empty()) return false;
  put(key, a.name);
  put(key, a.type);
  const auto list = [&](const auto& v) {
    put(key, v.size());
    for (const auto& x : v) put(key, x);
    return true;
  };
  switch (a.type) {
    case AttrType::kFloat: put(key, a.f()); return true;
    case AttrType::kInt: put(key, a.i()); return true;
    case AttrType::kString: put(key, a.s()); return true;
    case AttrType::kFloats: return list(a.floats());
    case AttrType::kInts: return list(a.ints());
    case AttrType::kStrings: return list(a.strings());
    case AttrType::kTensor: {
      const Tensor& t = a.t();
      if (t.is_string() || t.bytes() > 4096) return false;
      put(key, t.dtype());
      list(t.dims());
      key.append(reinterpret_cast<const char*>(t.raw()), t.bytes());
      return true;
    }
    default: return false;
  }
}

// Two nodes with equal keys give equal results; empty: not known.
std::string key_of(const Model& m, const Node& n) {
  const OpDef* def = find_op(n);
  const Schema* s = find_schema(n.domain.view(), n.op.view(), n.version);
  if (n.version == 0 || !def || !s || !s->deterministic || (def->flags & (kRandom | kControlFlow)) || n.has_subgraphs()) return {};
  if (n.num_inputs() == 0) return {};
  std::string key;
  put(key, n.op.view().data());
  put(key, n.domain.view().data());
  put(key, n.version);
  std::vector<uint32_t> inputs;
  for (size_t i = 0; i < n.num_inputs(); ++i) inputs.push_back(n.input(i).v);
  if ((def->flags & kCommutative) && inputs.size() == 2) std::sort(inputs.begin(), inputs.end());
  put(key, inputs.size());
  for (uint32_t v : inputs) put(key, v);
  std::vector<const Attribute*> attrs;
  for (const Attribute& a : n.attrs) attrs.push_back(&a);
  std::sort(attrs.begin(), attrs.end(), [](auto* a, auto* b) { return a->name < b->name; });
  for (const Attribute* a : attrs)
    if (!put_attribute(key, *a)) return {};
  (void)m;
  return key;
}

Status run(const PassContext& ctx, const EditSink& apply) {
  const Model& m = ctx.model();
  std::unordered_map<std::string, std::vector<NodeId>> seen;
  for (uint32_t g = 0; g < m.num_graphs(); ++g) {
    const Graph& graph = m.graph(GraphId(g));
    if (graph.removed || graph.function >= 0) continue;
    auto order = m.topological_order(GraphId(g));
    if (!order.ok()) return std::move(order).error();
    for (NodeId id : *order) {
      const Node& n = m.node(id);
      if (n.removed()) continue;
      std::string key = key_of(m, n);
      if (key.empty()) continue;
      std::vector<NodeId>& same = seen[std::move(key)];
      bool merged = false;
      for (NodeId other : same) {
        const Node& o = m.node(other);
        if (o.removed() || !m.is_inside(n.graph, o.graph)) continue;
        Edit edit;
        edit.at = id;
        edit.remove = {id};
        bool fits = true;
        for (size_t i = 0; i < n.num_outputs(); ++i) {
          if (!n.has_output(i)) continue;
          const Value& v = m.value(n.output(i));
          if (v.use_count == 0 && !v.graph_output) continue;
          fits = fits && o.has_output(i);
          if (fits) edit.replace_output(n.output(i), o.output(i));
        }
        if (!fits || edit.replace.empty()) continue;
        edit.note = "computed twice";
        merged = apply(std::move(edit));
        if (merged) break;
      }
      if (!merged) same.push_back(id);
    }
  }
  return ok();
}

}  // namespace

extern const Pass pass_eliminate_common_subexpression;
const Pass pass_eliminate_common_subexpression = {
    .name = "eliminate-common-subexpression",
    .summary = "computes once what several nodes compute alike",
    .doc = "Two nodes of the same operator with the same inputs and attributes give one. Nodes in bodies may share what\n"
           "an outer graph computes. Random operators, nodes with bodies, quantization and operators that onnxtool does\n"
           "not know are left alone.",
    .run = run,
};

}  // namespace onnxtool
