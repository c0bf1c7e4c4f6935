// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/lift.h"

#include <algorithm>
#include <map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

const VersionStep* step_to(const OpDef* def, int version) {
  if (def == nullptr) return nullptr;
  for (const VersionStep& s : def->steps)
    if (s.to == version) return &s;
  return nullptr;
}

// Steps rely on the inputs that the schema requires.
bool has_required_inputs(const Node& n, const Schema& s) {
  for (size_t i = 0; i < static_cast<size_t>(s.min_inputs); ++i) {
    const ParamSpec* p = s.input(i);
    if (p != nullptr && p->option == ParamOption::kSingle && !n.has_input(i)) return false;
  }
  return true;
}

// Goes up from the node's version to at most `limit`, as far as steps lead.
Status go_up(Model& m, NodeId id, int64_t limit) {
  const OpDef* def = find_op(m.node(id));
  for (const Schema* s : schema_versions(m.node(id).domain.view(), m.node(id).op.view())) {
    if (s->since_version == m.node(id).version && !has_required_inputs(m.node(id), *s)) break;
    if (s->since_version <= m.node(id).version) continue;
    if (s->since_version > limit || s->deprecated) break;
    if (const VersionStep* step = step_to(def, s->since_version)) {
      if (step->up == nullptr) break;
      TRY_ASSIGN(const bool done, step->up(m, id));
      if (!done) break;
    }
    m.node(id).version = s->since_version;
  }
  return ok();
}

Error no_form(const Model& m, NodeId id, int64_t opset, const std::string& why) {
  const Node& n = m.node(id);
  return unsupported(format("{} has no equal form in opset {} of '{}': {}", m.describe(id), opset,
                            n.domain.view().empty() ? "ai.onnx" : escape(n.domain.view()), why));
}

// An attribute that came later is no loss when it has its default value.
void drop_later_defaults(Model& m, NodeId id, const Schema& now, const Schema& target) {
  const std::vector<Attribute> attrs = m.node(id).attrs;
  for (const Attribute& a : attrs) {
    const AttrSpec* spec = now.attr(a.name);
    if (target.attr(a.name) != nullptr || spec == nullptr || spec->default_text == nullptr ||
        !a.ref.empty())
      continue;
    const bool same = (a.type == AttrType::kInt && std::to_string(a.i()) == spec->default_text) ||
                      (a.type == AttrType::kString && a.s() == spec->default_text);
    if (same) m.remove_attr(id, a.name);
  }
}

Status fits(const Model& m, NodeId id, const Schema& s, int64_t opset) {
  const Node& n = m.node(id);
  size_t inputs = n.num_inputs();
  while (inputs > 0 && !n.has_input(inputs - 1)) --inputs;
  if (inputs > static_cast<size_t>(s.max_inputs))
    return no_form(m, id, opset, format("it takes at most {} inputs there", s.max_inputs));
  if (n.num_outputs() > static_cast<size_t>(s.max_outputs))
    return no_form(m, id, opset, format("it has at most {} outputs there", s.max_outputs));
  for (const Attribute& a : n.attrs)
    if (s.attr(a.name) == nullptr)
      return no_form(m, id, opset, format("attribute {} came later", quoted(a.name)));
  std::map<std::string_view, DType> bound;  // element types by constraint
  for (size_t i = 0; i < inputs; ++i) {
    const ParamSpec* p = s.input(i);
    if (p == nullptr || !n.has_input(i)) continue;
    const Type& t = m.value(n.input(i)).type;
    if (t.is_tensor() && t.dtype != DType::kUndefined && p->homogeneous &&
        bound.emplace(p->type, t.dtype).first->second != t.dtype)
      return no_form(m, id, opset,
                     format("input '{}' must be {} there", p->name, dtype_name(bound[p->type])));
    if (!type_allowed(s.types_of(*p), t))
      return no_form(m, id, opset,
                     format("input '{}' cannot be {} there", p->name, type_string(t)));
  }
  return ok();
}

}  // namespace

Status lift_node(Model& m, NodeId id) {
  Node& n = m.node(id);
  if (n.removed() || m.find_function(n.domain, n.op, n.overload) != nullptr) return ok();
  const int64_t opset = m.opset(n.graph, n.domain);
  const Schema* s = opset > 0 ? find_schema(n.domain.view(), n.op.view(), opset) : nullptr;
  if (s == nullptr) return ok();
  n.version = s->since_version;
  return s->deprecated ? ok() : lift_further(m, id);
}

