// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/model.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "libonnxtool/base/str.h"

namespace onnxtool {

// By hash: names that have the same one are both taken for used.
struct Model::Names {
  static size_t hash(std::string_view name) { return std::hash<std::string_view>()(name); }
  bool add(std::string_view name) { return used.insert(hash(name)).second; }
  std::unordered_set<size_t> used;
  std::unordered_map<size_t, uint32_t> next;
};

Model Model::clone() const {
  Model m;
  m.ir_version = ir_version;
  m.opset_imports = opset_imports;
  m.producer_name = producer_name;
  m.producer_version = producer_version;
  m.domain = domain;
  m.functions = functions;
  m.extra = extra;
  m.values_ = values_;
  m.nodes_ = nodes_;
  m.graphs_ = graphs_;
  return m;
}

GraphId Model::add_graph(GraphId parent, NodeId owner, int32_t function) {
  Graph g;
  g.parent = parent;
  g.owner = owner;
  g.function = function;
  if (function < 0 && parent.valid()) g.function = graphs_[parent.v].function;
  graphs_.push_back(std::move(g));
  return GraphId(static_cast<uint32_t>(graphs_.size() - 1));
}

int64_t Model::opset(GraphId g, Sym dom) const {
  const int32_t f = graph(g).function;
  const auto& imports = f >= 0 ? functions[static_cast<size_t>(f)].opset_imports : opset_imports;
  for (const OpsetImport& i : imports)
    if (i.domain == dom) return i.version;
  return 0;
}

const Function* Model::find_function(Sym dom, Sym name, std::string_view overload) const {
  for (const Function& f : functions)
    if (f.name == name.view() && f.overload == overload &&
        (f.domain == dom.view() || (dom.view().empty() && f.domain == "ai.onnx")))
      return &f;
  return nullptr;
}

// ------------------------------------------------------------------------------------ building

ValueId Model::add_input(GraphId g, std::string name, Type type) {
  const ValueId id(static_cast<uint32_t>(values_.size()));
  Value& v = values_.emplace_back();
  if (names_) names_->add(name);
  v.name = std::move(name);
  v.kind = ValueKind::kInput;
  v.type = v.declared = std::move(type);
  v.graph = g;
  graph(g).inputs.push_back(id);
  return id;
}

ValueId Model::add_undefined(GraphId g, std::string name) {
  const ValueId id(static_cast<uint32_t>(values_.size()));
  Value& v = values_.emplace_back();
  if (names_) names_->add(name);
  v.name = std::move(name);
  v.kind = ValueKind::kUndefined;
  v.graph = g;
  return id;
}

ValueId Model::add_initializer(GraphId g, std::string name, Tensor tensor) {
  const ValueId id = add_undefined(g, std::move(name));
  value(id).kind = ValueKind::kInitializer;
  graph(g).initializers.push_back(id);
  set_constant(id, std::move(tensor));
  return id;
}

void Model::set_constant(ValueId id, Tensor t) {
  Value& v = value(id);
  v.type = Type::tensor(t.dtype(), to_shape(t.dims()));
  auto c = std::make_shared<Constant>();
  c->dense.tensor = std::move(t);
  v.constant = std::move(c);
}

NodeId Model::add_node(GraphId g, Sym op, std::vector<ValueId> inputs,
                       const std::vector<std::string>& output_names, std::vector<Attribute> attrs,
                       Sym dom, size_t at) {
  const NodeId id(static_cast<uint32_t>(nodes_.size()));
  {
    Node& n = nodes_.emplace_back();
    n.op = op;
    n.domain = dom;
    n.graph = g;
    n.attrs = std::move(attrs);
    n.inputs_.resize(inputs.size());
  }
  for (const Attribute& a : node(id).attrs) {
    if (a.type == AttrType::kGraph) {
      graph(a.g()).owner = id;
      graph(a.g()).parent = g;
    }
  }
  for (uint32_t i = 0; i < inputs.size(); ++i) link(id, i, inputs[i]);
  std::vector<ValueId> outs;
  for (const std::string& name : output_names) {
    if (name.empty()) {
      outs.emplace_back();
      continue;
    }
    outs.push_back(add_undefined(g, name));
  }
  set_outputs(id, std::move(outs));
  auto& order = graph(g).nodes;
  if (at >= order.size())
    order.push_back(id);
  else
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), id);
  return id;
}

