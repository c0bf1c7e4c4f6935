// SPDX-License-Identifier: Apache-2.0
// One edit: made, compared with what it replaces, committed or rolled back.
#include <algorithm>

#include "libonnxtool/base/file.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/runner_impl.h"

namespace onnxtool::rewrite {
namespace {

constexpr size_t kWorthReleasing = 64 << 10;

std::vector<GraphId> graphs_of(const Node& n) {
  std::vector<GraphId> r;
  for (const Attribute& a : n.attrs) {
    if (!a.ref.empty()) continue;
    if (a.type == AttrType::kGraph) r.push_back(a.g());
    if (a.type == AttrType::kGraphs) r.insert(r.end(), a.graphs().begin(), a.graphs().end());
  }
  return r;
}

}  // namespace

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

// The graph of `at`, or one around it that holds a node to change.
GraphId Runner::home(const Edit& edit) const {
  GraphId g = m_.node(edit.at).graph;
  for (const Edit::Change& c : edit.changes)
    if (m_.is_inside(g, m_.node(c.node).graph)) g = m_.node(c.node).graph;
  return g;
}

// A constant that rewriting made for the one input that the new one is for, and of its type. Edits
// that only change nodes read no constant that they replace.
ValueId Runner::reused_for(const Edit& edit, uint32_t constant) {
  const Tensor& t = edit.constants[constant].tensor;
  if (!is_float(t.dtype()) || !edit.nodes.empty()) return {};  // inference may know integers
  for (const Edit::Change& c : edit.changes)
    for (const auto& [i, to] : c.inputs) {
      if (to.kind != EditValue::Kind::kConstant || to.index != constant) continue;
      const ValueId v = m_.node(c.node).input(i);
      if (!v.valid() || v.v < first_made_ || !m_.value(v).is_constant() || !m_.sole_use(v))
        return {};
      const Tensor* old = m_.constant(v);
      return old && old->dtype() == t.dtype() && old->dims() == t.dims() ? v : ValueId();
    }
  return {};
}

// Only constants of floating point change, for others of the same type, and nothing is computed of
// them that inference would know.
bool Runner::infers_the_same(const Edit::Change& change) const {
  const Node& n = m_.node(change.node);
  for (const auto& [i, v] : change.inputs) {
    const Tensor *old = n.has_input(i) ? m_.constant(n.input(i)) : nullptr,
                 *set = m_.constant(resolve(v));
    if (!old || !set || old->dtype() != set->dtype() || old->dims() != set->dims() ||
        !is_float(old->dtype()))
      return false;
  }
  for (ValueId o : n.outputs())
    if (o.valid() && inference_.constant(o)) return false;
  return change.attrs.empty();
}

std::string Runner::make_change(const Edit::Change& change) {
  const NodeId id = change.node;
  const Node& n = m_.node(id);
  Before before{id, {}, n.attrs, n.origin};
  for (size_t i = 0; i < n.num_inputs(); ++i) before.inputs.push_back(n.input(i));
  const bool same = infers_the_same(change);
  std::vector<Type> types;
  for (ValueId o : n.outputs()) types.push_back(o.valid() ? inference_.type(o) : Type());
  changed_.push_back(std::move(before));
  for (const auto& [i, v] : change.inputs) m_.set_input(id, i, resolve(v));
  for (const Attribute& a : change.attrs) m_.set_attr(id, a);
  if (same) return {};
  if (auto s = inference_.update(id); !s.ok()) return s.error().text();
  for (size_t i = 0; i < types.size(); ++i) {
    if (!n.has_output(i)) continue;
    if (std::string s = disagreement(types[i], inference_.type(n.output(i))); !s.empty())
      return format("{}: {}", m_.describe(n.output(i)), s);
  }
  const auto s = can_lower(m_, id, m_.opset(n.graph, n.domain));
  return s.ok() ? std::string() : s.error().text();
}

Result<std::string> Runner::make(const Edit& edit) {
  made_nodes_.clear();
  made_constants_.clear();
  changed_.clear();
  reused_.clear();
  if (!edit.at.valid()) return std::string();
  const GraphId g = m_.node(edit.at).graph, constants = home(edit);
  const std::string& base = m_.node(edit.at).has_output(0)
                                ? m_.value(m_.node(edit.at).output(0)).name
                                : m_.node(edit.at).name;
  const std::string hint = base + "_new";
  for (uint32_t i = 0; i < edit.constants.size(); ++i) {
    const Edit::NewConstant& c = edit.constants[i];
    if (const ValueId v = reused_for(edit, i); v.valid()) {
      reused_.emplace_back(v, m_.value(v).constant);
      m_.set_constant(v, c.tensor);
      made_constants_.push_back(v);
      continue;
    }
    made_constants_.push_back(
        m_.add_initializer(constants, m_.unique_name(c.name.empty() ? hint : c.name), c.tensor));
  }
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
  for (const Edit::Change& c : edit.changes)
    if (std::string s = make_change(c); !s.empty()) return s;
  for (const Edit::Replacement& r : edit.replace) {
    if (r.to.kind == EditValue::Kind::kExisting) continue;
    if (std::string s = disagreement(inference_.type(r.from), inference_.type(resolve(r.to)));
        !s.empty())
      return format("{}: {}", m_.describe(r.from), s);
  }
  return std::string();
}

Status Runner::roll_back() {
  for (auto b = changed_.rbegin(); b != changed_.rend(); ++b) {
    m_.set_inputs(b->node, b->inputs);
    m_.node(b->node).attrs = std::move(b->attrs);
    m_.node(b->node).origin = std::move(b->origin);
  }
  for (const Before& b : changed_) TRY(inference_.update(b.node));
  for (auto n = made_nodes_.rbegin(); n != made_nodes_.rend(); ++n) m_.remove_node(*n);
  for (auto& [v, before] : reused_) {
    m_.value(v).constant = std::move(before);
    std::erase(made_constants_, v);
  }
  for (ValueId v : made_constants_) m_.remove_value(v);
  made_nodes_.clear();
  made_constants_.clear();
  changed_.clear();
  return ok();
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
  // Where nodes before it were changed, inference knows other contents of `from`.
  const bool new_type = !m_.value(to).type.same(m_.value(from).type) || m_.constant(to) ||
                        inference_.partial(to) || inference_.constant(from);
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
  for (const Before& b : changed_) {
    wake(b.node);
    for (ValueId v : b.inputs) {
      if (!v.valid()) continue;
      if (m_.value(v).producer.valid()) matched.push_back(m_.value(v).producer);
      let_go(v);
    }
  }
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
    int64_t more = 0;
    r.reason = check(pass, edit, more);
    if (!r.reason.empty()) return r;
    const std::string name = options_.keep_log ? edit.at.valid() ? m_.describe(edit.at)
                                                                 : m_.describe(edit.replace[0].from)
                                               : std::string();
    if (edit.inline_body.valid()) {
      TRY(inline_body(edit));
    } else {
      TRY_ASSIGN(r.reason, make(edit));
      if (!r.reason.empty()) {
        TRY(roll_back());
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
