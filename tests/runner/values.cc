// SPDX-License-Identifier: Apache-2.0
#include "tests/runner/values.h"

#include <cmath>
#include <sstream>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool::cases {
namespace {

size_t first_char(std::string_view s) { return std::min(s.find_first_not_of(" \t\n"), s.size()); }

// The value of attribute v of a node written for it.
Result<Attribute> attribute(const std::string& type, const std::string& text) {
  TRY_ASSIGN(const std::string wire,
             text_to_wire("g () => () { = Value <v: " + type + " = " + text + "> () }"));
  LoadOptions plain;
  plain.lift = false;
  TRY_ASSIGN(const Model m, read_model(Bytes::copy(wire), "", plain));
  return *m.node(m.graph(m.main()).nodes[0]).attr("v");
}

Result<Tensor> tensor(const std::string& text) {
  TRY_ASSIGN(const Attribute a, attribute("tensor", text));
  return a.t().to_aligned();
}

Tolerance defaults(DType t) {
  switch (t) {
    case DType::kFloat:
    case DType::kComplex64: return {1e-5, 1e-6};
    case DType::kDouble:
    case DType::kComplex128: return {1e-9, 1e-12};
    case DType::kFloat16: return {1e-3, 1e-5};
    case DType::kBfloat16: return {8e-3, 1e-5};
    default: return {0, 0};  // integers, and floats with so few values that one step is an error
  }
}

std::string number_difference(double got, double want, const Tolerance& t) {
  if (std::isnan(got) && std::isnan(want)) return "";
  if (got == want) return "";
  if (std::isfinite(got) && std::isfinite(want) &&
      std::fabs(got - want) <= t.absolute + t.relative * std::fabs(want))
    return "";
  return format("{:.9g}, expected {:.9g}", got, want);
}

std::string tensor_difference(const Tensor& got, const Tensor& want, Tolerance t) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims())
    return format("{}{}, expected {}{}", dtype_name(got.dtype()), to_string(got.dims()),
                  dtype_name(want.dtype()), to_string(want.dims()));
  const Tolerance d = defaults(want.dtype());
  if (t.relative < 0) t.relative = d.relative;
  if (t.absolute < 0) t.absolute = d.absolute;
  const auto at = [&](int64_t i, const std::string& why) {
    return why.empty() ? why : format("element {} is {}", i, why);
  };
  for (int64_t i = 0; i < got.size(); ++i) {
    std::string why;
    if (got.is_string()) {
      const auto k = static_cast<size_t>(i);
      if (got.string_data()[k] != want.string_data()[k])
        why = quoted(got.string_data()[k]) + ", expected " + quoted(want.string_data()[k]);
    } else if (got.dtype() == DType::kComplex64 || got.dtype() == DType::kComplex128) {
      const bool wide = got.dtype() == DType::kComplex128;
      const auto part = [&](const Tensor& x, int64_t k) {
        const Tensor a = x.to_aligned();
        return wide ? reinterpret_cast<const double*>(a.raw())[k]
                    : reinterpret_cast<const float*>(a.raw())[k];
      };
      why = number_difference(part(got, 2 * i), part(want, 2 * i), t);
      if (why.empty()) why = number_difference(part(got, 2 * i + 1), part(want, 2 * i + 1), t);
    } else if (is_float(got.dtype())) {
      why = number_difference(got.f64_at(i), want.f64_at(i), t);
    } else if (got.i64_at(i) != want.i64_at(i)) {
      why = t.relative > 0 || t.absolute > 0
                ? number_difference(got.f64_at(i), want.f64_at(i), t)
                : format("{}, expected {}", got.i64_at(i), want.i64_at(i));
    }
    if (!why.empty()) return at(i, why);
  }
  return "";
}

}  // namespace

