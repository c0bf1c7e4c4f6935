// SPDX-License-Identifier: Apache-2.0
// One edit: checked, made, compared with what it replaces, committed or rolled back.
#include <algorithm>

#include "libonnxtool/base/file.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/runner_impl.h"

namespace onnxtool::rewrite {
namespace {

constexpr int64_t kSmall = 8 << 10;  // an edit that adds little may be over the limit of growth
constexpr int64_t kSmallInAll = 1 << 20;  // by so much, all in all
constexpr uint32_t kManyUsers = 256;      // more than any match has
constexpr size_t kWorthReleasing = 64 << 10;

bool is_quantization(const Node& n) {
  return n.op.view() == "QuantizeLinear" || n.op.view() == "DequantizeLinear";
}

bool is_random(const Node& n) {
  const OpDef* def = find_op(n);
  return def && (def->flags & kRandom) && n.op.view() != "Dropout";
}

std::vector<GraphId> graphs_of(const Node& n) {
  std::vector<GraphId> r;
  for (const Attribute& a : n.attrs) {
    if (!a.ref.empty()) continue;
    if (a.type == AttrType::kGraph) r.push_back(a.g());
    if (a.type == AttrType::kGraphs) r.insert(r.end(), a.graphs().begin(), a.graphs().end());
  }
  return r;
}

int64_t content_bytes(const Tensor& t) {
  if (!t.is_string()) return static_cast<int64_t>(t.bytes());
  int64_t bytes = 0;
  for (const std::string& s : t.string_data()) bytes += static_cast<int64_t>(s.size()) + 4;
  return bytes;
}

// Why a value of type `to` cannot stand for one of type `from`; empty: it can.
std::string disagreement(const Type& from, const Type& to) {
  const auto differ = [&](const char* what) {
    return format("{}: {} would become {}", what, from.text(), to.text());
  };
  if (!from.known()) return {};
  if (from.kind != to.kind) return differ("type would change");
  if (!from.is_tensor()) return from.same(to) ? std::string() : differ("type would change");
  if (from.dtype != DType::kUndefined && from.dtype != to.dtype)
    return differ("element type would change");
  if (!from.shape) return {};
  if (!to.shape) return differ("rank would be lost");
  if (from.shape->size() != to.shape->size()) return differ("rank would change");
  for (size_t i = 0; i < from.shape->size(); ++i) {
    const Dim a = (*from.shape)[i], b = (*to.shape)[i];
    if (a.is_const() && !b.is_const()) return differ("a known size would be lost");
    if (!a.is_unknown() && !b.is_unknown() && Dim::differ(a, b))
      return differ("shape would change");
  }
  return {};
}

}  // namespace

// A Loop or Scan stands between graph `inner` and `outer`, which it is in.
bool Runner::repeats(GraphId inner, GraphId outer) const {
  for (GraphId g = inner; g != outer && m_.graph(g).owner.valid(); g = m_.graph(g).parent)
    if (!m_.node(m_.graph(g).owner).is("If")) return true;
  return false;
}

bool Runner::dead(NodeId n) const {
  for (ValueId o : m_.node(n).outputs())
    if (o.valid() && (m_.value(o).use_count > 0 || m_.value(o).graph_output)) return false;
  return true;
}

// -------------------------------------------------------------------------------------- checks

// Edits that no node is the root of: constants stand for equal constants.
std::string Runner::check_constants(const Edit& edit) const {
  if (!edit.nodes.empty() || !edit.constants.empty() || !edit.remove.empty())
    return "an edit without a root";
  for (const Edit::Replacement& r : edit.replace) {
    const Value& from = m_.value(r.from);
    if (from.kind != ValueKind::kInitializer || from.graph_output)
      return "replaces what is no plain constant";
    if (r.to.kind != EditValue::Kind::kExisting || !m_.value(r.to.value).is_constant())
      return "replaces a constant by what is none";
    if (std::string s = check_replacement(r.from, r.to.value); !s.empty()) return s;
  }
  return {};
}

std::string Runner::check(const Pass& pass, const Edit& edit) {
  if (!edit.at.valid()) return check_constants(edit);
  const Node& at = m_.node(edit.at);
  const auto protected_node = [&](NodeId n) -> std::string {
    if (pass.quantization || dead(n)) return {};
    if (is_quantization(m_.node(n))) return format("{} marks a precision", m_.describe(n));
    if (is_random(m_.node(n))) return format("{} draws random numbers", m_.describe(n));
    return {};
  };
  if (std::string s = protected_node(edit.at); !s.empty()) return s;
  std::unordered_set<uint32_t> gone{edit.at.v};
  for (NodeId n : edit.remove) {
    if (!n.valid() || m_.node(n).removed()) return "matched node is gone";
    if (std::string s = protected_node(n); !s.empty()) return s;
    gone.insert(n.v);
  }
  for (NodeId n : edit.exclusive) {
    if (n == edit.at) continue;
    if (repeats(at.graph, m_.node(n).graph))
      return format("{} would be computed in each trip of a loop", m_.describe(n));
    for (ValueId o : m_.node(n).outputs()) {
      if (!o.valid()) continue;
      if (m_.value(o).graph_output) return format("{} is a graph output", m_.describe(o));
      bool others = m_.value(o).use_count > kManyUsers;
      if (!others) m_.for_each_use(o, [&](Use u) { others = others || !gone.count(u.node.v); });
      if (others) return format("{} has other users", m_.describe(o));
    }
  }
  const auto usable = [&](const EditValue& v) -> std::string {
    if (v.kind != EditValue::Kind::kExisting) return {};
    if (m_.value(v.value).kind == ValueKind::kNone) return "matched value is gone";
    return m_.visible(v.value, at.graph) ? std::string()
                                         : format("{} is not visible there", m_.describe(v.value));
  };
  for (const Edit::NewNode& n : edit.nodes) {
    if (!available(at.graph, n.domain, n.op.view(), 1))
      return format("{} does not exist in opset {}", n.op.view(), m_.opset(at.graph, n.domain));
    for (const EditValue& v : n.inputs)
      if (std::string s = usable(v); !s.empty()) return s;
  }
  for (const Edit::Replacement& r : edit.replace) {
    if (!r.from.valid() || m_.value(r.from).kind != ValueKind::kOutput)
      return "replaces what is no node's output";
    if (pass.reorders && quantization_.behind(m_, r.from))
      return "what is behind is quantized, where other last bits may be another step";
    if (std::string s = usable(r.to); !s.empty()) return s;
    if (m_.value(r.from).graph_output && r.to.kind != EditValue::Kind::kNode &&
        m_.opset(at.graph, {}) == 0)
      return "an Identity may be needed, and the model imports no operators of ai.onnx";
    if (r.to.kind != EditValue::Kind::kExisting) continue;
    if (std::string s = check_replacement(r.from, r.to.value); !s.empty()) return s;
  }
  int64_t most = 0;
  for (const Edit::NewConstant& c : edit.constants) most = std::max(most, content_bytes(c.tensor));
  if (most > options_.budget.max_constant_bytes)
    return format("a constant of {} bytes is over the limit", most);
  const int64_t more = growth(edit), over = more > kSmall ? 0 : kSmallGrowth;
  if (more > 0 && more > growth_left() + over)
    return format("would add {} bytes to the model, over the limit of growth", more);
  return {};
}

std::string Runner::check_replacement(ValueId from, ValueId to) const {
  if (!m_.visible(to, m_.value(from).graph))
    return format("{} is not visible there", m_.describe(to));
  std::string s = disagreement(inference_.type(from), inference_.type(to));
  return s.empty() ? s : format("{} for {}: {}", m_.describe(to), m_.describe(from), s);
}

bool Runner::changes_something(const Edit& edit) const {
  if (!edit.nodes.empty() || edit.inline_body.valid()) return true;
  for (const Edit::Replacement& r : edit.replace) {
    const Value& from = m_.value(r.from);
    if (!r.from.valid() || (r.to.kind == EditValue::Kind::kExisting && r.to.value == r.from))
      continue;
    if (from.use_count > 0) return true;
    if (!from.graph_output) continue;
    // An Identity between a graph output and what cannot be one itself stays.
    if (!from.producer.valid()) continue;
    const Node& p = m_.node(from.producer);
    if (!p.is("Identity")) return true;
    if (r.to.kind == EditValue::Kind::kConstant) continue;
    const Value& to = m_.value(r.to.value);
    if (p.input(0) != r.to.value ||
        (to.kind == ValueKind::kOutput && !to.graph_output && to.graph == from.graph))
      return true;
  }
  for (NodeId n : edit.remove)
    if (dead(n)) return true;
  return edit.replace.empty() && edit.at.valid() && dead(edit.at);
}

int64_t Runner::growth(const Edit& edit) const {
  int64_t bytes = 0;
  if (!edit.at.valid())  // equal constants become one
    for (const Edit::Replacement& r : edit.replace)
      if (m_.constant(r.from)) bytes -= content_bytes(*m_.constant(r.from));
  for (const Edit::NewConstant& c : edit.constants) bytes += content_bytes(c.tensor);
  if (edit.constants.empty()) return bytes;
  // Constants that die with the matched nodes.
  std::unordered_set<uint32_t> gone(1 + edit.remove.size());
  gone.insert(edit.at.v);
  for (NodeId n : edit.remove) gone.insert(n.v);
  for (uint32_t id : gone)
    for (const Attribute& a : m_.node(NodeId(id)).attrs)
      if (const auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value); t && *t)
        bytes -= content_bytes((*t)->tensor);
  std::unordered_set<uint32_t> seen;
  for (const Edit::NewNode& n : edit.nodes)  // they stay
    for (const EditValue& v : n.inputs)
      if (v.kind == EditValue::Kind::kExisting) seen.insert(v.value.v);
  for (uint32_t id : gone) {
    const Node& n = m_.node(NodeId(id));
    for (size_t i = 0; i < n.num_inputs(); ++i) {
      const ValueId v = n.input(i);
      if (!v.valid() || !m_.value(v).is_constant() || m_.value(v).graph_output ||
          !seen.insert(v.v).second)
        continue;
      bool dies = m_.value(v).use_count <= kManyUsers;
      if (dies) m_.for_each_use(v, [&](Use u) { dies = dies && gone.count(u.node.v); });
      if (dies && m_.constant(v)) bytes -= content_bytes(*m_.constant(v));
    }
  }
  return bytes;
}

