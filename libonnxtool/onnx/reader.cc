// SPDX-License-Identifier: Apache-2.0
// ONNX protobuf to Model. A graph is read in steps: first all fields are located, then inputs,
// initializers and node outputs become values, then inputs are linked by name through the scopes
// around, and last the graphs held by nodes are read. What we do not interpret is kept as bytes.
#include <algorithm>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/function_library.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/onnx/tensor_proto.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

constexpr int kMaxGraphNesting = 64;

struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string_view, ValueId> values;
  ValueId find(std::string_view name) const {
    for (const Scope* s = this; s != nullptr; s = s->outer)
      if (auto it = s->values.find(name); it != s->values.end()) return it->second;
    return {};
  }
};

std::string_view encoded(const WireField& f) {
  return {reinterpret_cast<const char*>(f.start), static_cast<size_t>(f.end - f.start)};
}

Sym normal_domain(std::string_view d) { return d == "ai.onnx" ? Sym() : Sym(d); }

class Reader {
 public:
  Reader(ReadContext& ctx, Model& model) : ctx_(ctx), m_(model) {}
  Status model(const std::byte* data, size_t size);
  // Adds functions of the library that are called, and those that these call.
  Status add_functions(const FunctionLibrary& library);
  // Afterwards: an added function that imports another version of an operator set than the model
  // is brought to the model's, where its nodes were lifted.
  void unify_imports();

 private:
  void name_constants(const Function& fn);
  Status opset(const WireField& f, std::vector<OpsetImport>& imports);
  Status graph(GraphId g, const Bytes& bytes, const Scope* outer, int depth);
  Status function(const WireField& f, int32_t index);
  Status nodes(GraphId g, const std::vector<WireField>& fields, Scope& scope, int depth);
  Status node_fields(const WireField& f, NodeId n, std::vector<std::string_view>& in,
                     std::vector<std::string_view>& out, std::vector<WireField>& attrs);
  Status attribute(const WireField& f, Attribute& a, NodeId owner, GraphId g, const Scope* scope,
                   int depth);
  Status value_info(const WireField& f, std::string& name, Type& type);
  // Checks well-formedness of a message we only carry, and the external data its tensors name.
  Status carried(const WireField& f, const MessageDesc& desc, std::string& extra);
  Status tensors_within(const MessageDesc& desc, const std::byte* data, size_t size, int depth);
  Bytes range(const WireField& f) const { return {f.data, f.size, ctx_.owner}; }
  Bytes keep(std::string extra) const {
    return extra.empty() ? Bytes() : Bytes::copy(std::move(extra));
  }

  ReadContext& ctx_;
  Model& m_;
  size_t own_functions_ = SIZE_MAX;
};

bool is_message(const WireField& f) { return f.type == WireType::kBytes; }

// A singular text field that is there, but empty: kept as bytes, so that it is written back.
bool empty_text(const FieldDesc& d, const WireField& f) {
  return d.kind == FieldKind::kString && !d.repeated && is_message(f) && f.size == 0;
}

Status Reader::tensors_within(const MessageDesc& desc, const std::byte* data, size_t size,
                              int depth) {
  if (depth > kMaxNesting)
    return unsupported(format("messages nested more than {} deep", kMaxNesting));
  if (&desc == &kTensorProto) {
    auto t = read_tensor(ctx_, data, size);
    return t.ok() ? ok() : Status(std::move(t).error());
  }
  return for_each_field(data, size, ctx_.base, [&](const WireField& f) -> Status {
    const FieldDesc* d = desc.find(f.number);
    if (d == nullptr || d->kind != FieldKind::kMessage || !is_message(f)) return ok();
    if (auto s = tensors_within(*d->message, f.data, f.size, depth + 1); !s.ok())
      return std::move(s).context(d->name);
    return ok();
  });
}

Status Reader::carried(const WireField& f, const MessageDesc& desc, std::string& extra) {
  extra += encoded(f);
  const FieldDesc* d = desc.find(f.number);
  if (d == nullptr || d->kind != FieldKind::kMessage || !is_message(f)) return ok();
  Status s = check_message(*d->message, f.data, f.size, ctx_.base);
  if (s.ok() && (d->message == &kTrainingInfoProto))
    s = tensors_within(*d->message, f.data, f.size, 0);
  return s.ok() ? std::move(s) : std::move(s).context(d->name);
}

