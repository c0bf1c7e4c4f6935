// SPDX-License-Identifier: Apache-2.0
// Model to ONNX protobuf. What was not touched since reading is written as the bytes it was read
// from; the rest field by field, in the order of onnx.proto.
#include <algorithm>
#include <unordered_set>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/writer.h"
#include "libonnxtool/ops/lift.h"

namespace onnxtool {
namespace {

class Writer {
 public:
  Writer(const Model& model, ExternalPlan* plan) : m_(model), plan_(plan) {}
  Result<Rope> model();

 private:
  Result<Rope> graph(GraphId g);
  Result<Rope> node(NodeId n);
  Result<Rope> attribute(const Attribute& a);
  Result<Rope> function(const Function& f);
  Rope tensor(const TensorConst& t, std::string_view name);
  Rope sparse(const SparseTensor& t, std::string_view name);
  Rope value_info(const Value& v, const Bytes& info, const Type& type);
  void infos(Rope& r, uint32_t field, const Graph& g, GraphId id);
  void opsets(Rope& r, uint32_t field, const std::vector<OpsetImport>& imports);
  std::string_view name_of(ValueId v) const {
    return v.valid() ? std::string_view(m_.value(v).name) : "";
  }
  const Model& m_;
  ExternalPlan* plan_;
};

Rope Writer::tensor(const TensorConst& t, std::string_view name) {
  if (plan_ != nullptr)
    if (const auto ref = plan_->place(t, name)) return write_tensor(t, name, &*ref);
  return write_tensor(t, name);
}

Rope Writer::sparse(const SparseTensor& t, std::string_view name) {
  if (!t.origin.empty() && !t.values.external && !t.indices.external)
    return write_sparse_tensor(t, name);
  Rope r;
  r.message(1, tensor(t.values, name));
  r.message(2, tensor(t.indices, t.indices.name));
  r.packed(3, t.dims, [](int64_t d) { return static_cast<uint64_t>(d); });
  return r;
}

Rope Writer::value_info(const Value& v, const Bytes& info, const Type& type) {
  // The bytes as read where name and type still say the same; else name, type, and what else was
  // there.
  Rope r;
  std::string others;
  std::string_view old_name;
  Type old_type;
  if (!info.empty()) {
    ReadContext ctx(info.data, info.owner);
    MergedBytes t;
    (void)for_each_field(info.data, info.size, info.data, [&](const WireField& f) -> Status {
      if (f.number == 1 && f.type == WireType::kBytes)
        old_name = f.view();
      else if (f.number == 2 && f.type == WireType::kBytes)
        t.add(f, ctx);
      else
        others.append(reinterpret_cast<const char*>(f.start), static_cast<size_t>(f.end - f.start));
      return ok();
    });
    if (t.seen)
      if (auto parsed = read_type(ctx, t.bytes.data, t.bytes.size); parsed.ok())
        old_type = std::move(parsed).value();
    if (old_name == v.name && old_type.same(type)) {
      r.raw(info);
      return r;
    }
  }
  r.bytes(1, v.name);
  if (type.known()) r.message(2, write_type(type));
  r.raw(std::string_view(others));
  return r;
}

void Writer::infos(Rope& r, uint32_t field, const Graph& g, GraphId id) {
  for (const auto& [v, raw] : g.infos) {
    if (!v.valid()) {
      r.borrowed(field, raw);
      continue;
    }
    const Value& val = m_.value(v);
    if (val.listed && val.graph == id && val.kind != ValueKind::kNone)
      r.message(field, value_info(val, val.info, val.declared));
  }
}

void Writer::opsets(Rope& r, uint32_t field, const std::vector<OpsetImport>& imports) {
  for (const OpsetImport& o : imports) {
    Rope e;
    if (o.named)
      e.bytes(1, o.spelled == Sym() || !(o.domain == Sym()) ? o.domain.view() : o.spelled.view());
    e.varint(2, static_cast<uint64_t>(o.version));
    r.message(field, std::move(e));
  }
}

Result<Rope> Writer::attribute(const Attribute& a) {
  Rope r;
  r.bytes(1, a.name);
  const auto number = [](int64_t v) { return static_cast<uint64_t>(v); };
  if (!a.ref.empty()) {
    r.bytes(21, a.ref);
  } else {
    switch (a.type) {
      case AttrType::kFloat: r.fixed32(2, a.f()); break;
      case AttrType::kInt: r.varint(3, number(a.i())); break;
      case AttrType::kString: r.bytes(4, a.s()); break;
      case AttrType::kTensor: {
        const auto& t = *std::get<std::shared_ptr<const TensorConst>>(a.value);
        r.message(5, tensor(t, t.name));
        break;
      }
      case AttrType::kGraph: {
        TRY_ASSIGN(Rope g, graph(a.g()));
        r.message(6, std::move(g));
        break;
      }
      case AttrType::kFloats:
        for (float v : a.floats()) r.fixed32(7, v);
        break;
      case AttrType::kInts:
        for (int64_t v : a.ints()) r.varint(8, number(v));
        break;
      case AttrType::kStrings:
        for (const std::string& s : a.strings()) r.bytes(9, s);
        break;
      case AttrType::kTensors:
        for (const TensorConst& t : std::get<std::vector<TensorConst>>(a.value))
          r.message(10, tensor(t, t.name));
        break;
      case AttrType::kGraphs:
        for (GraphId id : a.graphs()) {
          TRY_ASSIGN(Rope g, graph(id));
          r.message(11, std::move(g));
        }
        break;
      case AttrType::kSparseTensor:
        r.message(22, sparse(a.sparse(), a.sparse().values.name));
        break;
      case AttrType::kSparseTensors:
        for (const SparseTensor& t : std::get<std::vector<SparseTensor>>(a.value))
          r.message(23, sparse(t, t.values.name));
        break;
      case AttrType::kTypeProto: r.message(14, write_type(std::get<Type>(a.value))); break;
      case AttrType::kTypeProtos:
        for (const Type& t : std::get<std::vector<Type>>(a.value)) r.message(15, write_type(t));
        break;
      case AttrType::kUndefined: break;
    }
  }
  if (a.type != AttrType::kUndefined) r.varint(20, static_cast<uint64_t>(a.type));
  r.raw(a.extra);
  return r;
}

// Tensors of the attributes that a data file holds: the bytes as read would point nowhere.
bool has_external(const Node& n) {
  for (const Attribute& a : n.attrs) {
    if (const auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value);
        t && (*t)->external)
      return true;
    if (const auto* l = std::get_if<std::vector<TensorConst>>(&a.value))
      for (const TensorConst& t : *l)
        if (t.external) return true;
    if (const auto* s = std::get_if<std::shared_ptr<const SparseTensor>>(&a.value);
        s && ((*s)->values.external || (*s)->indices.external))
      return true;
  }
  return false;
}

Result<Rope> Writer::node(NodeId id) {
  const Node& n = m_.node(id);
  Rope r;
  const bool rewrite_tensors = has_external(n) || (plan_ != nullptr && plan_->wants_attributes(n));
  if (!n.origin.empty() && !n.has_subgraphs() && !rewrite_tensors) {
    r.raw(n.origin);
    return r;
  }
  r.raw(n.extra);
  for (size_t i = 0; i < n.num_inputs(); ++i) r.bytes(1, name_of(n.input(i)));
  for (ValueId o : n.outputs()) r.bytes(2, name_of(o));
  if (!n.name.empty()) r.bytes(3, n.name);
  r.bytes(4, n.op.view());
  for (const Attribute& a : n.attrs) {
    auto w = attribute(a);
    if (!w.ok()) return std::move(w).context(m_.describe(id));
    r.message(5, std::move(w).value());
  }
  std::string_view domain = n.domain.view();
  if (domain.empty() && !n.origin.empty())  // as the file spelled it
    (void)for_each_field(n.origin.data, n.origin.size, n.origin.data,
                         [&](const WireField& f) -> Status {
                           if (f.number == 7 && f.type == WireType::kBytes) domain = f.view();
                           return ok();
                         });
  if (!domain.empty()) r.bytes(7, domain);
  if (!n.overload.empty()) r.bytes(8, n.overload);
  return r;
}

Result<Rope> Writer::graph(GraphId id) {
  const Graph& g = m_.graph(id);
  Rope r;
  r.raw(g.extra);
  for (NodeId n : g.nodes) {
    if (m_.node(n).removed()) continue;
    TRY_ASSIGN(Rope w, node(n));
    r.message(1, std::move(w));
  }
  if (!g.name.empty()) r.bytes(2, g.name);
  for (ValueId v : g.initializers) {
    const Value& val = m_.value(v);
    if (!val.constant) continue;
    if (val.constant->sparse)
      r.message(15, sparse(*val.constant->sparse, val.name));
    else
      r.message(5, tensor(val.constant->dense, val.name));
  }
  for (ValueId v : g.inputs) {
    const Value& val = m_.value(v);
    r.message(11, value_info(val, val.info, val.declared));
  }
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    const Value& val = m_.value(g.outputs[i]);
    r.message(12, value_info(val, g.output_info[i], g.output_types[i]));
  }
  infos(r, 13, g, id);
  return r;
}