// -------------------------------------------------------------------------------------- making

ValueId Runner::resolve(const EditValue& v) const {
  switch (v.kind) {
    case EditValue::Kind::kNone: return {};
    case EditValue::Kind::kExisting: return v.value;
    case EditValue::Kind::kNode: return m_.node(made_nodes_[v.index]).output(v.output);
    case EditValue::Kind::kConstant: return made_constants_[v.index];
  }
  return {};
}

Result<std::string> Runner::make_nodes(const Edit& edit) {
  made_nodes_.clear();
  made_constants_.clear();
  if (!edit.at.valid()) return std::string();
  const GraphId g = m_.node(edit.at).graph;
  const std::string& base = m_.node(edit.at).has_output(0)
                                ? m_.value(m_.node(edit.at).output(0)).name
                                : m_.node(edit.at).name;
  const std::string hint = base + "_new";
  for (const Edit::NewConstant& c : edit.constants)
    made_constants_.push_back(
        m_.add_initializer(g, m_.unique_name(c.name.empty() ? hint : c.name), c.tensor));
  for (const Edit::NewNode& n : edit.nodes) {
    std::vector<ValueId> inputs;
    for (const EditValue& v : n.inputs) inputs.push_back(resolve(v));
    std::vector<std::string> outputs;
    for (size_t i = 0; i < n.num_outputs; ++i) outputs.push_back(m_.unique_name(hint));
    const NodeId id = m_.add_node(g, n.op, inputs, outputs, n.attrs, n.domain);
    made_nodes_.push_back(id);
    const NodeId like = n.like.valid() ? n.like : edit.at;
    Node& node = m_.node(id);
    node.name = n.name.empty() ? m_.node(like).name : n.name;
    node.extra = m_.node(like).extra;
    if (const Schema* s = find_schema(n.domain.view(), n.op.view(), newest_opset(n.domain.view())))
      node.version = s->since_version;
    key_.resize(m_.num_nodes());
    key_[id.v] = key_[edit.at.v];
    if (auto s = inference_.update(id); !s.ok()) return s.error().text();
    if (auto s = can_lower(m_, id, m_.opset(g, n.domain)); !s.ok()) return s.error().text();
  }
  for (const Edit::Replacement& r : edit.replace) {
    if (r.to.kind == EditValue::Kind::kExisting) continue;
    if (std::string s = disagreement(inference_.type(r.from), inference_.type(resolve(r.to)));
        !s.empty())
      return format("{}: {}", m_.describe(r.from), s);
  }
  return std::string();
}

