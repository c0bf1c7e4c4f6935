// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/inline.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/bind.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

// Nodes nested in bodies of bodies: the reader's limit of nesting bounds the recursion below, and
// calls are taken from a list, not by recursion.
class Inliner {
 public:
  Inliner(Model& m, const InlineOptions& o) : m_(m), options_(o) {}
  Result<int64_t> run();

 private:
  // What a value of the function is in the caller's graph.
  using Names = std::unordered_map<uint32_t, ValueId>;
  struct Call {
    const Function* fn = nullptr;
    std::vector<Attribute> attrs;  // of the call
    std::string prefix;
    Names values;
  };
  struct Item {
    NodeId node;
    int depth = 0;  // calls around it
  };

  Status graph(GraphId g);
  Result<std::vector<NodeId>> expand(NodeId call);
  Status imports(const Function& fn);
  Result<NodeId> identity(GraphId to, ValueId from, const Function& fn);
  void drop_functions();
  Result<NodeId> copy_node(Call& c, NodeId from, GraphId to,
                           const std::unordered_map<uint32_t, ValueId>& results);
  Status copy_body(Call& c, GraphId from, GraphId to);
  Result<Attribute> copy_attribute(Call& c, const Attribute& a, NodeId owner, GraphId to);
  void copy_constant(Call& c, ValueId v, GraphId to);
  // A value that the function does not know is one of the caller: a graph handed over uses it.
  ValueId mapped(const Call& c, ValueId v) const {
    const auto it = c.values.find(v.v);
    return it == c.values.end() ? v : it->second;
  }
  std::string name_for(const Call& c, const std::string& name) {
    return m_.unique_name(c.prefix + name);
  }

  Model& m_;
  InlineOptions options_;
  int64_t added_ = 0, calls_ = 0;
  std::vector<GraphId> bodies_;  // copied, not looked at yet
  std::vector<NodeId> made_;
};

void Inliner::copy_constant(Call& c, ValueId v, GraphId to) {
  const ValueId made = m_.add_undefined(to, name_for(c, m_.value(v).name));
  Value& value = m_.value(made);
  value.kind = ValueKind::kInitializer;
  value.constant = m_.value(v).constant;
  value.type = m_.value(v).type;
  value.lifted = m_.value(v).lifted;
  m_.graph(to).initializers.push_back(made);
  c.values[v.v] = made;
}

Result<Attribute> Inliner::copy_attribute(Call& c, const Attribute& a, NodeId owner, GraphId to) {
  Attribute copy = a;
  const auto graph_copy = [&](GraphId from) -> Result<GraphId> {
    const GraphId g = m_.add_graph(to, owner, m_.graph(to).function);
    TRY(copy_body(c, from, g));
    bodies_.push_back(g);
    return g;
  };
  if (a.type == AttrType::kGraph && std::holds_alternative<GraphId>(a.value)) {
    TRY_ASSIGN(const GraphId g, graph_copy(a.g()));
    copy.value = g;
  } else if (a.type == AttrType::kGraphs && a.ref.empty()) {
    std::vector<GraphId> list;
    for (GraphId from : a.graphs()) {
      TRY_ASSIGN(list.emplace_back(), graph_copy(from));
    }
    copy.value = std::move(list);
  }
  return copy;
}

Status Inliner::copy_body(Call& c, GraphId from, GraphId to) {
  m_.graph(to).name = m_.graph(from).name;
  const auto inputs = m_.graph(from).inputs;
  for (ValueId v : inputs) {
    const ValueId made = m_.add_input(to, name_for(c, m_.value(v).name), m_.value(v).declared);
    if (m_.value(v).constant) {
      m_.value(made).constant = m_.value(v).constant;
      m_.graph(to).initializers.push_back(made);
    }
    c.values[v.v] = made;
  }
  const auto constants = m_.graph(from).initializers;
  for (ValueId v : constants)
    if (m_.value(v).kind == ValueKind::kInitializer) copy_constant(c, v, to);
  const auto nodes = m_.graph(from).nodes;
  for (NodeId n : nodes)
    if (!m_.node(n).removed()) TRY(copy_node(c, n, to, {}));
  const auto outputs = m_.graph(from).outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    m_.add_graph_output(to, mapped(c, outputs[i]));
    if (i < m_.graph(from).output_types.size())
      m_.graph(to).output_types.back() = m_.graph(from).output_types[i];
  }
  return ok();
}