void Model::add_graph_output(GraphId g, ValueId v) {
  graph(g).outputs.push_back(v);
  graph(g).output_types.emplace_back();
  graph(g).output_info.emplace_back();
  if (v.valid()) value(v).graph_output = true;
}

// ------------------------------------------------------------------------------------ changing

void Model::link(NodeId n, uint32_t i, ValueId v) {
  Node::Slot& s = node(n).inputs_[i];
  s = {v, {}, {}};
  if (!v.valid()) return;
  Value& val = value(v);
  s.next = val.first_use;
  if (s.next.node.valid()) node(s.next.node).inputs_[s.next.index].prev = {n, i};
  val.first_use = {n, i};
  ++val.use_count;
}

void Model::unlink(NodeId n, uint32_t i) {
  Node::Slot& s = node(n).inputs_[i];
  if (!s.value.valid()) return;
  Value& val = value(s.value);
  if (s.prev.node.valid())
    node(s.prev.node).inputs_[s.prev.index].next = s.next;
  else
    val.first_use = s.next;
  if (s.next.node.valid()) node(s.next.node).inputs_[s.next.index].prev = s.prev;
  --val.use_count;
  s = {};
}

void Model::touch(NodeId n) { node(n).origin = {}; }

void Model::set_input(NodeId n, size_t i, ValueId v) {
  touch(n);
  if (i >= node(n).inputs_.size()) node(n).inputs_.resize(i + 1);
  unlink(n, static_cast<uint32_t>(i));
  link(n, static_cast<uint32_t>(i), v);
}

void Model::set_inputs(NodeId n, std::span<const ValueId> inputs) {
  const std::vector<ValueId> copy(inputs.begin(), inputs.end());
  touch(n);
  for (uint32_t i = 0; i < node(n).inputs_.size(); ++i) unlink(n, i);
  node(n).inputs_.assign(copy.size(), {});
  for (uint32_t i = 0; i < copy.size(); ++i) link(n, i, copy[i]);
}

void Model::set_outputs(NodeId n, std::vector<ValueId> outputs) {
  touch(n);
  for (ValueId old : node(n).outputs_) {
    if (!old.valid() || value(old).producer != n) continue;
    Value& v = value(old);
    v.producer = {};
    v.kind = v.use_count == 0 && !v.graph_output ? ValueKind::kNone : ValueKind::kUndefined;
  }
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].valid()) continue;
    Value& v = value(outputs[i]);
    v.kind = ValueKind::kOutput;
    v.producer = n;
    v.output_index = i;
    v.graph = node(n).graph;
  }
  node(n).outputs_ = std::move(outputs);
}

void Model::set_attr(NodeId n, Attribute a) {
  touch(n);
  if (a.type == AttrType::kGraph) {
    graph(a.g()).owner = n;
    graph(a.g()).parent = node(n).graph;
  }
  for (Attribute& old : node(n).attrs) {
    if (old.name == a.name) {
      old = std::move(a);
      return;
    }
  }
  node(n).attrs.push_back(std::move(a));
}

void Model::remove_attr(NodeId n, std::string_view name) {
  auto& attrs = node(n).attrs;
  const auto it =
      std::find_if(attrs.begin(), attrs.end(), [&](const Attribute& a) { return a.name == name; });
  if (it == attrs.end()) return;
  touch(n);
  attrs.erase(it);
}

