// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

EditValue Edit::add(Sym op, std::vector<EditValue> inputs, std::vector<Attribute> attrs,
                    Sym domain) {
  NewNode n;
  n.op = op;
  n.domain = domain;
  n.inputs = std::move(inputs);
  n.attrs = std::move(attrs);
  nodes.push_back(std::move(n));
  EditValue v;
  v.kind = EditValue::Kind::kNode;
  v.index = static_cast<uint32_t>(nodes.size() - 1);
  return v;
}

EditValue Edit::constant(Tensor t, std::string name_hint) {
  constants.push_back({std::move(t), std::move(name_hint)});
  EditValue v;
  v.kind = EditValue::Kind::kConstant;
  v.index = static_cast<uint32_t>(constants.size() - 1);
  return v;
}

Edit::Change& Edit::change(NodeId n) {
  for (Change& c : changes)
    if (c.node == n) return c;
  changes.push_back({n, {}, {}});
  return changes.back();
}

const Shape* PassContext::shape(ValueId v) const {
  const Type& t = type(v);
  return t.is_tensor() && t.shape ? &*t.shape : nullptr;
}

Tensor PassContext::constant(ValueId v) const {
  const Tensor* t = model().constant(v);
  return t ? t->to_aligned() : Tensor();
}

std::optional<std::vector<int64_t>> PassContext::ints(ValueId v) const {
  if (!v.valid()) return std::nullopt;
  if (const Tensor* t = model().constant(v)) {
    if (!is_integer(t->dtype())) return std::nullopt;
    if (t->size() <= (1 << 16)) return t->to_aligned().to_i64();
    return std::nullopt;
  }
  const PartialValue* p = inference().partial(v);
  if (!p) return std::nullopt;
  std::vector<int64_t> r;
  for (Dim d : *p) {
    if (!d.is_const()) return std::nullopt;
    r.push_back(d.value());
  }
  return r;
}

bool PassContext::is(NodeId n, std::string_view op, int version) const {
  return n.valid() && node(n).is(op) && node(n).version >= version;
}

NodeId PassContext::producer(ValueId v, std::string_view op, int version) const {
  if (!v.valid() || model().value(v).kind != ValueKind::kOutput) return {};
  const NodeId p = model().value(v).producer;
  return is(p, op, version) ? p : NodeId();
}

NodeId PassContext::sole_user(ValueId v) const {
  const Use* u = model().sole_use(v);
  return u ? u->node : NodeId();
}

const Pass* find_pass(std::string_view name) {
  for (const Pass* p : all_passes())
    if (name == p->name) return p;
  return nullptr;
}

}  // namespace onnxtool