Result<Model> read_model_text(const Case& c, const Entry& e, std::optional<int64_t> opset) {
  std::string text = e.text;
  std::string header;
  if (const size_t i = first_char(text); i < text.size() && text[i] != '<') {
    std::map<std::string, int64_t> versions;
    for (const char* domain :
         {"", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft"})
      versions[domain] = newest_opset(domain);
    for (const Entry& o : c.entries) {  // opset 13 | opset ai.onnx.ml 3
      if (o.key != "opset" || o.name.find(' ') == std::string::npos) continue;
      const size_t space = o.name.find(' ');
      versions[o.name.substr(0, space)] = std::strtoll(o.name.c_str() + space, nullptr, 10);
    }
    if (opset) versions[""] = *opset;
    for (const auto& [domain, version] : versions) {
      header += header.empty() ? "<ir_version: 13, opset_import: [" : ", ";
      header += format("\"{}\" : {}", domain, version);
    }
    header += "]> ";
    if (text[i] == '(') header += "g ";
  }
  // The lines of the file count in messages.
  std::string lines(static_cast<size_t>(std::max(0, e.line - 1)), '\n');
  TRY_ASSIGN(const std::string wire, text_to_wire(lines + header + text));
  return read_model(Bytes::copy(wire), "");
}

Result<Datum> read_value(const std::string& text) {
  const size_t i = first_char(text);
  const std::string_view s = std::string_view(text).substr(i);
  if (s.starts_with("none")) return Datum::optional(nullptr);
  if (s.starts_with("some ")) {
    TRY_ASSIGN(Datum inner, read_value(std::string(s.substr(5))));
    return Datum::optional(std::make_shared<const Datum>(std::move(inner)));
  }
  if (s.starts_with("map ")) {
    const size_t arrow = s.find("->");
    if (arrow == std::string_view::npos) return invalid("a map is written map KEYS -> VALUES");
    TRY_ASSIGN(const Tensor keys, tensor(std::string(s.substr(4, arrow - 4))));
    TRY_ASSIGN(const Tensor values, tensor(std::string(s.substr(arrow + 2))));
    MapData m;
    if (keys.is_string())
      m.keys = keys.string_data();
    else
      m.keys = keys.to_i64();
    m.values = values;
    return Datum::of_map(std::move(m));
  }
  if (s.starts_with("[")) {
    TRY_ASSIGN(const Attribute a, attribute("tensors", text));
    Sequence q;
    if (const auto* list = std::get_if<std::vector<TensorConst>>(&a.value))
      for (const TensorConst& t : *list) q.emplace_back(t.tensor.to_aligned());
    const DType elem = q.empty() ? DType::kUndefined : q[0].tensor.dtype();
    return Datum::sequence(std::move(q), elem);
  }
  TRY_ASSIGN(Tensor t, tensor(text));
  return Datum(std::move(t));
}

std::string difference(const Datum& got, const Datum& want, const Tolerance& t) {
  if (got.kind != want.kind)
    return format("a {}, expected a {}", type_of(got).text(), type_of(want).text());
  switch (want.kind) {
    case TypeKind::kTensor: return tensor_difference(got.tensor, want.tensor, t);
    case TypeKind::kSequence:
      if (got.seq->size() != want.seq->size())
        return format("{} elements, expected {}", got.seq->size(), want.seq->size());
      for (size_t i = 0; i < want.seq->size(); ++i)
        if (std::string s = difference((*got.seq)[i], (*want.seq)[i], t); !s.empty())
          return format("in element {} of the sequence: {}", i, s);
      return "";
    case TypeKind::kOptional:
      if ((got.opt == nullptr) != (want.opt == nullptr))
        return got.opt ? "a value, expected none" : "none, expected a value";
      return want.opt ? difference(*got.opt, *want.opt, t) : "";
    case TypeKind::kMap:
      if (got.map->keys != want.map->keys) return "a map with other keys";
      return tensor_difference(got.map->values, want.map->values, t);
    default: return "";
  }
}

Result<Tolerance> tolerance_of(const Case& c) {
  Tolerance t;
  if (const Entry* e = c.find("tolerance")) {
    std::istringstream in(e->name);
    if (!(in >> t.relative)) return invalid("a tolerance is RELATIVE [ABSOLUTE]");
    if (!(in >> t.absolute)) t.absolute = t.relative;
  }
  return t;
}

}  // namespace onnxtool::cases