void Runner::roll_back() {
  for (auto n = made_nodes_.rbegin(); n != made_nodes_.rend(); ++n) m_.remove_node(*n);
  for (ValueId v : made_constants_) m_.remove_value(v);
  made_nodes_.clear();
  made_constants_.clear();
}

// ---------------------------------------------------------------------------------- committing

// The producer of v gets another value in its place, or none where nothing will read it.
void Runner::detach(ValueId v) {
  const NodeId p = m_.value(v).producer;
  if (!p.valid()) return;
  std::vector<ValueId> outs(m_.node(p).outputs().begin(), m_.node(p).outputs().end());
  const uint32_t index = m_.value(v).output_index;
  bool others = false;
  for (ValueId o : outs)
    others =
        others || (o.valid() && o != v && (m_.value(o).use_count > 0 || m_.value(o).graph_output));
  outs[index] =
      others ? m_.add_undefined(m_.node(p).graph, m_.unique_name(m_.value(v).name)) : ValueId();
  if (others) m_.value(outs[index]).type = m_.value(v).type;
  m_.set_outputs(p, std::move(outs));
  if (others) stale_.push_back(p);
}

void Runner::take_over(ValueId from, NodeId by, uint32_t index) {
  const ValueId old = m_.node(by).output(index);
  detach(from);
  std::vector<ValueId> outs(m_.node(by).outputs().begin(), m_.node(by).outputs().end());
  outs[index] = from;
  m_.set_outputs(by, std::move(outs));
  if (old.valid()) m_.replace_uses(old, from);
  stale_.push_back(by);
}