Result<NodeId> Inliner::copy_node(Call& c, NodeId from, GraphId to,
                                  const std::unordered_map<uint32_t, ValueId>& results) {
  if (++added_ > options_.max_nodes)
    return unsupported(format("inlining makes more than {} nodes", options_.max_nodes));
  const Node node = bind_attributes(m_.node(from), *c.fn, c.attrs);
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < node.num_inputs(); ++i)
    inputs.push_back(node.has_input(i) ? mapped(c, node.input(i)) : ValueId());
  const NodeId made = m_.add_node(to, node.op, std::move(inputs), {}, {}, node.domain);
  std::vector<ValueId> outputs;
  for (ValueId v : node.outputs()) {
    outputs.emplace_back();
    if (!v.valid()) continue;
    const auto it = results.find(v.v);
    outputs.back() =
        it != results.end() ? it->second : m_.add_undefined(to, name_for(c, m_.value(v).name));
    c.values[v.v] = outputs.back();
  }
  m_.set_outputs(made, std::move(outputs));
  made_.push_back(made);
  Node& n = m_.node(made);
  n.version = node.version;
  n.overload = node.overload;
  n.extra = node.extra;
  n.name = node.name.empty() ? node.name : c.prefix + node.name;
  for (const Attribute& a : node.attrs) {
    TRY_ASSIGN(Attribute copy, copy_attribute(c, a, made, to));
    if (node.is("Constant")) copy = plain_constant(copy);
    m_.node(made).attrs.push_back(std::move(copy));
  }
  return made;
}

Status Inliner::imports(const Function& fn) {
  for (const OpsetImport& i : fn.opset_imports) {
    auto& own = m_.opset_imports;
    const auto it = std::find_if(own.begin(), own.end(),
                                 [&](const OpsetImport& o) { return o.domain == i.domain; });
    if (it == own.end()) {
      own.push_back(i);
    } else if (it->version != i.version) {
      for (NodeId n : m_.graph(fn.body).nodes) {
        const Node& node = m_.node(n);
        if (node.removed() || !(node.domain == i.domain) || node.version != 0 ||
            m_.find_function(node.domain, node.op, node.overload))
          continue;
        return unsupported(format(
            "{} of function {}: the function imports operator set {} of {}, the model {}, "
            "and what changed between them is not known",
            m_.describe(n), quoted(fn.name), i.version, quoted(i.domain.view()), it->version));
      }
    }
  }
  return ok();
}

Result<NodeId> Inliner::identity(GraphId to, ValueId from, const Function& fn) {
  // From this version on Identity takes all types.
  if (m_.opset(to, Sym()) == 0) m_.opset_imports.push_back({Sym(), 16});
  if (!from.valid())
    return unsupported(
        format("a result of function {} is an argument that is not given", quoted(fn.name)));
  const NodeId n = m_.add_node(to, Sym("Identity"), {from}, {});
  TRY(lift_node(m_, n));
  return n;
}

Result<std::vector<NodeId>> Inliner::expand(NodeId call) {
  const GraphId to = m_.node(call).graph;
  Call c;
  c.fn = m_.find_function(m_.node(call).domain, m_.node(call).op, m_.node(call).overload);
  TRY(imports(*c.fn));
  c.attrs = m_.node(call).attrs;
  c.prefix = (m_.node(call).name.empty() ? c.fn->name : m_.node(call).name) + "/";
  const GraphId body = c.fn->body;
  const std::vector<ValueId> formal = m_.graph(body).inputs, outputs = m_.graph(body).outputs;
  const std::vector<ValueId> results(m_.node(call).outputs().begin(),
                                     m_.node(call).outputs().end());
  if (m_.node(call).num_inputs() > formal.size() || results.size() > outputs.size())
    return invalid(format("function {} has {} inputs and {} outputs, the call {} and {}",
                          quoted(c.fn->name), formal.size(), outputs.size(),
                          m_.node(call).num_inputs(), results.size()));
  for (size_t i = 0; i < formal.size(); ++i) c.values[formal[i].v] = m_.node(call).input(i);
  // A result takes the place of what the body makes; what the body only hands on is copied.
  std::unordered_map<uint32_t, ValueId> made_here;
  std::vector<size_t> handed_on;
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].valid()) continue;
    const Value& v = m_.value(outputs[i]);
    const bool made = v.kind == ValueKind::kOutput && v.graph == body;
    if (!made || !made_here.emplace(outputs[i].v, results[i]).second) handed_on.push_back(i);
  }
  const size_t first = m_.graph(to).nodes.size();
  m_.set_outputs(call, {});
  const auto constants = m_.graph(body).initializers;
  for (ValueId v : constants)
    if (m_.value(v).kind == ValueKind::kInitializer) copy_constant(c, v, to);
  const auto nodes = m_.graph(body).nodes;
  for (NodeId n : nodes)
    if (!m_.node(n).removed()) TRY(copy_node(c, n, to, made_here));
  for (size_t i : handed_on) {
    TRY_ASSIGN(const NodeId n, identity(to, mapped(c, outputs[i]), *c.fn));
    m_.set_outputs(n, {results[i]});
  }
  auto& order = m_.graph(to).nodes;
  std::vector<NodeId> added(order.begin() + static_cast<ptrdiff_t>(first), order.end());
  order.resize(first);
  m_.remove_node(call);
  ++calls_;
  return added;
}