Status Reader::opset(const WireField& f, std::vector<OpsetImport>& imports) {
  OpsetImport o;
  o.named = false;
  TRY(for_each_field(f.data, f.size, ctx_.base, [&](const WireField& e) -> Status {
    if (e.number == 1 && is_message(e)) {
      o.named = true;
      o.spelled = Sym(e.view());
      o.domain = normal_domain(e.view());
    }
    if (e.number == 2 && e.type == WireType::kVarint) o.version = e.i64();
    return ok();
  }));
  imports.push_back(o);
  return ok();
}

Status Reader::model(const std::byte* data, size_t size) {
  std::string extra;
  MergedBytes graph_bytes;
  std::vector<WireField> function_fields;
  TRY(for_each_field(data, size, ctx_.base, [&](const WireField& f) -> Status {
    const FieldDesc* d = kModelProto.find(f.number);
    if (d != nullptr && wire_type_fits(*d, f.type) && !empty_text(*d, f)) {
      switch (f.number) {
        case 1: m_.ir_version = f.i64(); return ok();
        case 2: m_.producer_name = f.str(); return ok();
        case 3: m_.producer_version = f.str(); return ok();
        case 4: m_.domain = f.str(); return ok();
        case 7: graph_bytes.add(f, ctx_); return ok();
        case 8:
          if (auto s = opset(f, m_.opset_imports); !s.ok())
            return std::move(s).context("opset_import");
          return ok();
        case 25: function_fields.push_back(f); return ok();
        default: break;
      }
    }
    return carried(f, kModelProto, extra);
  }));
  m_.extra = keep(std::move(extra));
  m_.add_graph();
  for (const WireField& f : function_fields) {  // all are known before any body is read
    Function fn;
    TRY(for_each_field(f.data, f.size, ctx_.base, [&](const WireField& e) -> Status {
      if (!is_message(e)) return ok();
      if (e.number == 1) fn.name = e.str();
      if (e.number == 10) fn.domain = e.str();
      if (e.number == 13) fn.overload = e.str();
      return ok();
    }));
    if (fn.name.empty())
      return invalid(format("function without a name at byte {}", f.start - ctx_.base));
    m_.functions.push_back(std::move(fn));
  }
  if (!graph_bytes.seen) return invalid("model without a graph");
  if (auto s = graph(m_.main(), graph_bytes.bytes, nullptr, 0); !s.ok())
    return std::move(s).context("graph");
  for (size_t i = 0; i < function_fields.size(); ++i)
    if (auto s = function(function_fields[i], static_cast<int32_t>(i)); !s.ok())
      return std::move(s).context("function " + quoted(m_.functions[i].name));
  return ok();
}

Status Reader::value_info(const WireField& f, std::string& name, Type& type) {
  MergedBytes t;
  TRY(for_each_field(f.data, f.size, ctx_.base, [&](const WireField& e) -> Status {
    if (e.number == 1 && is_message(e)) name = e.str();
    if (e.number == 2 && is_message(e)) t.add(e, ctx_);
    return ok();
  }));
  if (!t.seen) return ok();
  auto r = read_type(ctx_, t.bytes.data, t.bytes.size);
  if (!r.ok()) return std::move(r).context("type of " + quoted(name)).error();
  type = std::move(r).value();
  return ok();
}

