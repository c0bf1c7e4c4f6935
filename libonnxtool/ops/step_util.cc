// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/step_util.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {

Result<bool> step_same_up(Model&, NodeId) { return true; }
Status step_same_down(Model&, NodeId) { return ok(); }

bool refers(const Node& n, std::string_view attr) {
  const Attribute* a = n.attr(attr);
  return a && !a->ref.empty();
}

DType declared_dtype(const Model& m, ValueId v) {
  // Up through producers whose output has the element type of one of their inputs.
  for (int steps = 0; v.valid() && steps < 256; ++steps) {
    if (const Tensor* t = m.constant(v)) return t->dtype();
    const Value& value = m.value(v);
    if (value.type.dtype != DType::kUndefined) return value.type.dtype;
    if (value.kind != ValueKind::kOutput) return DType::kUndefined;
    const Node& n = m.node(value.producer);
    const Schema* s = find_schema(n.domain.view(), n.op.view(), n.version);
    const ParamSpec* out = s ? s->output(value.output_index) : nullptr;
    v = ValueId();
    for (size_t i = 0; out && i < n.num_inputs(); ++i) {
      const ParamSpec* in = s->input(i);
      if (!in || std::string_view(in->type) != out->type || !n.has_input(i)) continue;
      v = n.input(i);
      break;
    }
    if (!v.valid() && out && std::string_view(out->type) == "tensor(float)") return DType::kFloat;
  }
  return DType::kUndefined;
}

std::optional<int64_t> declared_rank(const Model& m, ValueId v) {
  if (!v.valid()) return std::nullopt;
  if (const Tensor* t = m.constant(v)) return t->rank();
  const Type& type = m.value(v).type;
  if (!type.is_tensor() || !type.shape) return std::nullopt;
  return static_cast<int64_t>(type.shape->size());
}

Error step_error(std::string_view reason) { return unsupported(std::string(reason)); }

Result<bool> drop_consumed_inputs(Model& m, NodeId n) {
  m.remove_attr(n, "consumed_inputs");
  return true;
}

void set_constant_input(Model& m, NodeId n, size_t i, std::string_view what, Tensor t) {
  const Node& node = m.node(n);
  const ValueId first = node.output(0).valid() ? node.output(0) : node.input(0);
  const std::string base = first.valid() ? m.value(first).name : node.name;
  const GraphId graph = node.graph;
  std::string name = m.unique_name(format("{}_{}", base, what));
  const ValueId v = m.add_initializer(graph, std::move(name), std::move(t));
  m.set_input(n, i, v);
}

void drop_input(Model& m, NodeId n, size_t i) {
  std::vector<ValueId> inputs;
  for (size_t k = 0; k < m.node(n).num_inputs(); ++k) inputs.push_back(m.node(n).input(k));
  if (i >= inputs.size()) return;
  const ValueId old = inputs[i];
  inputs[i] = ValueId();
  while (!inputs.empty() && !inputs.back().valid()) inputs.pop_back();
  m.set_inputs(n, inputs);
  if (!old.valid()) return;
  const Value& v = m.value(old);
  if (v.is_constant() && v.use_count == 0 && !v.graph_output) m.remove_value(old);
}

Result<bool> ints_to_input(Model& m, NodeId n, std::string_view attr, size_t index) {
  const Attribute* a = m.node(n).attr(attr);
  if (!a) return true;
  const auto* values = m.node(n).attr_ints(attr);
  if (!values || !a->ref.empty() || m.node(n).has_input(index)) return false;
  Tensor t = Tensor::ints(*values);
  m.remove_attr(n, attr);
  set_constant_input(m, n, index, attr, std::move(t));
  return true;
}

Status input_to_ints(Model& m, NodeId n, size_t index, std::string_view attr) {
  const ValueId v = m.node(n).input(index);
  if (!v.valid()) return ok();
  const Tensor* t = m.constant(v);
  if (!t || !is_integer(t->dtype()))
    return step_error(format("input '{}' is not constant, and it is an attribute there", attr));
  m.set_attr(n, Attribute::of(std::string(attr), t->to_i64()));
  drop_input(m, n, index);
  return ok();
}

Result<bool> axes_to_input(Model& m, NodeId n) { return ints_to_input(m, n, "axes", 1); }

Status axes_to_attribute(Model& m, NodeId n) {
  const ValueId v = m.node(n).input(1);
  const Tensor* t = v.valid() ? m.constant(v) : nullptr;
  const bool none = !v.valid() || (t && t->size() == 0);
  if (none && m.node(n).attr_int("noop_with_empty_axes", 0) != 0)
    return step_error("attribute 'noop_with_empty_axes' does not exist there");
  TRY(input_to_ints(m, n, 1, "axes"));
  if (none) m.remove_attr(n, "axes");
  m.remove_attr(n, "noop_with_empty_axes");
  return ok();
}

Result<bool> coerced_axis_up(Model& m, NodeId n) {
  if (refers(m.node(n), "axis")) return false;
  const int64_t axis = m.node(n).attr_int("axis", 1);
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (axis != -1 && !(rank && axis == *rank - 1)) return false;
  m.set_attr(n, Attribute::of("axis", int64_t{axis}));
  return true;
}

Status coerced_axis_down(Model& m, NodeId n) {
  const int64_t axis = m.node(n).attr_int("axis", -1);
  const auto rank = declared_rank(m, m.node(n).input(0));
  if (refers(m.node(n), "axis") || (axis != -1 && !(rank && axis == *rank - 1)))
    return step_error(format("axis {} is not known to be the last one", axis));
  m.set_attr(n, Attribute::of("axis", rank ? *rank - 1 : axis));
  return ok();
}

Result<bool> floats_only_up(Model& m, NodeId n) {
  const DType t = declared_dtype(m, m.node(n).input(0));
  return t == DType::kUndefined || is_float(t);
}

}  // namespace onnxtool
