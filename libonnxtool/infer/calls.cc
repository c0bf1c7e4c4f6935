// SPDX-License-Identifier: Apache-2.0
// Calls of local functions: the body is inferred once for each list of argument types, contents
// and attributes; sizes named inside get a new name for each call (driver.h).
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/bind.h"
#include "libonnxtool/infer/driver.h"

namespace onnxtool::inference {
namespace {

constexpr int64_t kMaxConstant = 1024;  // elements of a constant that a body gets to see

void append_bytes(std::string& key, const Tensor& t) {
  key += std::string(dtype_name(t.dtype())) + to_string(t.dims());
  if (t.is_string()) {
    for (const std::string& s : t.string_data()) key += std::to_string(s.size()) + ":" + s;
    return;
  }
  key.append(reinterpret_cast<const char*>(t.raw()), t.bytes());
}

void append_attr(std::string& key, const Attribute& a) {
  key += "\n@" + a.name + "=" + std::to_string(static_cast<int>(a.type)) + ":";
  auto raw = [&](const auto& list) {
    key.append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(list[0]));
  };
  switch (a.value.index()) {
    case 1:
      key += std::to_string(a.f());
      raw(std::vector<float>{a.f()});
      return;
    case 2: key += std::to_string(a.i()); return;
    case 3: key += a.s(); return;
    case 4: {
      const Tensor& t = a.t();
      if (t.bytes() <= 4096)
        append_bytes(key, t);
      else
        key += std::to_string(reinterpret_cast<uintptr_t>(t.raw())) + to_string(t.dims());
      return;
    }
    case 6: raw(a.floats()); return;
    case 7: raw(a.ints()); return;
    case 8:
      for (const std::string& s : a.strings()) key += std::to_string(s.size()) + ":" + s;
      return;
    default:  // rare kinds: never shared between nodes
      key += std::to_string(reinterpret_cast<uintptr_t>(&a));
  }
}

Type renamed(const Type& t, const std::vector<Dim>& from, const std::vector<Dim>& to) {
  if (!t.shape) return t;
  Type r = t;
  for (Dim& d : *r.shape)
    d = d.substitute([&](std::string_view name) -> std::optional<Dim> {
      for (size_t i = 0; i < from.size(); ++i)
        if (from[i].text() == name) return to[i];
      return std::nullopt;
    });
  return r;
}

}  // namespace

const Function* Driver::function_of(const Node& n) {
  if (model.functions.empty()) return nullptr;
  if (!functions_ready_) {
    functions_ready_ = true;
    for (const Function& fn : model.functions) {
      const std::string_view domain = fn.domain == "ai.onnx" ? "" : std::string_view(fn.domain);
      functions_.emplace(FunctionId{Sym(domain), Sym(fn.name), fn.overload}, &fn);
    }
  }
  auto it = functions_.find(FunctionId{n.domain, n.op, n.overload});
  return it == functions_.end() ? nullptr : it->second;
}

const Node& Driver::bound(Frame& f, NodeId id) {
  const Node& node = model.node(id);
  if (!f.function || !refers_to_call(node)) return node;
  std::unique_ptr<Node>& slot = f.bound[id.v];
  if (!slot) slot = std::make_unique<Node>(bind_attributes(node, *f.function, *f.attrs));
  return *slot;
}

std::string Driver::call_key(Frame& f, const Node& node, const Function& fn) {
  std::string key = std::to_string(&fn - model.functions.data());
  const size_t formal = model.graph(fn.body).inputs.size();
  for (size_t i = 0; i < std::min(formal, node.num_inputs()); ++i) {
    key += "\n" + type(f, node.input(i)).text();
    const Tensor* c = constant(f, node.input(i));
    if (c && c->size() <= kMaxConstant) {
      key += "=";
      append_bytes(key, *c);
    } else if (const PartialValue* p = partial(f, node.input(i))) {
      for (Dim d : *p) key += "," + d.text();
    }
  }
  for (const Attribute& a : node.attrs) append_attr(key, a);
  return key;
}

