// SPDX-License-Identifier: Apache-2.0
// Declared types, given input types, and what they add to inferred ones (driver.h).
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/driver.h"

namespace onnxtool::inference {
namespace {

constexpr int64_t kMaxDefault = 4096;  // elements of a default whose contents are looked at

}  // namespace

Status Driver::bind_inputs() {
  const std::vector<ValueId>& inputs = model.graph(model.main()).inputs;
  symbols_ = options.symbols;
  std::unordered_set<std::string> clashing;
  for (size_t i = 0; i < std::min(inputs.size(), options.inputs.size()); ++i) {
    const Type& want = model.value(inputs[i]).declared;
    const Type& given = options.inputs[i];
    if (!want.shape || !given.shape || want.shape->size() != given.shape->size()) continue;
    for (size_t a = 0; a < want.shape->size(); ++a) {
      const Dim w = (*want.shape)[a], g = (*given.shape)[a];
      if (!w.is_symbol() || !g.is_const()) continue;
      auto [it, fresh] = symbols_.emplace(w.text(), g.value());
      if (!fresh && it->second != g.value()) clashing.insert(it->first);
    }
  }
  for (const std::string& s : clashing) {
    symbols_.erase(symbols_.find(s));
    TRY(note("W505", format("inputs give different sizes for dimension {}", quoted(s)), "", {},
             {}));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId v = inputs[i];
    const Value& value = model.value(v);
    Type scratch;
    Type t = declared(v, scratch);
    if (i < options.inputs.size() && options.inputs[i].known()) {
      auto m = merge(options.inputs[i], t);
      if (!m)
        return invalid(format("input {} is declared {}, given {}", quoted(value.name),
                              value.declared.text(), options.inputs[i].text()));
      t = std::move(*m);
    }
    const Tensor* fallback = value.constant && value.constant->dense.tensor.defined()
                                 ? &value.constant->dense.tensor
                                 : nullptr;
    const bool given = (i < options.inputs.size() && options.inputs[i].known()) ||
                       (i < options.input_values.size() && options.input_values[i].defined());
    if (fallback && options.defaults_hold && !given) {
      t = Type::tensor(fallback->dtype(), to_shape(fallback->dims()));
      if (fallback->size() <= kMaxDefault) set_known(main, v, nullptr, fallback->to_aligned());
    } else if (fallback && !t.known()) {
      t = Type::tensor(fallback->dtype());  // the caller may give one of another shape
    }
    name_unknown_dims(main, v, t);
    if (writable) writable->value(v).type = t;
    state(main, v).type = std::move(t);
    if (i < options.input_values.size() && options.input_values[i].defined())
      set_known(main, v, nullptr, options.input_values[i]);
  }
  return ok();
}

const Type& Driver::declared(ValueId v, Type& scratch) const {
  const Type* t = &model.value(v).declared;
  if (!t->known() && !output_types_.empty()) {
    auto it = output_types_.find(v.v);
    if (it != output_types_.end()) t = it->second;
  }
  return bind(*t, scratch);
}

const Type& Driver::bind(const Type& t, Type& scratch) const {
  if (symbols_.empty() || !t.shape) return t;
  scratch = t;
  for (Dim& d : *scratch.shape)
    d = d.substitute([&](std::string_view name) -> std::optional<Dim> {
      auto it = symbols_.find(name);
      return it == symbols_.end() ? std::nullopt : std::optional<Dim>(it->second);
    });
  return scratch;
}

Status Driver::merge_declared(Frame& f, NodeId n, ValueId v, Type& inferred) {
  Type scratch;
  return merge_with(f, n, v, inferred, declared(v, scratch));
}

// The declared types of the main graph's outputs, which may differ from their value_info.
Status Driver::check_outputs() {
  const Graph& g = model.graph(model.main());
  for (size_t i = 0; i < std::min(g.outputs.size(), g.output_types.size()); ++i) {
    const ValueId v = g.outputs[i];
    if (!v.valid() || !g.output_types[i].known()) continue;
    Type t = type(main, v);
    Type scratch;
    TRY(merge_with(main, model.value(v).producer, v, t, bind(g.output_types[i], scratch)));
  }
  return ok();
}

// An inferred dim holds. The declaration fills in what is not known: ranks, unknown dims.
Status Driver::merge_with(Frame& f, NodeId n, ValueId v, Type& inferred, const Type& want) {
  if (!want.known()) return ok();
  if (!inferred.known()) {
    inferred = want;
    return ok();
  }
  auto wrong = [&](const char* code) {
    return note(code,
                format("{} is declared {}, inferred {}", quoted(model.value(v).name), want.text(),
                       inferred.text()),
                n.valid() ? where(f, n) : std::string("graph output"), n, v);
  };
  if (want.kind != inferred.kind ||
      (want.dtype != inferred.dtype && want.dtype != DType::kUndefined &&
       inferred.dtype != DType::kUndefined))
    return wrong("E502");
  if (inferred.dtype == DType::kUndefined) inferred.dtype = want.dtype;
  if (inferred.inner || want.inner) {
    auto m = merge(inferred, want);
    if (!m) return wrong("W504");
    inferred = std::move(*m);
    return ok();
  }
  if (!want.shape) return ok();
  if (!inferred.shape) {
    inferred.shape = want.shape;
    return ok();
  }
  Shape& have = *inferred.shape;
  bool clash = have.size() != want.shape->size();
  for (size_t i = 0; !clash && i < have.size(); ++i) {
    const Dim w = (*want.shape)[i];
    clash = have[i].is_const() && w.is_const() && have[i].value() != w.value();
    if (have[i].is_unknown() && !w.is_unknown()) have[i] = w;
  }
  if (!clash) return ok();
  // Sizes that are all known on both sides leave no doubt which is wrong.
  const bool certain = options.strict && want.is_static() && inferred.is_static();
  return wrong(certain ? "E503" : "W504");
}

}  // namespace onnxtool::inference