Result<Rope> Writer::function(const Function& f) {
  const Graph& g = m_.graph(f.body);
  Rope r;
  r.bytes(1, f.name);
  for (ValueId v : g.inputs) r.bytes(4, m_.value(v).name);
  for (ValueId v : g.outputs) r.bytes(5, m_.value(v).name);
  for (const std::string& a : f.attributes) r.bytes(6, a);
  for (NodeId n : g.nodes) {
    if (m_.node(n).removed()) continue;
    TRY_ASSIGN(Rope w, node(n));
    r.message(7, std::move(w));
  }
  opsets(r, 9, f.opset_imports);
  if (!f.domain.empty()) r.bytes(10, f.domain);
  for (const Attribute& a : f.attribute_defaults) {
    TRY_ASSIGN(Rope w, attribute(a));
    r.message(11, std::move(w));
  }
  infos(r, 12, g, f.body);
  if (!f.overload.empty()) r.bytes(13, f.overload);
  r.raw(f.extra);
  return r;
}

Result<Rope> Writer::model() {
  // In the order of field numbers, as OpenVINO wants to see it. Fields that `extra` may hold empty
  // stand before ours, which then count.
  constexpr uint32_t kGraph = 7;
  std::vector<Bytes> late;
  Rope r;
  if (m_.ir_version != 0) r.varint(1, static_cast<uint64_t>(m_.ir_version));
  TRY(for_each_field(
      m_.extra.data, m_.extra.size, m_.extra.data, [&](const WireField& f) -> Status {
        const Bytes field{f.start, static_cast<size_t>(f.end - f.start), m_.extra.owner};
        if (f.number < kGraph)
          r.raw(field);
        else
          late.push_back(field);
        return ok();
      }));
  if (!m_.producer_name.empty()) r.bytes(2, m_.producer_name);
  if (!m_.producer_version.empty()) r.bytes(3, m_.producer_version);
  if (!m_.domain.empty()) r.bytes(4, m_.domain);
  TRY_ASSIGN(Rope g, graph(m_.main()));
  r.message(7, std::move(g));
  opsets(r, 8, m_.opset_imports);
  for (const Function& f : m_.functions) {
    auto w = function(f);
    if (!w.ok()) return std::move(w).context("function " + quoted(f.name));
    r.message(25, std::move(w).value());
  }
  for (const Bytes& b : late) r.raw(b);
  return r;
}