Result<CallMemo> Driver::run_call(Frame& f, const Node& node, const Function& fn) {
  if (std::find(active_.begin(), active_.end(), &fn) != active_.end())
    return invalid(format("function {} calls itself", quoted(fn.name)));
  if (depth >= options.max_depth)
    return unsupported(format("graphs and calls are nested deeper than {}", options.max_depth));
  Frame inner;
  inner.function = &fn;
  const uint32_t k = calls_of_[fn.name]++;
  inner.tag = fn.name + (k ? "#" + std::to_string(k) : "") + ".";
  inner.attrs = &node.attrs;
  const Graph& body = model.graph(fn.body);
  for (size_t i = 0; i < std::min(body.inputs.size(), node.num_inputs()); ++i) {
    const ValueId from = node.input(i), to = body.inputs[i];
    if (!from.valid()) continue;
    state(inner, to).type = type(f, from);
    const Tensor* c = constant(f, from);
    partial(f, from);
    const ValueState* s = find(f, from);
    set_known(inner, to, s && s->known ? s->known->partial : nullptr,
              c && c->size() <= kMaxConstant ? *c : Tensor());
  }
  active_.push_back(&fn);
  ++depth;
  Status done = visit_nodes(inner, fn.body);
  --depth;
  active_.pop_back();
  TRY(std::move(done));

  CallMemo memo;
  for (ValueId v : body.outputs) {
    memo.types.push_back(type(inner, v));
    partial(inner, v);
    const Tensor* c = constant(inner, v);
    memo.constants.push_back(c && c->size() <= kMaxConstant ? *c : Tensor());
    const ValueState* s = find(inner, v);
    memo.partials.push_back(s && s->known ? s->known->partial : nullptr);
  }
  std::sort(inner.fresh.begin(), inner.fresh.end(),
            [](Dim a, Dim b) { return a.text() < b.text(); });
  inner.fresh.erase(std::unique(inner.fresh.begin(), inner.fresh.end()), inner.fresh.end());
  memo.fresh = std::move(inner.fresh);
  tell_body(inner);
  return memo;
}

// What holds for a body's values in all calls is kept as their type.
void Driver::tell_body(const Frame& inner) {
  for (const auto& [id, s] : inner.sparse) {
    if (model.value(ValueId(id)).kind == ValueKind::kInitializer) continue;
    Type& t = main.dense[id].type;
    t = told_.insert(id).second ? s.type : join(t, s.type);
    if (writable) writable->value(ValueId(id)).type = t;
  }
}

Status Driver::call(Frame& f, NodeId id, const Node& node, const Function& fn) {
  const Graph& body = model.graph(fn.body);
  if (node.num_inputs() > body.inputs.size() || node.num_outputs() > body.outputs.size())
    return note(
        "E404",
        format("function {} has {} inputs and {} outputs, the call {} and {}", quoted(fn.name),
               body.inputs.size(), body.outputs.size(), node.num_inputs(), node.num_outputs()),
        where(f, id), id, {});
  std::string key = call_key(f, node, fn);
  auto it = calls_.find(key);
  if (it == calls_.end()) {
    auto r = run_call(f, node, fn);
    if (!r.ok()) {
      if (r.error().code == Code::kInvalid && options.collect)
        return note("E501", r.error().message, where(f, id), id, {});
      return with_place(std::move(r).error(), f, id);
    }
    it = calls_.emplace(std::move(key), std::move(*r)).first;
  }
  const CallMemo& memo = it->second;
  const size_t n = node.num_outputs();
  std::vector<Type> types(memo.types.begin(), memo.types.begin() + static_cast<ptrdiff_t>(n));
  std::vector<std::shared_ptr<const PartialValue>> partials(
      memo.partials.begin(), memo.partials.begin() + static_cast<ptrdiff_t>(n));
  std::vector<Tensor> constants(memo.constants.begin(),
                                memo.constants.begin() + static_cast<ptrdiff_t>(n));
  if (!memo.fresh.empty()) {
    std::vector<Dim> to;
    for (Dim d : memo.fresh) {
      const std::string s = d.text();
      to.push_back(named(f, f.tag + "\n" + std::to_string(id.v) + "\n" + s,
                         f.tag + s.substr(0, 200) + "@" + std::to_string(id.v)));
    }
    for (size_t i = 0; i < n; ++i) {
      types[i] = renamed(types[i], memo.fresh, to);
      if (!partials[i]) continue;
      auto p = std::make_shared<PartialValue>(*partials[i]);
      for (Dim& d : *p)
        d = renamed(Type::tensor(DType::kInt64, Shape{d}), memo.fresh, to).shape->front();
      partials[i] = std::move(p);
    }
  }
  return commit(f, id, std::move(types), std::move(partials), std::move(constants));
}

}  // namespace onnxtool::inference