Status Inliner::graph(GraphId g) {
  std::vector<Item> work;
  const auto push = [&](const std::vector<NodeId>& nodes, int depth) {
    for (auto n = nodes.rbegin(); n != nodes.rend(); ++n)
      if (!m_.node(*n).removed()) work.push_back({*n, depth});
  };
  push(m_.graph(g).nodes, 0);
  m_.graph(g).nodes.clear();
  std::vector<NodeId> order;
  while (!work.empty()) {
    const Item item = work.back();
    work.pop_back();
    const Node& node = m_.node(item.node);
    const Function* fn = m_.find_function(node.domain, node.op, node.overload);
    if (fn == nullptr) {
      order.push_back(item.node);
      continue;
    }
    if (item.depth > static_cast<int>(m_.functions.size()))
      return invalid(format("function {} calls itself", quoted(fn->name)));
    const std::string where = m_.describe(item.node);
    auto added = expand(item.node);
    if (!added.ok()) return std::move(added).context(where).error();
    push(*added, item.depth + 1);
  }
  m_.graph(g).nodes = std::move(order);
  return ok();
}

// Also imports of the functions' own domains, where no node needs them any more.
void Inliner::drop_functions() {
  for (uint32_t g = 0; g < m_.num_graphs(); ++g) {
    if (m_.graph(GraphId(g)).function < 0) continue;
    const std::vector<NodeId> nodes = m_.graph(GraphId(g)).nodes;
    for (NodeId n : nodes)
      if (!m_.node(n).removed()) m_.remove_node(n);
    m_.graph(GraphId(g)).removed = true;
    m_.graph(GraphId(g)).function = -1;
  }
  std::unordered_set<std::string> used;
  for (uint32_t n = 0; n < m_.num_nodes(); ++n)
    if (!m_.node(NodeId(n)).removed()) used.insert(m_.node(NodeId(n)).domain.str());
  for (const Function& fn : m_.functions)
    if (!used.count(fn.domain) && newest_opset(fn.domain) == 0)
      std::erase_if(m_.opset_imports,
                    [&](const OpsetImport& i) { return i.domain.view() == fn.domain; });
  m_.functions.clear();
}

Result<int64_t> Inliner::run() {
  if (m_.functions.empty() || m_.num_graphs() == 0) return 0;
  for (uint32_t g = 0; g < m_.num_graphs(); ++g)
    if (!m_.graph(GraphId(g)).removed && m_.graph(GraphId(g)).function < 0)
      bodies_.push_back(GraphId(g));
  while (!bodies_.empty()) {
    const GraphId g = bodies_.back();
    bodies_.pop_back();
    if (!m_.graph(g).removed) TRY(graph(g));
  }
  drop_functions();
  name_nodes_apart(m_, made_);
  // The types of what a body works on may not have been known.
  for (NodeId n : made_)
    if (!m_.node(n).removed() && m_.node(n).version > 0) TRY(lift_further(m_, n));
  return calls_;
}

}  // namespace

Result<int64_t> inline_functions(Model& model, const InlineOptions& options) {
  return Inliner(model, options).run();
}

void name_nodes_apart(Model& model, std::span<const NodeId> placed) {
  if (placed.empty()) return;
  std::unordered_map<std::string, uint32_t> count, next;
  for (uint32_t i = 0; i < model.num_nodes(); ++i)
    if (!model.node(NodeId(i)).removed()) ++count[model.node(NodeId(i)).name];
  for (NodeId n : placed) {
    if (model.node(n).removed() || model.node(n).name.empty()) continue;
    const auto it = count.find(model.node(n).name);
    if (it->second <= 1) continue;
    --it->second;
    std::string name;
    for (uint32_t& k = next[model.node(n).name]; name.empty() || count.count(name);)
      name = model.node(n).name + "_" + std::to_string(++k);
    model.touch(n);
    model.node(n).name = name;
    count.emplace(std::move(name), 1);
  }
}

}  // namespace onnxtool