// Whether writing needs nodes brought to their opset: some node was touched and is held at another
// version than its opset's.
bool needs_lowering(const Model& m) {
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (!n.removed() && n.version != 0 && (n.origin.empty() || n.has_subgraphs())) return true;
  }
  return false;
}

// Constants made by lifting, which only nodes written as they were read still use, and others that
// nothing uses any more but were not in the file.
void drop_lifted_constants(Model& m) {
  std::vector<GraphId> changed;
  std::unordered_set<ValueId> used;
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (n.removed() || (!n.origin.empty() && !n.has_subgraphs())) continue;
    for (size_t k = 0; k < n.num_inputs(); ++k) used.insert(n.input(k));
  }
  for (size_t i = 0; i < m.num_values(); ++i) {
    const ValueId id(static_cast<uint32_t>(i));
    Value& v = m.value(id);
    if (!v.lifted || v.kind != ValueKind::kInitializer || used.count(id) || v.graph_output)
      continue;
    v.constant = nullptr;
    changed.push_back(v.graph);
  }
}

}  // namespace

Result<Rope> write_model(const Model& model, ExternalPlan* plan) {
  Model copy = model.clone();
  if (needs_lowering(copy)) {
    const size_t count = copy.num_nodes();
    for (size_t i = 0; i < count; ++i) {
      const NodeId id(static_cast<uint32_t>(i));
      const Node& n = copy.node(id);
      if (n.removed() || n.version == 0 || (!n.origin.empty() && !n.has_subgraphs())) continue;
      const int64_t opset = copy.opset(n.graph, n.domain);
      if (opset != 0) TRY(lower_node(copy, id, opset));
    }
  }
  drop_lifted_constants(copy);
  return Writer(copy, plan).model();
}

Result<std::string> model_bytes(const Model& model) {
  TRY_ASSIGN(Rope r, write_model(model, nullptr));
  return r.flat();
}

}  // namespace onnxtool