void Model::rename(ValueId v, std::string name) {
  if (names_) names_->add(name);
  value(v).name = std::move(name);
  if (value(v).producer.valid()) touch(value(v).producer);
  for_each_use(v, [&](Use u) { touch(u.node); });
}

void Model::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  for (const Use u : uses(from)) set_input(u.node, u.index, to);
  if (!value(from).graph_output) return;
  for (Graph& g : graphs_) {
    if (g.removed) continue;
    for (ValueId& o : g.outputs)
      if (o == from) {
        o = to;
        value(to).graph_output = true;
      }
  }
  value(from).graph_output = false;
}

void Model::remove_node(NodeId first) {
  std::vector<NodeId> work{first};
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    Node& n = node(id);
    for (uint32_t i = 0; i < n.inputs_.size(); ++i) unlink(id, i);
    for (ValueId o : n.outputs_) {
      if (!o.valid() || value(o).producer != id) continue;
      Value& v = value(o);
      v.kind = ValueKind::kNone;
      v.producer = {};
    }
    for (const Attribute& a : n.attrs) {
      std::vector<GraphId> gs;
      if (a.type == AttrType::kGraph && a.ref.empty()) gs = {a.g()};
      if (a.type == AttrType::kGraphs && a.ref.empty()) gs = a.graphs();
      for (GraphId g : gs) {
        if (graph(g).owner != id) continue;  // moved to another node
        graph(g).removed = true;
        for (NodeId inner : graph(g).nodes)
          if (!node(inner).removed()) work.push_back(inner);
      }
    }
    n = Node();
  }
}

void Model::remove_value(ValueId v) {
  ONNXTOOL_CHECK(value(v).use_count == 0 && !value(v).graph_output);
  value(v).kind = ValueKind::kNone;
  value(v).constant = nullptr;
}

void Model::compact(GraphId g) {
  Graph& gr = graph(g);
  std::erase_if(gr.nodes, [&](NodeId n) { return node(n).removed(); });
  std::erase_if(gr.initializers, [&](ValueId v) {
    return value(v).kind == ValueKind::kNone || (!value(v).constant);
  });
}

// --------------------------------------------------------------------------------------- links

std::vector<Use> Model::uses(ValueId v) const {
  std::vector<Use> r;
  r.reserve(value(v).use_count);
  for_each_use(v, [&](Use u) { r.push_back(u); });
  return r;
}

const Use* Model::sole_use(ValueId v) const {
  const Value& val = value(v);
  return val.use_count == 1 && !val.graph_output ? &val.first_use : nullptr;
}

bool Model::is_inside(GraphId inner, GraphId outer) const {
  for (GraphId g = inner; g.valid(); g = graph(g).parent)
    if (g == outer) return true;
  return false;
}

bool Model::visible(ValueId v, GraphId g) const { return is_inside(g, value(v).graph); }

const Tensor* Model::constant(ValueId id) const {
  if (!id.valid()) return nullptr;
  const Value& v = value(id);
  if (v.kind == ValueKind::kInitializer)
    return v.constant && v.constant->dense.tensor.defined() ? &v.constant->dense.tensor : nullptr;
  if (v.kind == ValueKind::kOutput && node(v.producer).is("Constant"))
    return node(v.producer).attr_tensor("value");
  return nullptr;
}

std::string Model::unique_name(std::string_view hint) {
  if (!names_) {
    names_ = std::make_shared<Names>();
    for (const Value& v : values_) names_->add(v.name);
  }
  std::string base(hint.empty() ? "v" : hint);
  if (names_->add(base)) return base;
  uint32_t& k = names_->next[Names::hash(base)];
  std::string s;
  do s = base + "_" + std::to_string(++k);
  while (!names_->add(s));
  return s;
}

bool Model::name_used(std::string_view name) const {
  if (names_) return names_->used.count(Names::hash(name)) != 0;
  return std::any_of(values_.begin(), values_.end(),
                     [&](const Value& v) { return v.name == name; });
}