Status Reader::graph(GraphId g, const Bytes& bytes, const Scope* outer, int depth) {
  if (depth > kMaxGraphNesting)
    return unsupported(format("graphs nested more than {} deep", kMaxGraphNesting));
  std::vector<WireField> node_fields, initializers, sparse, inputs, outputs, infos;
  std::string extra;
  TRY(for_each_field(bytes.data, bytes.size, ctx_.base, [&](const WireField& f) -> Status {
    const FieldDesc* d = kGraphProto.find(f.number);
    if (d != nullptr && wire_type_fits(*d, f.type) && !empty_text(*d, f)) {
      switch (f.number) {
        case 1: node_fields.push_back(f); return ok();
        case 2: m_.graph(g).name = f.str(); return ok();
        case 5: initializers.push_back(f); return ok();
        case 11: inputs.push_back(f); return ok();
        case 12: outputs.push_back(f); return ok();
        case 13: infos.push_back(f); return ok();
        case 15: sparse.push_back(f); return ok();
        default: break;
      }
    }
    return carried(f, kGraphProto, extra);
  }));
  const size_t first_value = m_.num_values();
  Scope scope;
  scope.outer = outer;
  const auto define = [&](ValueId v, std::string_view name) { scope.values.emplace(name, v); };
  // The names that keys point to must outlive the scope: they are taken from the file's bytes.
  const auto name_at = [&](const WireField& f, uint32_t number) {
    std::string_view name;
    (void)for_each_field(f.data, f.size, ctx_.base, [&](const WireField& e) -> Status {
      if (e.number == number && is_message(e)) name = e.view();
      return ok();
    });
    return name;
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string name;
    Type type;
    Status s = value_info(inputs[i], name, type);
    if (s.ok() && name.empty()) s = invalid("input without a name");
    if (!s.ok()) return std::move(s).context(format("input[{}]", i));
    const ValueId v = m_.add_input(g, std::move(name), std::move(type));
    m_.value(v).info = range(inputs[i]);
    define(v, name_at(inputs[i], 1));
  }
  const auto add_constant = [&](std::string name, std::string_view key,
                                std::shared_ptr<const Constant> c, Type type) {
    if (const auto it = scope.values.find(key); it != scope.values.end() &&
                                                m_.value(it->second).kind == ValueKind::kInput &&
                                                !m_.value(it->second).constant) {
      m_.value(it->second).constant = std::move(c);
      m_.graph(g).initializers.push_back(it->second);
      return;
    }
    const ValueId v = m_.add_undefined(g, std::move(name));
    m_.value(v).kind = ValueKind::kInitializer;
    m_.value(v).constant = std::move(c);
    m_.value(v).type = std::move(type);
    m_.graph(g).initializers.push_back(v);
    define(v, key);
  };
  for (size_t i = 0; i < initializers.size(); ++i) {
    auto t = read_tensor(ctx_, initializers[i].data, initializers[i].size);
    if (!t.ok()) return std::move(t).context(format("initializer[{}]", i)).error();
    if (t->name.empty()) return invalid(format("initializer[{}] without a name", i));
    auto c = std::make_shared<Constant>();
    Type type = Type::tensor(t->tensor.dtype(), to_shape(t->tensor.dims()));
    std::string name = t->name;
    c->dense = std::move(t).value();
    add_constant(std::move(name), name_at(initializers[i], 8), std::move(c), std::move(type));
  }
  for (size_t i = 0; i < sparse.size(); ++i) {
    auto t = read_sparse_tensor(ctx_, sparse[i].data, sparse[i].size);
    if (!t.ok()) return std::move(t).context(format("sparse_initializer[{}]", i)).error();
    if (t->values.name.empty()) return invalid(format("sparse_initializer[{}] without a name", i));
    std::string_view key;
    (void)for_each_field(sparse[i].data, sparse[i].size, ctx_.base,
                         [&](const WireField& e) -> Status {
                           if (e.number == 1 && is_message(e)) key = name_at(e, 8);
                           return ok();
                         });
    Type type = Type::tensor(t->values.tensor.dtype(), to_shape(t->dims));
    std::string name = t->values.name;
    auto c = std::make_shared<Constant>();
    c->sparse = std::make_unique<SparseTensor>(std::move(t).value());
    add_constant(std::move(name), key, std::move(c), std::move(type));
  }
  TRY(nodes(g, node_fields, scope, depth));
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::string name;
    Type type;
    Status s = value_info(outputs[i], name, type);
    if (s.ok() && name.empty()) s = invalid("output without a name");
    if (!s.ok()) return std::move(s).context(format("output[{}]", i));
    ValueId v = scope.find(name);
    if (!v.valid()) v = m_.add_undefined(g, name);
    m_.add_graph_output(g, v);
    m_.graph(g).output_types.back() = type;
    m_.graph(g).output_info.back() = range(outputs[i]);
    if (m_.value(v).graph == g && !m_.value(v).declared.known())
      m_.value(v).declared = std::move(type);
  }
  for (size_t i = 0; i < infos.size(); ++i) {
    std::string name;
    Type type;
    if (auto s = value_info(infos[i], name, type); !s.ok())
      return std::move(s).context(format("value_info[{}]", i));
    const auto it = scope.values.find(std::string_view(name));
    if (it == scope.values.end() || m_.value(it->second).listed) {
      m_.graph(g).infos.emplace_back(ValueId(), range(infos[i]));  // for nothing, or once more
      continue;
    }
    Value& v = m_.value(it->second);
    if (!v.info.empty()) {  // a graph input, described already
      m_.graph(g).infos.emplace_back(ValueId(), range(infos[i]));
      continue;
    }
    m_.graph(g).infos.emplace_back(it->second, Bytes());
    v.listed = true;
    v.info = range(infos[i]);
    v.declared = std::move(type);
  }
  for (size_t i = first_value; i < m_.num_values(); ++i) {  // inferred types start as declared
    Value& v = m_.value(ValueId(static_cast<uint32_t>(i)));
    if (v.graph == g && !v.type.known()) v.type = v.declared;
  }
  m_.graph(g).extra = keep(std::move(extra));
  return ok();
}

