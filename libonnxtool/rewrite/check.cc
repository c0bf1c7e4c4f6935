// SPDX-License-Identifier: Apache-2.0
// Whether an edit may be applied, and whether it would change anything.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/runner_impl.h"

namespace onnxtool::rewrite {
namespace {

constexpr int64_t kSmall = 8 << 10;   // an edit that adds little may be over the limit of growth
constexpr uint32_t kManyUsers = 256;  // more than any match has
constexpr const char* kQuantizedBehind =
    "what is behind is quantized, where other last bits may be another step";

bool is_quantization(const Node& n) {
  return n.op.view() == "QuantizeLinear" || n.op.view() == "DequantizeLinear";
}

bool is_random(const Node& n) {
  const OpDef* def = find_op(n);
  return def && (def->flags & kRandom) && n.op.view() != "Dropout";
}

int64_t content_bytes(const Tensor& t) {
  if (!t.is_string()) return static_cast<int64_t>(t.bytes());
  int64_t bytes = 0;
  for (const std::string& s : t.string_data()) bytes += static_cast<int64_t>(s.size()) + 4;
  return bytes;
}

}  // namespace

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

// Edits that no node is the root of: constants stand for equal constants.
std::string Runner::check_constants(const Edit& edit) const {
  if (!edit.nodes.empty() || !edit.constants.empty() || !edit.remove.empty() ||
      !edit.changes.empty())
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

std::string Runner::check(const Pass& pass, const Edit& edit, int64_t& more) {
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
  const GraphId constants = home(edit);
  const auto usable = [&](const EditValue& v, GraphId g) -> std::string {
    if (v.kind == EditValue::Kind::kNone) return {};
    if (v.kind != EditValue::Kind::kExisting) {
      const GraphId made = v.kind == EditValue::Kind::kNode ? at.graph : constants;
      return m_.is_inside(g, made) ? "" : "what is made is not visible there";
    }
    if (m_.value(v.value).kind == ValueKind::kNone) return "matched value is gone";
    return m_.visible(v.value, g) ? std::string()
                                  : format("{} is not visible there", m_.describe(v.value));
  };
  for (const Edit::NewNode& n : edit.nodes) {
    if (!available(at.graph, n.domain, n.op.view(), 1))
      return format("{} does not exist in opset {}", n.op.view(), m_.opset(at.graph, n.domain));
    for (const EditValue& v : n.inputs)
      if (std::string s = usable(v, at.graph); !s.empty()) return s;
  }
  for (const Edit::Change& c : edit.changes) {
    if (!c.node.valid() || m_.node(c.node).removed()) return "matched node is gone";
    if (std::string s = protected_node(c.node); !s.empty()) return s;
    for (const auto& [i, v] : c.inputs)
      if (std::string s = usable(v, m_.node(c.node).graph); !s.empty()) return s;
    for (ValueId o : m_.node(c.node).outputs())
      if (pass.reorders && o.valid() && quantization_.behind(m_, o)) return kQuantizedBehind;
  }
  for (const Edit::Replacement& r : edit.replace) {
    if (!r.from.valid() || m_.value(r.from).kind != ValueKind::kOutput)
      return "replaces what is no node's output";
    if (pass.reorders && quantization_.behind(m_, r.from)) return kQuantizedBehind;
    if (std::string s = usable(r.to, at.graph); !s.empty()) return s;
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
  more = growth(edit);
  const int64_t over = more > kSmall ? 0 : kSmallGrowth;
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
  if (!edit.nodes.empty() || !edit.changes.empty() || edit.inline_body.valid()) return true;
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
  // Constants that die with the matched nodes, or that these read no longer.
  std::unordered_set<uint32_t> gone(1 + edit.remove.size());
  gone.insert(edit.at.v);
  for (NodeId n : edit.remove) gone.insert(n.v);
  for (const Edit::Change& c : edit.changes) gone.erase(c.node.v);
  for (uint32_t id : gone)
    for (const Attribute& a : m_.node(NodeId(id)).attrs)
      if (const auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value); t && *t)
        bytes -= content_bytes((*t)->tensor);
  std::unordered_set<uint32_t> seen;  // those that stay, and those counted
  const auto stays = [&](const EditValue& v) {
    if (v.kind == EditValue::Kind::kExisting) seen.insert(v.value.v);
  };
  for (const Edit::NewNode& n : edit.nodes)
    for (const EditValue& v : n.inputs) stays(v);
  for (const Edit::Change& c : edit.changes)
    for (const auto& [i, v] : c.inputs) stays(v);
  const auto loses = [&](Use u) {  // the node reads it there no longer
    if (gone.count(u.node.v)) return true;
    for (const Edit::Change& c : edit.changes)
      if (c.node == u.node)
        return std::any_of(c.inputs.begin(), c.inputs.end(),
                           [&](const auto& in) { return in.first == u.index; });
    return false;
  };
  const auto count = [&](ValueId v) {
    if (!v.valid() || !m_.value(v).is_constant() || m_.value(v).graph_output ||
        !seen.insert(v.v).second)
      return;
    bool dies = m_.value(v).use_count <= kManyUsers;
    if (dies) m_.for_each_use(v, [&](Use u) { dies = dies && loses(u); });
    if (dies && m_.constant(v)) bytes -= content_bytes(*m_.constant(v));
  };
  for (uint32_t id : gone)
    for (size_t i = 0; i < m_.node(NodeId(id)).num_inputs(); ++i)
      count(m_.node(NodeId(id)).input(i));
  for (const Edit::Change& c : edit.changes)
    for (const auto& [i, v] : c.inputs) count(m_.node(c.node).input(i));
  return bytes;
}

}  // namespace onnxtool::rewrite
