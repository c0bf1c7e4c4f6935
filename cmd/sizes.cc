// SPDX-License-Identifier: Apache-2.0
#include "cmd/sizes.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <set>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

std::optional<int64_t> number(std::string_view s) {
  int64_t v = -1;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  if (r.ec != std::errc() || r.ptr != s.data() + s.size() || v < 0) return std::nullopt;
  return v;
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (size_t i = 0; i < names.size() && i < 8; ++i)
    list += (i ? ", " : "") + onnxtool::quoted(names[i]);
  return list + (names.size() > 8 ? format(" and {} more", names.size() - 8) : "");
}

std::vector<std::string> symbols_of(const Model& model) {
  std::set<std::string> known;
  for (size_t i = 0; i < model.num_values(); ++i) {
    const Value& v = model.value(ValueId(static_cast<uint32_t>(i)));
    for (const Type* t : {&v.declared, v.kind == ValueKind::kInput ? &v.type : &v.declared}) {
      if (!t->is_tensor() || !t->shape) continue;
      for (const Dim& d : *t->shape)
        if (!d.is_const())
          for (std::string& s : d.symbols()) known.insert(std::move(s));
    }
  }
  return {known.begin(), known.end()};
}

bool has_shape(const Value& input) {
  return input.declared.is_tensor() && input.declared.shape.has_value();
}

// As declared, with the names that inference gave to sizes without one.
const Shape& shape_of(const Value& input) {
  const bool named = input.type.is_tensor() && input.type.shape &&
                     input.type.shape->size() == input.declared.shape->size();
  return named ? *input.type.shape : *input.declared.shape;
}

}  // namespace

void add_size_options(CLI::App& app, SizeOptions& o) {
  app.add_option("--set", o.symbols, "size of a symbolic dimension (others: 1)")
      ->type_name("SYMBOL=N")
      ->allow_extra_args(false);
  app.add_option("--shape", o.shapes, "shape of an input whose sizes are open")
      ->type_name("NAME=N,N,...")
      ->allow_extra_args(false);
}

Result<Sizes> Sizes::of(const Model& model, const SizeOptions& o, bool lenient) {
  Sizes r;
  const std::vector<std::string> known =
      o.symbols.empty() ? std::vector<std::string>() : symbols_of(model);
  for (const std::string& s : o.symbols) {
    const size_t eq = s.rfind('=');
    const auto v =
        eq == std::string::npos ? std::nullopt : number(std::string_view(s).substr(eq + 1));
    if (!v || eq == 0)
      return usage_error(format("--set {}: SYMBOL=N expected", onnxtool::quoted(s)));
    const std::string name = s.substr(0, eq);
    if (!lenient && !std::binary_search(known.begin(), known.end(), name))
      return usage_error(format("--set {}: the model has no such symbol; {}", escape(s),
                                known.empty()
                                    ? "its sizes have no names (--shape NAME=N,N,... sets "
                                      "those of an input)"
                                    : "it has " + listed(known)));
    r.symbols_[name] = *v;
  }
  for (const std::string& s : o.shapes) {
    const size_t eq = s.rfind('=');
    Dims dims;
    bool good = eq != std::string::npos && eq > 0;
    for (size_t i = eq + 1; good && i < s.size();) {
      const size_t end = std::min(s.find_first_of(",x", i), s.size());
      const auto v = number(std::string_view(s).substr(i, end - i));
      good = v.has_value() && end + 1 != s.size();
      if (good) dims.push_back(*v);
      i = end + 1;
    }
    if (!good) return usage_error(format("--shape {}: NAME=N,N,... expected", onnxtool::quoted(s)));
    const std::string name = s.substr(0, eq);
    const Value* input = nullptr;
    std::vector<std::string> names;
    for (ValueId v : model.graph(model.main()).inputs) {
      names.push_back(model.value(v).name);
      if (names.back() == name) input = &model.value(v);
    }
    if (input == nullptr) {
      if (lenient) continue;
      return usage_error(
          format("--shape {}: the model has no such input; it has {}", escape(s), listed(names)));
    }
    if (has_shape(*input)) {
      const Shape& want = shape_of(*input);
      bool fits = want.size() == dims.size();
      for (size_t i = 0; fits && i < dims.size(); ++i) {
        fits = !want[i].is_const() || want[i].is_const(dims[i]);
        if (want[i].is_symbol()) {  // every other place of the symbol too
          const auto [it, made] = r.symbols_.emplace(want[i].text(), dims[i]);
          fits &= made || it->second == dims[i];
        }
      }
      if (!fits)
        return usage_error(
            format("--shape {}: the model wants {}", escape(s), escape(input->declared.text())));
    }
    r.shapes_[name] = std::move(dims);
  }
  return r;
}

void Sizes::assume(std::string what) {
  if (std::find(assumed_.begin(), assumed_.end(), what) == assumed_.end())
    assumed_.push_back(std::move(what));
}

std::optional<Dims> Sizes::dims(const Value& v) {
  if (const auto it = shapes_.find(v.name); it != shapes_.end()) return it->second;
  if (!has_shape(v)) return std::nullopt;
  Dims r;
  for (const Dim& x : shape_of(v)) {
    if (x.is_const()) {
      r.push_back(x.value());
      continue;
    }
    std::optional<int64_t> size;
    if (!x.is_unknown())
      size = x.evaluate([&](std::string_view s) -> std::optional<int64_t> {
        if (const auto it = symbols_.find(s); it != symbols_.end()) return it->second;
        assume(escape(s, 40) + "=1");
        return 1;
      });
    else
      assume(format("dim {} of {} = 1", r.size(), onnxtool::quoted(v.name)));
    r.push_back(size.value_or(1));
  }
  return r;
}

std::string Sizes::assumed() const {
  std::string s;
  for (size_t i = 0; i < assumed_.size() && i < 8; ++i) s += (i ? ", " : "") + assumed_[i];
  return s + (assumed_.size() > 8 ? format(" and {} more", assumed_.size() - 8) : "");
}

void Sizes::apply(const Model& model, InferOptions& options) const {
  options.symbols = symbols_;
  for (ValueId id : model.graph(model.main()).inputs) {
    const Value& v = model.value(id);
    Type type;
    if (const auto it = shapes_.find(v.name); it != shapes_.end() && v.declared.is_tensor())
      type = Type::tensor(v.declared.dtype, Shape(it->second.begin(), it->second.end()));
    else if (has_shape(v)) {
      type = Type::tensor(v.declared.dtype, shape_of(v));
      for (Dim& d : *type.shape)
        if (d.is_symbol())
          if (const auto at = symbols_.find(d.text()); at != symbols_.end()) d = Dim(at->second);
    }
    options.inputs.push_back(std::move(type));
  }
}

}  // namespace onnxtool