Status Reader::node_fields(const WireField& f, NodeId n, std::vector<std::string_view>& in,
                           std::vector<std::string_view>& out, std::vector<WireField>& attrs) {
  std::string extra;
  Node& node = m_.node(n);
  node.origin = range(f);
  TRY(for_each_field(f.data, f.size, ctx_.base, [&](const WireField& e) -> Status {
    if (is_message(e)) {
      switch (e.number) {
        case 1: in.push_back(e.view()); return ok();
        case 2: out.push_back(e.view()); return ok();
        case 3: node.name = e.str(); break;
        case 4: node.op = Sym(e.view()); return ok();
        case 5: attrs.push_back(e); return ok();
        case 7: node.domain = normal_domain(e.view()); break;
        case 8: node.overload = e.str(); break;
        default: break;
      }
    }
    const bool held = e.number == 3 || e.number == 7 || e.number == 8;
    return held && e.size > 0 ? ok() : carried(e, kNodeProto, extra);
  }));
  if (node.op.view().empty()) return invalid("node without an op_type");
  node.extra = keep(std::move(extra));
  return ok();
}

Status Reader::nodes(GraphId g, const std::vector<WireField>& fields, Scope& scope, int depth) {
  struct Pending {
    NodeId node;
    std::vector<std::string_view> in;
    std::vector<WireField> attrs;
  };
  std::vector<Pending> pending(fields.size());
  for (size_t i = 0; i < fields.size(); ++i) {
    Pending& p = pending[i];
    p.node = m_.add_node(g, Sym(), {}, {});
    std::vector<std::string_view> out;
    if (auto s = node_fields(fields[i], p.node, p.in, out, p.attrs); !s.ok())
      return std::move(s).context(format("node[{}]", i));
    std::vector<ValueId> outs;
    for (std::string_view name : out) {
      outs.emplace_back();
      if (name.empty()) continue;
      outs.back() = m_.add_undefined(g, std::string(name));
      scope.values.emplace(name, outs.back());
    }
    const Bytes origin = m_.node(p.node).origin;
    m_.set_outputs(p.node, std::move(outs));
    m_.node(p.node).origin = origin;
  }
  for (Pending& p : pending) {
    std::vector<ValueId> in;
    for (std::string_view name : p.in) {
      ValueId v;
      if (!name.empty()) {
        v = scope.find(name);
        if (!v.valid()) {
          v = m_.add_undefined(g, std::string(name));
          scope.values.emplace(name, v);
        }
      }
      in.push_back(v);
    }
    const Bytes origin = m_.node(p.node).origin;
    m_.set_inputs(p.node, in);
    m_.node(p.node).origin = origin;
  }
  for (size_t i = 0; i < pending.size(); ++i) {
    const NodeId n = pending[i].node;
    std::vector<Attribute> attrs(pending[i].attrs.size());
    for (size_t k = 0; k < attrs.size(); ++k) {
      if (auto s = attribute(pending[i].attrs[k], attrs[k], n, g, &scope, depth); !s.ok())
        return std::move(s)
            .context("attribute " + quoted(attrs[k].name))
            .context(m_.describe(n))
            .context(format("node[{}]", i));
    }
    m_.node(n).attrs = std::move(attrs);
  }
  return ok();
}