void Runner::redirect(ValueId from, ValueId to) {
  if (from == to) return;
  const bool new_type =
      !m_.value(to).type.same(m_.value(from).type) || m_.constant(to) || inference_.partial(to);
  if (!m_.value(from).graph_output) {
    for (const Use u : m_.uses(from)) {
      if (new_type) stale_.push_back(u.node);
      wake(u.node);
    }
    m_.replace_uses(from, to);
    return;
  }
  const Value& source = m_.value(to);
  if (source.kind == ValueKind::kOutput && !source.graph_output &&
      source.graph == m_.value(from).graph) {
    take_over(from, source.producer, source.output_index);
    return;
  }
  for (const Use u : m_.uses(from)) {
    m_.set_input(u.node, u.index, to);
    stale_.push_back(u.node);
    wake(u.node);
  }
  const NodeId p = m_.value(from).producer;
  if (m_.node(p).is("Identity") && m_.node(p).input(0) == to) return;
  const NodeId id =
      m_.add_node(m_.value(from).graph, "Identity", {to}, {m_.unique_name(m_.value(from).name)});
  if (const Schema* s = find_schema("", "Identity", newest_opset("")))
    m_.node(id).version = s->since_version;
  m_.node(id).name = m_.node(p).name;
  placed_.push_back(id);
  key_.resize(m_.num_nodes());
  key_[id.v] = key_[p.v];
  take_over(from, id, 0);
  wake(id);
}

