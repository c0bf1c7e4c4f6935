// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/version_util.h"

#include "libonnxtool/base/str.h"

namespace onnxtool {

Result<bool> lift_as_is(Model&, NodeId) { return true; }
Status lower_as_is(Model&, NodeId) { return ok(); }

void add_constant_input(Model& m, NodeId n, size_t index, std::string_view hint, Tensor t) {
  const std::string name = m.unique_name(hint);
  m.set_input(n, index, m.add_initializer(m.node(n).graph, name, std::move(t)));
}

void drop_input(Model& m, NodeId n, size_t index) {
  const Node& node = m.node(n);
  if (index >= node.num_inputs()) return;
  const ValueId gone = node.input(index);
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < node.num_inputs(); ++i) inputs.push_back(i == index ? ValueId() : node.input(i));
  while (!inputs.empty() && !inputs.back().valid()) inputs.pop_back();
  m.set_inputs(n, inputs);
  if (!gone.valid()) return;
  const Value& v = m.value(gone);
  if (v.kind == ValueKind::kInitializer && v.use_count == 0 && !v.graph_output)
    m.remove_value(gone);
}

Result<bool> lift_ints(Model& m, NodeId n, std::string_view attr, size_t index) {
  const Attribute* a = m.node(n).attr(attr);
  if (a == nullptr) return true;
  if (m.node(n).has_input(index)) return false;
  std::vector<int64_t> values;
  if (a->type == AttrType::kInts && a->ref.empty()) values = a->ints();
  else if (a->type == AttrType::kInt && a->ref.empty()) values = {a->i()};
  else return false;
  add_constant_input(m, n, index, attr, Tensor::ints(values));
  m.remove_attr(n, attr);
  return true;
}

Result<std::vector<int64_t>> constant_ints(const Model& m, NodeId n, size_t index,
                                           std::string_view what) {
  const Tensor* t = m.constant(m.node(n).input(index));
  if (t == nullptr || !is_integer(t->dtype()))
    return unsupported(format("{} is not a constant, which the older form of {} needs", what,
                              m.node(n).op.view()));
  return t->to_aligned().to_i64();
}

Status lower_ints(Model& m, NodeId n, size_t index, std::string_view attr) {
  if (!m.node(n).has_input(index)) return ok();
  TRY_ASSIGN(std::vector<int64_t> values, constant_ints(m, n, index, attr));
  drop_input(m, n, index);
  m.set_attr(n, Attribute::of(std::string(attr), std::move(values)));
  return ok();
}

Status lower_int(Model& m, NodeId n, size_t index, std::string_view attr) {
  if (!m.node(n).has_input(index)) return ok();
  TRY_ASSIGN(std::vector<int64_t> values, constant_ints(m, n, index, attr));
  if (values.size() != 1)
    return unsupported(format("{} has {} elements, the older form of {} takes one", attr,
                              values.size(), m.node(n).op.view()));
  drop_input(m, n, index);
  m.set_attr(n, Attribute::of(std::string(attr), values[0]));
  return ok();
}

Status lower_negative_axes(Model& m, NodeId n, std::string_view attr, int64_t def) {
  const Node& node = m.node(n);
  const Attribute* a = node.attr(attr);
  std::vector<int64_t> values;
  const bool list = a != nullptr && a->type == AttrType::kInts;
  if (list) values = a->ints();
  else values = {node.attr_int(attr, def)};
  bool any = false;
  for (int64_t v : values) any |= v < 0;
  if (!any) return ok();
  const ValueId x = node.input(0);
  if (!x.valid() || !m.value(x).type.shape)
    return unsupported(format("negative '{}' of {} needs an input of known rank", attr, node.op.view()));
  const int64_t rank = static_cast<int64_t>(m.value(x).type.shape->size());
  for (int64_t& v : values)
    if (v < 0) v += rank;
  if (list) m.set_attr(n, Attribute::of(std::string(attr), std::move(values)));
  else m.set_attr(n, Attribute::of(std::string(attr), values[0]));
  return ok();
}

Status lower_fixed(Model& m, NodeId n, std::string_view attr, std::string_view def,
                   std::string_view value) {
  const std::string_view have = m.node(n).attr_str(attr, def);
  if (have != value)
    return unsupported(format("{} {} of {} has no older form", attr, quoted(have),
                              m.node(n).op.view()));
  if (m.node(n).attr(attr) != nullptr) m.remove_attr(n, attr);
  return ok();
}

}  // namespace onnxtool
