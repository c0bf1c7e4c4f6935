// SPDX-License-Identifier: Apache-2.0
// What inference knows of values: types, contents, names of sizes (driver.h).
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/driver.h"
#include "libonnxtool/infer/evaluate.h"

namespace onnxtool::inference {
namespace {

constexpr int64_t kMaxPartial = 1024;       // elements of a partial value
constexpr size_t kMaxCopy = 1 << 16;        // bytes of an initializer copied for alignment
constexpr int64_t kMaxElements = 4096;      // read and written by an evaluated node
constexpr size_t kMaxOperands = 256;        // inputs of an evaluated node
constexpr int64_t kMaxProduct = 1 << 20;    // elements read times elements written
constexpr int64_t kMaxEvaluated = 1 << 26;  // the same, over a whole run

bool integer_like(DType t) { return is_integer(t) || t == DType::kBool; }

}  // namespace

std::shared_ptr<const PartialValue> partial_of_tensor(const Tensor& t) {
  if (!is_integer(t.dtype()) || t.rank() > 1 || t.size() > kMaxPartial) return nullptr;
  const Tensor aligned = t.to_aligned();
  auto p = std::make_shared<PartialValue>();
  p->reserve(static_cast<size_t>(t.size()));
  for (int64_t i = 0; i < t.size(); ++i) p->emplace_back(aligned.i64_at(i));
  return p;
}

bool Driver::in_main(ValueId v) {
  if (!v.valid() || v.v >= model.num_values()) return false;
  if (main.dense.size() < model.num_values()) main.dense.resize(model.num_values());
  return true;
}

ValueState& Driver::state(Frame& f, ValueId v) { return f.function ? f.sparse[v.v] : f.dense[v.v]; }

const ValueState* Driver::find(const Frame& f, ValueId v) const {
  if (!v.valid()) return nullptr;
  if (!f.function) return v.v < f.dense.size() ? &f.dense[v.v] : nullptr;
  auto it = f.sparse.find(v.v);
  return it == f.sparse.end() ? nullptr : &it->second;
}

const Type& Driver::type(const Frame& f, ValueId v) const {
  static const Type kUnknown;
  if (!v.valid()) return kUnknown;
  const Value& value = model.value(v);
  if (value.kind == ValueKind::kInitializer) return value.type;
  const ValueState* s = find(f, v);
  return s ? s->type : kUnknown;
}

const PartialValue* Driver::partial(Frame& f, ValueId v) {
  if (!v.valid()) return nullptr;
  const Tensor* t = model.constant(v);
  if (!t) {
    const ValueState* s = find(f, v);
    return s && s->known ? s->known->partial.get() : nullptr;
  }
  if (!is_integer(t->dtype()) || t->rank() > 1 || t->size() > kMaxPartial) return nullptr;
  ValueState& s = state(f, v);
  if (!s.known) s.known = std::make_unique<Known>();
  if (!s.known->partial || s.known->of != t->raw()) {
    s.known->partial = partial_of_tensor(*t);
    s.known->of = t->raw();
  }
  return s.known->partial.get();
}

const Tensor* Driver::constant(Frame& f, ValueId v) {
  if (!v.valid()) return nullptr;
  if (const Tensor* t = model.constant(v)) {
    if (t->aligned()) return t;
    if (t->bytes() > kMaxCopy) return nullptr;
    ValueState& s = state(f, v);
    if (!s.known) s.known = std::make_unique<Known>();
    if (!s.known->constant.defined() || s.known->copied != t->raw()) {
      s.known->constant = t->to_aligned();
      s.known->copied = t->raw();
    }
    return &s.known->constant;
  }
  const ValueState* s = find(f, v);
  if (!s || !s->known) return nullptr;
  Known& k = *s->known;
  if (k.constant.defined()) return &k.constant;
  if (!k.partial || !integer_like(s->type.dtype)) return nullptr;
  auto dims = static_dims(s->type);
  if (!dims || checked_product(*dims) != static_cast<int64_t>(k.partial->size())) return nullptr;
  std::vector<int64_t> values;
  values.reserve(k.partial->size());
  for (Dim d : *k.partial) {
    if (!d.is_const()) return nullptr;
    values.push_back(d.value());
  }
  auto made = Tensor::from_i64(s->type.dtype, std::move(*dims), values);
  if (!made.ok()) return nullptr;
  k.constant = std::move(*made);
  return &k.constant;
}

void Driver::evaluate(Frame& f, const Node& node, const OpDef& def, std::vector<Type>& types,
                      std::vector<std::shared_ptr<const PartialValue>>& partials,
                      std::vector<Tensor>& constants) {
  if (!def.eval || (def.flags & (kRandom | kControlFlow)) || evaluated > kMaxEvaluated) return;
  if (node.num_outputs() == 1 && model.constant(node.output(0))) return;  // a Constant node
  if (node.num_inputs() > kMaxOperands) return;
  bool given = node.is("Constant");
  int64_t in = 0, out = 0;
  for (size_t i = 0; i < node.num_inputs(); ++i) {
    if (!node.has_input(i)) continue;
    given = true;
    const Tensor* c = model.constant(node.input(i));
    if (c && c->size() > kMaxElements) return;
    if (!c) c = constant(f, node.input(i));
    if (!c || (in += c->size()) > kMaxElements) return;
  }
  bool wanted = false;
  if (!given) return;
  for (size_t i = 0; i < types.size(); ++i) {
    if (!node.has_output(i)) continue;
    if (types[i].known() && !types[i].is_tensor()) return;
    const bool settled = partials[i] && std::all_of(partials[i]->begin(), partials[i]->end(),
                                                    [](Dim d) { return d.is_const(); });
    wanted = wanted || !settled;
    auto dims = static_dims(types[i]);
    if (!dims) continue;
    auto count = checked_product(*dims);
    if (!count || (out += *count) > kMaxElements) return;
  }
  if (!wanted || in * out > kMaxProduct) return;
  evaluated += in + out + in * out;
  std::vector<Datum> inputs(node.num_inputs());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!node.has_input(i)) continue;
    const Tensor* c = constant(f, node.input(i));
    if (!c) return;
    inputs[i] = *c;
  }
  EvalBudget budget;
  budget.bytes = 1 << 20;
  budget.steps = 1000;
  auto r = evaluate_node(model, node, inputs, budget);
  if (!r.ok()) return;  // what is wrong with it shows when it runs
  for (size_t i = 0; i < constants.size(); ++i) {
    if (!node.has_output(i) || !(*r)[i].is_tensor()) continue;
    const Tensor& t = (*r)[i].tensor;
    if (t.size() > kMaxElements) continue;
    if (types[i].known() && !merge(types[i], Type::tensor(t.dtype(), to_shape(t.dims())))) continue;
    constants[i] = t;
  }
}