Status lift_further(Model& m, NodeId id) {
  const Bytes origin = m.node(id).origin;
  const size_t values = m.num_values();
  TRY(go_up(m, id, INT64_MAX));
  for (size_t i = values; i < m.num_values(); ++i)
    m.value(ValueId(static_cast<uint32_t>(i))).lifted = true;
  m.node(id).origin = origin;
  return ok();
}

Status lift_model(Model& m) {
  const size_t count = m.num_nodes();
  for (size_t i = 0; i < count; ++i) TRY(lift_node(m, NodeId(static_cast<uint32_t>(i))));
  return ok();
}

Status lower_node(Model& m, NodeId id, int64_t opset) {
  const Schema* target = find_schema(m.node(id).domain.view(), m.node(id).op.view(), opset);
  if (target == nullptr) return no_form(m, id, opset, "the operator came later");
  if (target->deprecated) return no_form(m, id, opset, "the operator is deprecated there");
  if (m.node(id).version < target->since_version) {
    TRY(go_up(m, id, target->since_version));
    if (m.node(id).version < target->since_version)
      return no_form(
          m, id, opset,
          format("its form of version {} means something else there", m.node(id).version));
  }
  const OpDef* def = find_op(m.node(id));
  if (const Schema* now =
          find_schema(m.node(id).domain.view(), m.node(id).op.view(), m.node(id).version);
      now != nullptr && !has_required_inputs(m.node(id), *now))
    return no_form(m, id, opset, "an input that it requires is left out");
  const auto versions = schema_versions(m.node(id).domain.view(), m.node(id).op.view());
  for (auto v = versions.rbegin(); v != versions.rend(); ++v) {
    const int version = (*v)->since_version;
    if (version > m.node(id).version || version <= target->since_version) continue;
    const VersionStep* step = step_to(def, version);
    if (step == nullptr) continue;
    if (step->down == nullptr)
      return no_form(m, id, opset, format("its meaning changed with version {}", version));
    if (auto s = step->down(m, id); !s.ok()) return no_form(m, id, opset, s.error().message);
  }
  if (const Schema* now =
          find_schema(m.node(id).domain.view(), m.node(id).op.view(), m.node(id).version))
    drop_later_defaults(m, id, *now, *target);
  TRY(fits(m, id, *target, opset));
  m.node(id).version = target->since_version;
  return ok();
}

Status can_lower(const Model& model, NodeId id, int64_t opset) {
  const Node& n = model.node(id);
  const Schema* target = find_schema(n.domain.view(), n.op.view(), opset);
  if (target && target->since_version == n.version && !target->deprecated &&
      has_required_inputs(n, *target))
    return fits(model, id, *target, opset);
  // Tried on a model that holds nothing but this node.
  Model m;
  m.ir_version = model.ir_version;
  m.opset_imports.push_back({n.domain, opset});
  const GraphId g = m.add_graph();
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    const ValueId v = n.input(i);
    inputs.emplace_back();
    if (!v.valid()) continue;
    const Tensor* c = model.constant(v);
    inputs.back() = c ? m.add_initializer(g, model.value(v).name, *c)
                      : m.add_input(g, model.value(v).name, model.value(v).type);
  }
  std::vector<std::string> outputs;
  for (ValueId o : n.outputs()) outputs.push_back(o.valid() ? model.value(o).name : std::string());
  std::vector<Attribute> attrs = n.attrs;
  std::erase_if(attrs, [](const Attribute& a) {
    return a.type == AttrType::kGraph || a.type == AttrType::kGraphs;
  });
  const NodeId copy = m.add_node(g, n.op, inputs, outputs, std::move(attrs), n.domain);
  m.node(copy).version = n.version;
  m.node(copy).name = n.name;
  return lower_node(m, copy, opset);
}

Attribute plain_constant(const Attribute& a) {
  if (a.type == AttrType::kInt && a.name == "value_int" && a.ref.empty())
    return Attribute::of("value", Tensor::scalar<int64_t>(a.i()));
  if (a.type == AttrType::kInts && a.name == "value_ints" && a.ref.empty())
    return Attribute::of("value", Tensor::ints(a.ints()));
  if (a.type == AttrType::kFloat && a.name == "value_float" && a.ref.empty())
    return Attribute::of("value", Tensor::scalar<float>(a.f()));
  return a;
}

}  // namespace onnxtool