// Memory of a constant that nothing reads any more: one that rewriting made goes at once, one of
// the file is read again if it has to be.
void Runner::let_go(ValueId v) {
  const Value& value = m_.value(v);
  if (value.use_count > 0 || value.graph_output || !value.constant) return;
  if (v.v >= first_made_)
    m_.remove_value(v);
  else if (const Tensor* t = m_.constant(v); t && t->bytes() >= kWorthReleasing)
    release_pages(t->raw(), t->bytes());
}

void Runner::remove_dead(NodeId first) {
  std::vector<NodeId> work{first};
  while (!work.empty()) {
    const NodeId n = work.back();
    work.pop_back();
    if (!n.valid() || m_.node(n).removed() || !dead(n)) continue;
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < m_.node(n).num_inputs(); ++i)
      if (m_.node(n).has_input(i)) inputs.push_back(m_.node(n).input(i));
    if (m_.node(n).has_subgraphs())
      for (ValueId v : m_.captures(n)) inputs.push_back(v);
    m_.remove_node(n);
    for (ValueId v : inputs) {
      if (m_.value(v).kind == ValueKind::kInitializer) let_go(v);
      const NodeId p = m_.value(v).producer;
      if (!p.valid() || m_.node(p).removed()) continue;
      if (dead(p))
        work.push_back(p);
      else if (m_.value(v).use_count <= 2)
        wake_around(p);
    }
  }
}

Status Runner::refresh() {
  for (NodeId n : stale_)
    if (!m_.node(n).removed()) TRY(inference_.update(n));
  stale_.clear();
  return ok();
}

Status Runner::commit(const Edit& edit) {
  stale_.clear();
  // Nodes of the match may lose their outputs below: what feeds them is asked for before.
  std::vector<NodeId> matched = edit.remove;
  if (edit.at.valid()) matched.push_back(edit.at);
  for (const Edit::Replacement& r : edit.replace) {
    const NodeId old = m_.value(r.from).producer;
    if (old.valid()) matched.push_back(old);
    if (r.to.kind == EditValue::Kind::kNode) {
      const ValueId to = resolve(r.to);
      const NodeId by = made_nodes_[r.to.index];
      if (m_.value(to).name != m_.value(r.from).name && m_.value(to).producer == by &&
          std::find(made_nodes_.begin(), made_nodes_.end(), old) == made_nodes_.end()) {
        take_over(r.from, by, r.to.output);
        continue;
      }
    }
    redirect(r.from, resolve(r.to));
  }
  for (NodeId n : made_nodes_) wake_around(n);
  placed_.insert(placed_.end(), made_nodes_.begin(), made_nodes_.end());
  for (const Edit::Replacement& r : edit.replace) {
    if (r.to.kind != EditValue::Kind::kExisting) continue;
    const NodeId p = m_.value(r.to.value).producer;
    if (p.valid() && m_.value(r.to.value).kind == ValueKind::kOutput) wake_around(p);
  }
  for (NodeId n : matched) remove_dead(n);
  drop_values(edit);
  return refresh();
}

void Runner::drop_values(const Edit& edit) {
  for (ValueId v : edit.drop) {
    if (m_.value(v).kind != ValueKind::kInitializer || m_.value(v).use_count > 0 ||
        m_.value(v).graph_output)
      continue;
    m_.remove_value(v);
  }
}

