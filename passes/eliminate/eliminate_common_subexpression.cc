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

// Two nodes with equal keys give equal results; false: not compared. `key` is a buffer.
bool key_of(const Node& n, std::string& key) {
  key.clear();
  if (n.version == 0 || n.num_inputs() == 0 || n.has_subgraphs()) return false;
  const OpDef* def = find_op(n);
  if (!def || (def->flags & (kRandom | kControlFlow))) return false;
  const Schema* s = find_schema(n.domain.view(), n.op.view(), n.version);
  if (!s || !s->deterministic) return false;
  put(key, n.op.view().data());
  put(key, n.domain.view().data());
  put(key, n.version);
  put(key, n.num_inputs());
  uint32_t first = n.input(0).v, second = n.input(1).v;
  if ((def->flags & kCommutative) && n.num_inputs() == 2 && second < first)
    std::swap(first, second);
  put(key, first);
  put(key, second);
  for (size_t i = 2; i < n.num_inputs(); ++i) put(key, n.input(i).v);
  std::vector<const Attribute*> attrs;
  for (const Attribute& a : n.attrs) attrs.push_back(&a);
  std::sort(attrs.begin(), attrs.end(), [](auto* a, auto* b) { return a->name < b->name; });
  for (const Attribute* a : attrs)
    if (!put_attribute(key, *a)) return false;
  return true;
}

// The outputs of `by` take the place of those of `id`; no replacement: they do not fit.
Edit merge(const Model& m, NodeId id, NodeId by) {
  Edit edit;
  edit.at = id;
  edit.remove = {id};
  edit.note = "computed twice";
  for (size_t i = 0; i < m.node(id).num_outputs(); ++i) {
    const ValueId out = m.node(id).output(i);
    if (!out.valid() || (m.value(out).use_count == 0 && !m.value(out).graph_output)) continue;
    if (!m.node(by).has_output(i)) return {};
    edit.replace_output(out, m.node(by).output(i));
  }
  return edit;
}

// Nodes by hash of their key, of the graphs around the one looked at.
using Seen = std::unordered_multimap<uint64_t, NodeId>;

// Merges nodes of one graph with those seen; what it adds to `seen` is noted in `added`.
void merge_in_graph(const Model& m, GraphId g, const EditSink& apply, Seen& seen,
                    std::vector<Seen::iterator>& added) {
  std::string key, other_key;
  const std::vector<NodeId> nodes = m.graph(g).nodes;
  for (NodeId id : nodes) {
    if (m.node(id).removed() || !key_of(m.node(id), key)) continue;
    const uint64_t hash = std::hash<std::string>()(key);
    bool merged = false;
    const auto [begin, end] = seen.equal_range(hash);
    for (auto it = begin; it != end && !merged; ++it) {
      const Node& other = m.node(it->second);
      // Its inputs may have changed since it was noted.
      if (other.removed() || !key_of(other, other_key) || other_key != key) continue;
      Edit edit = merge(m, id, it->second);
      if (!edit.replace.empty()) merged = apply(std::move(edit));
    }
    if (!merged) added.push_back(seen.emplace(hash, id));
  }
}

Status run(const PassContext& ctx, const EditSink& apply) {
  const Model& m = ctx.model();
  std::vector<std::vector<GraphId>> inner(m.num_graphs());
  struct Level {
    GraphId graph;
    size_t next = 0;  // of its inner graphs
    std::vector<Seen::iterator> added;
  };
  std::vector<Level> levels;
  for (uint32_t g = 0; g < m.num_graphs(); ++g) {
    const Graph& graph = m.graph(GraphId(g));
    if (!graph.removed && graph.function < 0 && graph.parent.valid())
      inner[graph.parent.v].push_back(GraphId(g));
  }
  Seen seen;
  seen.reserve(m.num_nodes());
  const auto enter = [&](GraphId g) {
    levels.push_back({g, 0, {}});
    merge_in_graph(m, g, apply, seen, levels.back().added);
  };
  enter(m.main());
  while (!levels.empty()) {
    Level& top = levels.back();
    if (top.next < inner[top.graph.v].size()) {
      const GraphId g = inner[top.graph.v][top.next++];
      if (!m.graph(g).removed) enter(g);
      continue;
    }
    if (levels.size() > 1)
      for (auto it : top.added) seen.erase(it);
    levels.pop_back();
  }
  return ok();
}

}  // namespace

extern const Pass pass_eliminate_common_subexpression;
const Pass pass_eliminate_common_subexpression = {
    .name = "eliminate-common-subexpression",
    .summary = "computes once what several nodes compute alike",
    .doc =
        "Two nodes of the same operator with the same inputs and attributes give one. Nodes in "
        "bodies may share what\n"
        "an outer graph computes. Random operators, nodes with bodies, quantization and operators "
        "that onnxtool does\n"
        "not know are left alone.",
    .run = run,
};

}  // namespace onnxtool