Status Reader::attribute(const WireField& field, Attribute& a, NodeId owner, GraphId g,
                         const Scope* scope, int depth) {
  int64_t type = 0;
  std::optional<float> f;
  std::optional<int64_t> i;
  std::optional<std::string> s;
  MergedBytes tensor, graph_bytes, sparse, type_bytes;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  std::vector<WireField> tensors, graphs, sparses, types;
  std::string extra;
  const std::byte* const base = ctx_.base;
  TRY(for_each_field(field.data, field.size, base, [&](const WireField& e) -> Status {
    const FieldDesc* d = kAttributeProto.find(e.number);
    if (d == nullptr || !wire_type_fits(*d, e.type)) {
      extra += encoded(e);
      return ok();
    }
    switch (e.number) {
      case 1: a.name = e.str(); return ok();
      case 2: f = e.f32(); return ok();
      case 3: i = e.i64(); return ok();
      case 4: s = e.str(); return ok();
      case 5: tensor.add(e, ctx_); return ok();
      case 6: graph_bytes.add(e, ctx_); return ok();
      case 7:
        if (e.type == WireType::kFixed32) {
          floats.push_back(e.f32());
          return ok();
        }
        if (e.size % 4) return invalid("floats: bytes are no whole numbers");
        for (size_t k = 0; k < e.size; k += 4) {
          float v;
          std::memcpy(&v, e.data + k, 4);
          floats.push_back(v);
        }
        return ok();
      case 8:
        return packed_varints(e, base,
                              [&](uint64_t v) { ints.push_back(static_cast<int64_t>(v)); });
      case 9: strings.push_back(e.str()); return ok();
      case 10: tensors.push_back(e); return ok();
      case 11: graphs.push_back(e); return ok();
      case 14: type_bytes.add(e, ctx_); return ok();
      case 15: types.push_back(e); return ok();
      case 20: type = e.i32(); return ok();
      case 21: a.ref = e.str(); return ok();
      case 22: sparse.add(e, ctx_); return ok();
      case 23: sparses.push_back(e); return ok();
      default: extra += encoded(e); return ok();
    }
  }));
  a.extra = keep(std::move(extra));
  if (a.name.empty()) return invalid("attribute without a name");
  // Before IR version 2 the type was not written: it follows from the field that is set.
  const int set = f.has_value() + i.has_value() + s.has_value() + tensor.seen + graph_bytes.seen +
                  sparse.seen + type_bytes.seen + !floats.empty() + !ints.empty() +
                  !strings.empty() + !tensors.empty() + !graphs.empty() + !sparses.empty() +
                  !types.empty();
  if (set > 1) return invalid("more than one value field is set");
  using A = AttrType;
  if (type == 0) {
    const A guess = f                  ? A::kFloat
                    : i                ? A::kInt
                    : s                ? A::kString
                    : tensor.seen      ? A::kTensor
                    : graph_bytes.seen ? A::kGraph
                    : sparse.seen      ? A::kSparseTensor
                    : type_bytes.seen  ? A::kTypeProto
                    : !floats.empty()  ? A::kFloats
                    : !ints.empty()    ? A::kInts
                    : !strings.empty() ? A::kStrings
                    : !tensors.empty() ? A::kTensors
                    : !graphs.empty()  ? A::kGraphs
                    : !sparses.empty() ? A::kSparseTensors
                    : !types.empty()   ? A::kTypeProtos
                                       : A::kUndefined;
    if (guess == A::kUndefined && a.ref.empty())
      return invalid("attribute without a type and value");
    if (m_.ir_version >= 2 && a.ref.empty()) return invalid("attribute without a type");
    type = static_cast<int64_t>(guess);
  }
  if (type < 0 || type > 14) return invalid(format("unknown attribute type {}", type));
  a.type = static_cast<A>(type);
  if (!a.ref.empty()) {
    if (set) return invalid("attribute refers to a function's attribute and holds a value");
    return ok();
  }
  const auto want = [&](bool present, bool list_empty_ok) -> Status {
    if (present && set == 1) return ok();
    if (set == 0 && list_empty_ok) return ok();
    return invalid(format("type is {}, but the value is {}", attr_type_name(a.type),
                          set ? "in another field" : "missing"));
  };
  const auto subgraph = [&](const Bytes& b, GraphId& out) -> Status {
    out = m_.add_graph(g, owner);
    return graph(out, b, scope, depth + 1);
  };
  // A scalar that holds its proto default (0, "") may be left out by writers.
  switch (a.type) {
    case A::kFloat:
      TRY(want(f.has_value(), true));
      a.value = f.value_or(0.0f);
      return ok();
    case A::kInt:
      TRY(want(i.has_value(), true));
      a.value = i.value_or(0);
      return ok();
    case A::kString:
      TRY(want(s.has_value(), true));
      a.value = s.value_or("");
      return ok();
    case A::kFloats:
      TRY(want(!floats.empty(), true));
      a.value = std::move(floats);
      return ok();
    case A::kInts:
      TRY(want(!ints.empty(), true));
      a.value = std::move(ints);
      return ok();
    case A::kStrings:
      TRY(want(!strings.empty(), true));
      a.value = std::move(strings);
      return ok();
    case A::kTensor: {
      TRY(want(tensor.seen, false));
      auto c = std::make_shared<TensorConst>();
      TRY_ASSIGN(*c, read_tensor(ctx_, tensor.bytes.data, tensor.bytes.size));
      a.value = std::shared_ptr<const TensorConst>(std::move(c));
      return ok();
    }
    case A::kTensors: {
      TRY(want(!tensors.empty(), true));
      std::vector<TensorConst> list;
      for (const WireField& e : tensors) {
        TRY_ASSIGN(list.emplace_back(), read_tensor(ctx_, e.data, e.size));
      }
      a.value = std::move(list);
      return ok();
    }
    case A::kGraph: {
      TRY(want(graph_bytes.seen, false));
      GraphId id;
      TRY(subgraph(graph_bytes.bytes, id));
      a.value = id;
      return ok();
    }
    case A::kGraphs: {
      TRY(want(!graphs.empty(), true));
      std::vector<GraphId> list;
      for (const WireField& e : graphs) TRY(subgraph(range(e), list.emplace_back()));
      a.value = std::move(list);
      return ok();
    }
    case A::kSparseTensor: {
      TRY(want(sparse.seen, false));
      auto c = std::make_shared<SparseTensor>();
      TRY_ASSIGN(*c, read_sparse_tensor(ctx_, sparse.bytes.data, sparse.bytes.size));
      a.value = std::shared_ptr<const SparseTensor>(std::move(c));
      return ok();
    }
    case A::kSparseTensors: {
      TRY(want(!sparses.empty(), true));
      std::vector<SparseTensor> list;
      for (const WireField& e : sparses) {
        TRY_ASSIGN(list.emplace_back(), read_sparse_tensor(ctx_, e.data, e.size));
      }
      a.value = std::move(list);
      return ok();
    }
    case A::kTypeProto: {
      TRY(want(type_bytes.seen, false));
      TRY_ASSIGN(a.value, read_type(ctx_, type_bytes.bytes.data, type_bytes.bytes.size));
      return ok();
    }
    case A::kTypeProtos: {
      TRY(want(!types.empty(), true));
      std::vector<Type> list;
      for (const WireField& e : types) {
        TRY_ASSIGN(list.emplace_back(), read_type(ctx_, e.data, e.size));
      }
      a.value = std::move(list);
      return ok();
    }
    default: return invalid("attribute without a type");
  }
}