Status Runner::inline_body(const Edit& edit) {
  stale_.clear();
  const GraphId body = edit.inline_body, target = m_.node(edit.at).graph;
  if (name_counts_.empty())
    for (uint32_t v = 0; v < m_.num_values(); ++v)
      if (m_.value(ValueId(v)).kind != ValueKind::kNone) ++name_counts_[m_.value(ValueId(v)).name];
  const auto move_value = [&](ValueId v) {
    m_.value(v).graph = target;
    uint32_t& count = name_counts_[m_.value(v).name];
    if (count <= 1) return;
    --count;  // names of sibling bodies may be the same
    m_.value(v).name = m_.unique_name(m_.value(v).name);
    if (m_.value(v).producer.valid()) m_.touch(m_.value(v).producer);
    m_.for_each_use(v, [&](Use u) { m_.touch(u.node); });
  };
  std::vector<NodeId> nodes;
  for (NodeId n : m_.graph(body).nodes)
    if (!m_.node(n).removed()) nodes.push_back(n);
  const std::vector<ValueId> outputs = m_.graph(body).outputs;
  for (ValueId v : m_.graph(body).initializers) {
    if (m_.value(v).graph != body || m_.value(v).kind != ValueKind::kInitializer) continue;
    move_value(v);
    m_.graph(target).initializers.push_back(v);
  }
  for (NodeId n : nodes) {
    m_.node(n).graph = target;
    placed_.push_back(n);
    key_[n.v] = key_[edit.at.v];
    for (ValueId o : m_.node(n).outputs())
      if (o.valid()) move_value(o);
    for (GraphId g : graphs_of(m_.node(n))) m_.graph(g).parent = target;
    m_.graph(target).nodes.push_back(n);
  }
  m_.graph(body).nodes.clear();
  m_.graph(body).initializers.clear();
  m_.graph(body).outputs.clear();
  m_.graph(body).output_types.clear();
  m_.graph(body).output_info.clear();
  std::unordered_set<uint32_t> still;
  for (uint32_t g = 0; g < m_.num_graphs(); ++g)
    if (!m_.graph(GraphId(g)).removed)
      for (ValueId o : m_.graph(GraphId(g)).outputs)
        if (o.valid()) still.insert(o.v);
  for (ValueId o : outputs) m_.value(o).graph_output = still.count(o.v) != 0;

  const std::vector<ValueId> results(m_.node(edit.at).outputs().begin(),
                                     m_.node(edit.at).outputs().end());
  std::unordered_map<uint32_t, ValueId> taken;  // body output -> the result that took its place
  for (size_t i = 0; i < results.size() && i < outputs.size(); ++i) {
    if (!results[i].valid()) continue;
    const auto it = taken.find(outputs[i].v);
    redirect(results[i], it == taken.end() ? outputs[i] : it->second);
    if (m_.value(outputs[i]).kind != ValueKind::kOutput || !m_.value(outputs[i]).producer.valid())
      taken.emplace(outputs[i].v, m_.constant(outputs[i]) ? outputs[i] : results[i]);
  }
  remove_dead(edit.at);
  for (NodeId n : nodes) {
    if (m_.node(n).removed()) continue;
    if (dead(n))
      remove_dead(n);
    else
      stale_.push_back(n);
  }
  for (NodeId n : nodes) wake_around(n);
  return refresh();
}

Result<Runner::Outcome> Runner::apply(size_t pass_index, Edit& edit) {
  Outcome r;
  const Pass& pass = *options_.passes[pass_index];
  if (!edit.drop.empty()) {
    drop_values(edit);
  } else {
    if (edit.at.valid() && m_.node(edit.at).removed()) return r;
    if (!changes_something(edit)) return r;
    r.reason = check(pass, edit);
    if (!r.reason.empty()) return r;
    const std::string name = options_.keep_log ? edit.at.valid() ? m_.describe(edit.at)
                                                                 : m_.describe(edit.replace[0].from)
                                               : std::string();
    if (edit.inline_body.valid()) {
      TRY(inline_body(edit));
    } else {
      const int64_t more = growth(edit);
      TRY_ASSIGN(r.reason, make_nodes(edit));
      if (!r.reason.empty()) {
        roll_back();
        return r;
      }
      weights_ += more;
      TRY(commit(edit));
    }
    if (options_.keep_log) report_.log.push_back({&pass, name, edit.note});
  }
  r.applied = true;
  ++report_.edits;
  ++report_.passes[pass_index].edits;
  return r;
}

}  // namespace onnxtool::rewrite