std::vector<ValueId> Model::captures(NodeId n) const {
  std::vector<ValueId> r;
  std::unordered_set<ValueId> seen;
  std::vector<GraphId> work;
  const auto push_graphs = [&](const Node& nd) {
    for (const Attribute& a : nd.attrs) {
      if (!a.ref.empty()) continue;
      if (a.type == AttrType::kGraph) work.push_back(a.g());
      if (a.type == AttrType::kGraphs)
        work.insert(work.end(), a.graphs().begin(), a.graphs().end());
    }
  };
  push_graphs(node(n));
  std::vector<bool> inside(graphs_.size());  // a graph is seen after those around it
  while (!work.empty()) {
    const GraphId id = work.back();
    const Graph& g = graph(id);
    work.pop_back();
    inside[id.v] = true;
    const auto take = [&](ValueId v) {
      if (v.valid() && !(value(v).graph.valid() && inside[value(v).graph.v]) &&
          seen.insert(v).second)
        r.push_back(v);
    };
    for (NodeId inner : g.nodes) {
      const Node& nd = node(inner);
      if (nd.removed()) continue;
      for (size_t i = 0; i < nd.num_inputs(); ++i) take(nd.input(i));
      push_graphs(nd);
    }
    for (ValueId o : g.outputs) take(o);
  }
  return r;
}

Result<std::vector<NodeId>> Model::topological_order(GraphId g) const {
  // Kahn's algorithm that keeps the given order where it is already good: a node is emitted as
  // soon as all its producers in this graph have been.
  const Graph& gr = graph(g);
  std::unordered_map<NodeId, uint32_t> missing;
  std::unordered_map<NodeId, std::vector<NodeId>> waiting;
  std::unordered_set<NodeId> done;
  std::vector<NodeId> order;
  order.reserve(gr.nodes.size());
  std::vector<NodeId> ready;
  const auto needs = [&](NodeId id, auto f) {
    const Node& n = node(id);
    const auto one = [&](ValueId v) {
      if (v.valid() && value(v).producer.valid() && value(v).graph == g) f(value(v).producer);
    };
    for (size_t i = 0; i < n.num_inputs(); ++i) one(n.input(i));
    if (n.has_subgraphs())
      for (ValueId v : captures(id)) one(v);
  };
  for (NodeId id : gr.nodes) {
    if (node(id).removed()) continue;
    uint32_t count = 0;
    needs(id, [&](NodeId p) {
      if (done.count(p)) return;
      ++count;
      waiting[p].push_back(id);
    });
    if (count) {
      missing[id] = count;
      continue;
    }
    ready.push_back(id);
    while (!ready.empty()) {
      const NodeId r = ready.back();
      ready.pop_back();
      order.push_back(r);
      done.insert(r);
      const auto it = waiting.find(r);
      if (it == waiting.end()) continue;
      for (auto w = it->second.rbegin(); w != it->second.rend(); ++w)
        if (--missing[*w] == 0) {
          missing.erase(*w);
          ready.push_back(*w);
        }
      waiting.erase(it);
    }
  }
  for (NodeId id : gr.nodes)
    if (missing.count(id)) return invalid(format("graph has a cycle through {}", describe(id)));
  return order;
}

std::string Model::describe(NodeId id) const {
  const Node& n = node(id);
  std::string op = n.domain.view().empty() ? n.op.str() : n.domain.str() + "." + n.op.str();
  if (!n.name.empty()) return format("node {} ({})", quoted(n.name), escape(op));
  for (ValueId o : n.outputs())
    if (o.valid()) return format("node making {} ({})", quoted(value(o).name), escape(op));
  return format("node ({})", escape(op));
}

std::string Model::describe(ValueId id) const {
  if (!id.valid()) return "no value";
  const Value& v = value(id);
  return quoted(v.name) + " " + v.type.text();
}

}  // namespace onnxtool