Status Reader::function(const WireField& field, int32_t index) {
  const GraphId g = m_.add_graph({}, {}, index);
  m_.functions[static_cast<size_t>(index)].body = g;
  std::vector<WireField> inputs, outputs, nodes_found, defaults, infos;
  std::vector<std::string_view> input_names, output_names;
  std::string extra;
  Function& fn = m_.functions[static_cast<size_t>(index)];
  TRY(for_each_field(field.data, field.size, ctx_.base, [&](const WireField& f) -> Status {
    if (is_message(f)) {
      switch (f.number) {
        case 1:
        case 10:
        case 13: return ok();
        case 4: input_names.push_back(f.view()); return ok();
        case 5: output_names.push_back(f.view()); return ok();
        case 6: fn.attributes.push_back(f.str()); return ok();
        case 7: nodes_found.push_back(f); return ok();
        case 9: return opset(f, fn.opset_imports);
        case 11: defaults.push_back(f); return ok();
        case 12: infos.push_back(f); return ok();
        default: break;
      }
    }
    return carried(f, kFunctionProto, extra);
  }));
  Scope scope;
  for (std::string_view name : input_names) {
    if (name.empty()) return invalid("input without a name");
    scope.values.emplace(name, m_.add_input(g, std::string(name), Type()));
  }
  for (const WireField& f : defaults) {
    Attribute a;
    if (auto s = attribute(f, a, {}, g, &scope, 0); !s.ok())
      return std::move(s).context("attribute " + quoted(a.name));
    fn.attribute_defaults.push_back(std::move(a));
  }
  TRY(nodes(g, nodes_found, scope, 0));
  for (std::string_view name : output_names) {
    ValueId v = scope.find(name);
    if (!v.valid()) v = m_.add_undefined(g, std::string(name));
    m_.add_graph_output(g, v);
  }
  for (const WireField& f : infos) {
    std::string name;
    Type type;
    if (auto s = value_info(f, name, type); !s.ok()) return std::move(s).context("value_info");
    const auto it = scope.values.find(std::string_view(name));
    if (it == scope.values.end() || m_.value(it->second).listed) {
      m_.graph(g).infos.emplace_back(ValueId(), range(f));
      continue;
    }
    Value& v = m_.value(it->second);
    m_.graph(g).infos.emplace_back(it->second, Bytes());
    v.listed = true;
    v.info = range(f);
    v.declared = v.type = std::move(type);
  }
  fn.extra = keep(std::move(extra));
  return ok();
}