const std::unordered_set<std::string>& Driver::declared_symbols() {
  if (declared_ready_) return declared_;
  declared_ready_ = true;
  auto take = [&](const Type& t) {
    if (!t.shape) return;
    for (Dim d : *t.shape)
      if (d.is_symbol()) declared_.insert(d.text());
  };
  for (uint32_t v = 0; v < model.num_values(); ++v) take(model.value(ValueId(v)).declared);
  for (uint32_t g = 0; g < model.num_graphs(); ++g)
    for (const Type& t : model.graph(GraphId(g)).output_types) take(t);
  return declared_;
}

Dim Driver::named(Frame& f, const std::string& key, const std::string& hint) {
  auto [it, fresh] = fresh_.emplace(key, Dim());
  if (fresh) {
    const std::unordered_set<std::string>& known = declared_symbols();
    std::string name = hint;
    for (uint32_t k = 1; known.count(name) || !taken_.insert(name).second; ++k)
      name = hint + "_" + std::to_string(k);
    it->second = Dim::symbol(name);
  }
  if (f.function) f.fresh.push_back(it->second);
  return it->second;
}

// `declared`: a declared symbol serves as the name, if nothing else has that name yet.
Dim Driver::fresh(Frame& f, ValueId v, size_t axis, Dim declared) {
  std::string key = f.tag + "\n" + std::to_string(v.v) + "\n" + std::to_string(axis);
  auto it = fresh_.find(key);
  if (it == fresh_.end() && declared.is_symbol() && !f.function &&
      !input_symbols().count(declared.text()) && taken_.insert(declared.text()).second)
    it = fresh_.emplace(key, declared).first;
  if (it != fresh_.end()) {
    if (f.function) f.fresh.push_back(it->second);
    return it->second;
  }
  return named(f, key, f.tag + model.value(v).name.substr(0, 200) + "_d" + std::to_string(axis));
}

const std::unordered_set<std::string>& Driver::input_symbols() {
  if (inputs_ready_) return inputs_;
  inputs_ready_ = true;
  for (ValueId v : model.graph(model.main()).inputs) {
    const Type& t = model.value(v).declared;
    if (!t.shape) continue;
    for (Dim d : *t.shape)
      for (std::string& s : d.symbols()) inputs_.insert(std::move(s));
  }
  return inputs_;
}

void Driver::name_unknown_dims(Frame& f, ValueId v, Type& t) {
  if (!t.is_tensor() || !t.shape) return;
  for (size_t i = 0; i < t.shape->size(); ++i)
    if ((*t.shape)[i].is_unknown()) (*t.shape)[i] = fresh(f, v, i, Dim());
}

}  // namespace onnxtool::inference