Status Reader::add_functions(const FunctionLibrary& library) {
  own_functions_ = m_.functions.size();
  for (uint32_t n = 0; n < m_.num_nodes(); ++n) {  // grows
    const Node& node = m_.node(NodeId(n));
    if (node.removed() || find_op(node) != nullptr ||
        m_.find_function(node.domain, node.op, node.overload) != nullptr)
      continue;
    const auto* e = library.find(node.domain.view(), node.op.view(), node.overload);
    if (e == nullptr) continue;
    Function fn;
    fn.name = e->name;
    fn.domain = e->domain;
    fn.overload = e->overload;
    m_.functions.push_back(std::move(fn));
    ReadContext ctx(e->proto.data, e->proto.owner);
    WireField field;
    field.type = WireType::kBytes;
    field.start = field.data = e->proto.data;
    field.size = e->proto.size;
    field.end = e->proto.data + e->proto.size;
    const auto index = static_cast<int32_t>(m_.functions.size() - 1);
    if (auto s = Reader(ctx, m_).function(field, index); !s.ok())
      return std::move(s).context("function " + quoted(e->name) + " of the library");
  }
  if (m_.functions.size() > own_functions_ && m_.ir_version >= 4 && m_.ir_version < 8)
    m_.ir_version = 8;  // the first with functions
  return ok();
}

// Constants that lifting made become nodes: a function holds no initializers.
void Reader::name_constants(const Function& fn) {
  const std::vector<ValueId> made = m_.graph(fn.body).initializers;
  for (ValueId v : made) {
    const Tensor* t = m_.constant(v);
    if (t == nullptr) continue;
    const NodeId n = m_.add_node(fn.body, Sym("Constant"), {}, {m_.unique_name(m_.value(v).name)},
                                 {Attribute::of("value", *t)}, {}, 0);
    m_.replace_uses(v, m_.node(n).output(0));
    (void)lift_node(m_, n);
    m_.remove_value(v);
  }
  m_.compact(fn.body);
}

void Reader::unify_imports() {
  for (size_t i = own_functions_; i < m_.functions.size(); ++i) {
    Function& fn = m_.functions[i];
    for (OpsetImport& import : fn.opset_imports) {
      const int64_t own = m_.opset(m_.main(), import.domain);
      if (own == 0 || own == import.version || newest_opset(import.domain.view()) == 0) continue;
      import.version = own;
      name_constants(fn);
      for (uint32_t n = 0; n < m_.num_nodes(); ++n) {
        const Node& node = m_.node(NodeId(n));
        if (node.removed() || !(node.domain == import.domain) ||
            m_.graph(node.graph).function != static_cast<int32_t>(i))
          continue;
        m_.touch(NodeId(n));
        if (node.is("Constant") && node.attrs.size() == 1)
          m_.node(NodeId(n)).attrs[0] = plain_constant(node.attrs[0]);
      }
    }
  }
}

// What a file that is no ONNX model looks like, for the message; empty if nothing comes to mind.
std::string_view looks_like(std::string_view head) {
  const auto starts = [&](std::string_view s) { return head.substr(0, s.size()) == s; };
  if (starts("version https://git-lfs")) return "a Git LFS pointer that was not fetched";
  if (starts("<!DOCTYPE") || starts("<html") || starts("<HTML") || starts("<!doctype"))
    return "an HTML page";
  if (starts("<?xml")) return "an XML file";
  if (starts("\x1f\x8b")) return "a gzip file";
  if (starts("PK\x03\x04")) return "a zip archive (a PyTorch or NumPy file?)";
  if (starts("\x80\x02") || starts("\x80\x03") || starts("\x80\x04") || starts("\x80\x05"))
    return "a Python pickle";
  if (head.size() > 8 && head.substr(4, 4) == "TFL3") return "a TFLite model";
  if (head.size() > 8 && head.substr(4, 4) == "ORTM") return "an ORT-format model";
  if (starts("\x89HDF")) return "an HDF5 file";
  if (starts("\x93NUMPY")) return "a NumPy array";
  if (starts("\x7f"
             "ELF"))
    return "a program";
  if (starts("GGUF")) return "a GGUF file";
  if (starts("\x89PNG")) return "a PNG picture";
  if (!head.empty() && head.find_first_not_of('\0') == std::string_view::npos) return "all zeros";
  return {};
}

// Nothing but characters and line ends.
bool is_text(std::string_view head) {
  return head.size() >= 8 && std::all_of(head.begin(), head.end(), [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7F
                                                        : c == '\n' || c == '\r' || c == '\t';
         });
}

}  // namespace

Result<Model> read_model(Bytes bytes, const std::string& path, const LoadOptions& options) {
  if (bytes.empty()) return invalid("the file is empty");
  ExternalFiles external(path);
  ReadContext ctx(bytes.data, bytes.owner);
  ctx.external = &external;
  Model model;
  Reader reader(ctx, model);
  if (auto s = reader.model(bytes.data, bytes.size); !s.ok()) {
    // Only now: a model may hold such bytes, "ORTM" for one as the start of its producer's name.
    const std::string_view kind = looks_like(bytes.view().substr(0, 512));
    if (!kind.empty()) return invalid(format("not an ONNX model: it looks like {}", kind));
    if (is_text(bytes.view().substr(0, 512)))
      return invalid("not an ONNX model: it looks like text (ONNX text is named .onnxtxt)");
    return std::move(s).error();
  }
  if (options.functions != nullptr) TRY(reader.add_functions(*options.functions));
  if (options.lift) TRY(lift_model(model));
  if (options.functions != nullptr && options.lift) reader.unify_imports();
  return model;
}

}  // namespace onnxtool
