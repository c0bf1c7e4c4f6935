// SPDX-License-Identifier: Apache-2.0
// Text form, written: names, types, tensors and attributes.
#include <charconv>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/text_lexer.h"
#include "libonnxtool/onnx/text_tensor.h"
#include "libonnxtool/onnx/text_writer.h"

namespace onnxtool {
namespace {

template <typename T>
T as(std::string_view raw, uint64_t i) {
  T v;
  std::memcpy(&v, raw.data() + i * sizeof(T), sizeof(T));
  return v;
}

}  // namespace

// -------------------------------------------------------------------------------------- names

void TextWriter::quote(std::string_view s) {
  out_.push_back('"');
  for (char c : s) {
    if (c == '"' || c == '\\') out_.push_back('\\');
    out_.push_back(c);
  }
  out_.push_back('"');
}

void TextWriter::name(std::string_view s) {
  if (is_text_identifier(s) && !is_text_type(s) && !is_text_real(s) && s != "undefined")
    out_ += s;
  else
    quote(s);
}

void TextWriter::qualified(std::string_view s) {
  for (size_t from = 0; from <= s.size();) {
    const size_t dot = std::min(s.find('.', from), s.size());
    if (!is_text_identifier(s.substr(from, dot - from))) return quote(s);
    from = dot + 1;
  }
  out_ += s;
}

template <typename T>
void TextWriter::number(T v) {
  char b[40];
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(v)) {
      out_ += std::signbit(v) ? "-nan" : "nan";
      return;
    }
  }
  out_.append(b, std::to_chars(b, b + sizeof b, v).ptr);
}

// -------------------------------------------------------------------------------------- types

Status TextWriter::element_type(int64_t number, bool or_undefined) {
  if (number == 0 && or_undefined) {
    out_ += "undefined";
    return ok();
  }
  if (number < 0 || number > INT32_MAX || !dtype_known(static_cast<int32_t>(number)))
    return cannot_say(format("element type {}", number));
  out_ += dtype_name(static_cast<DType>(number));
  return ok();
}

// TypeProto.Tensor and SparseTensor.
Status TextWriter::tensor_type(const MessageView& t) {
  TRY(element_type(t.i64(1), true));
  if (!t.has(2)) {
    out_ += "[]";
    return ok();
  }
  TRY_ASSIGN(const MessageView shape, t.message(2));
  if (!shape.has(1)) return ok();
  out_.push_back('[');
  bool first = true;
  for (const WireField& f : shape.all(1)) {
    TRY_ASSIGN(const MessageView dim, view(*shape.desc().find(1)->message, f));
    separate(first, ",");
    if (dim.has(1))
      number(dim.i64(1));
    else if (dim.has(2))
      name(dim.text(2));
    else
      out_.push_back('?');
  }
  out_.push_back(']');
  return ok();
}

Status TextWriter::type(const MessageView& t, int depth) {
  if (depth > kMaxNesting)
    return unsupported(format("messages nested more than {} deep", kMaxNesting));
  uint32_t kind = 0;
  for (uint32_t field : {1, 4, 5, 7, 8, 9})
    if (t.has(field)) kind = field;
  if (kind == 0) return ok();  // of no kind: left out where it may be
  TRY_ASSIGN(const MessageView inner, t.message(kind));
  const auto nested = [&](uint32_t field) -> Status {
    TRY_ASSIGN(const MessageView e, inner.message(field));
    const size_t before = out_.size();
    TRY(type(e, depth + 2));
    if (out_.size() == before) return cannot_say("a type of elements that is not given");
    return ok();
  };
  switch (kind) {
    case 1: return tensor_type(inner);
    case 4:
      out_ += "seq(";
      TRY(nested(1));
      break;
    case 9:
      out_ += "optional(";
      TRY(nested(1));
      break;
    case 5:
      out_ += "map(";
      TRY(element_type(inner.i64(1), false));
      out_ += ", ";
      TRY(nested(2));
      break;
    case 8:
      out_ += "sparse_tensor(";
      if (inner.i64(1) == 0) return cannot_say("a sparse tensor without an element type");
      TRY(tensor_type(inner));
      break;
    default:
      out_ += "opaque(";
      if (!inner.text(1).empty()) {
        qualified(inner.text(1));
        out_ += ", ";
        name(inner.text(2));
      } else if (!inner.text(2).empty()) {
        qualified(inner.text(2));
      }
  }
  out_.push_back(')');
  return ok();
}

// ------------------------------------------------------------------------------------ tensors

Status TextWriter::tensor(const MessageView& t, bool initializer) {
  TRY(refuse(t, 3));
  TRY(element_type(t.i64(2), false));
  bool first = true;
  TRY(for_each_number(*kTensorProto.find(1), t.all(1), base_, [&](uint64_t d) -> Status {
    out_ += first ? "[" : ",";
    first = false;
    number(static_cast<int64_t>(d));
    return ok();
  }));
  if (!first) out_.push_back(']');
  if (initializer || !t.text(8).empty()) {
    out_.push_back(' ');
    name(t.text(8));
  }
  const bool external = t.i64(14) == 1;
  out_ += initializer || external ? " = " : " ";
  if (external) return pairs(t, 13);
  return elements(t, static_cast<DType>(t.i64(2)));
}

Status TextWriter::elements(const MessageView& t, DType dtype) {
  Dims dims;
  TRY(for_each_number(*kTensorProto.find(1), t.all(1), base_, [&](uint64_t d) -> Status {
    dims.push_back(static_cast<int64_t>(d));
    return ok();
  }));
  const auto product = checked_product(dims);
  if (!product) return invalid(format("no tensor has the dims {}", to_string(dims)));
  out_.push_back('{');
  const std::string_view raw = t.text(9);
  const auto want = static_cast<uint64_t>(*product);
  uint64_t count = want;
  const auto wrong = [&](uint64_t have, const char* unit) {
    return invalid(format("{} {} of data for {}{}", have, unit, dtype_name(dtype),
                          dims.empty() ? "" : to_string(dims)));
  };
  if (t.has(9) && (!raw.empty() || want == 0)) {
    const auto bytes = raw_bytes(dtype, *product);
    if (!bytes || static_cast<uint64_t>(*bytes) != raw.size()) return wrong(raw.size(), "bytes");
    raw_elements(raw, dtype, want);
  } else {
    const auto per = static_cast<uint64_t>(text_per_number(dtype));
    const uint64_t numbers = is_complex(dtype) ? want * 2 : (want + per - 1) / per;
    TRY(typed_elements(t, dtype, count));
    if (count != numbers) return wrong(count, "values");
  }
  out_.push_back('}');
  return ok();
}

Status TextWriter::typed_elements(const MessageView& t, DType dtype, uint64_t& count) {
  const uint32_t field = text_data_field(dtype);
  count = 0;
  const auto found = t.all(field);
  if (field == 6) {
    for (const WireField& f : found) {
      if (count++ > 0) out_ += ", ";
      quote(f.view());
    }
    return ok();
  }
  return for_each_number(*kTensorProto.find(field), found, base_, [&](uint64_t bits) -> Status {
    if (count++ > 0) out_ += ", ";
    switch (field) {
      case 4: number(as<float>({reinterpret_cast<const char*>(&bits), 4}, 0)); break;
      case 10: number(as<double>({reinterpret_cast<const char*>(&bits), 8}, 0)); break;
      case 7: number(static_cast<int64_t>(bits)); break;
      case 11:
        if (bits > int_max_of(dtype))
          return invalid(format("{} is no {}", bits, dtype_name(dtype)));
        number(bits);
        break;
      default: {
        const auto v = static_cast<int32_t>(bits);
        if (!text_number_fits(dtype, v))
          return invalid(format("{} is no {}", v, dtype_name(dtype)));
        number(v);
      }
    }
    return ok();
  });
}

// `raw` has the size that `count` elements take. Types below 6 bits are written a byte at a time.
void TextWriter::raw_elements(std::string_view raw, DType dtype, uint64_t count) {
  const auto each = [&](uint64_t n, auto f) {
    for (uint64_t i = 0; i < n; ++i) {
      if (i > 0) out_ += ", ";
      number(f(i));
    }
  };
  switch (dtype) {
    case DType::kFloat:
    case DType::kComplex64:
      return each(raw.size() / 4, [&](uint64_t i) { return as<float>(raw, i); });
    case DType::kDouble:
    case DType::kComplex128:
      return each(raw.size() / 8, [&](uint64_t i) { return as<double>(raw, i); });
    case DType::kInt64: return each(count, [&](uint64_t i) { return as<int64_t>(raw, i); });
    case DType::kUint64: return each(count, [&](uint64_t i) { return as<uint64_t>(raw, i); });
    case DType::kInt32: return each(count, [&](uint64_t i) { return as<int32_t>(raw, i); });
    case DType::kUint32: return each(count, [&](uint64_t i) { return as<uint32_t>(raw, i); });
    case DType::kInt16: return each(count, [&](uint64_t i) { return as<int16_t>(raw, i); });
    case DType::kInt8: return each(count, [&](uint64_t i) { return int{as<int8_t>(raw, i)}; });
    case DType::kUint16:
    case DType::kFloat16:
    case DType::kBfloat16: return each(count, [&](uint64_t i) { return as<uint16_t>(raw, i); });
    case DType::kFloat6e2m3:
    case DType::kFloat6e3m2:  // one stream of bits
      return each(count, [&](uint64_t i) {
        const uint64_t bit = i * 6;
        uint32_t two = static_cast<uint8_t>(raw[bit / 8]);
        if (bit % 8 > 2) two |= uint32_t{static_cast<uint8_t>(raw[bit / 8 + 1])} << 8;
        return static_cast<int>(two >> (bit % 8) & 63);
      });
    default: return each(raw.size(), [&](uint64_t i) { return int{as<uint8_t>(raw, i)}; });
  }
}

// --------------------------------------------------------------------------------- attributes

Status TextWriter::attributes(const MessageView& of, uint32_t field, int depth) {
  if (!of.has(field)) return ok();
  out_ += " <";
  bool first = true;
  for (const WireField& f : of.all(field)) {
    TRY_ASSIGN(const MessageView a, view(kAttributeProto, f));
    separate(first);
    if (auto s = attribute(a, depth + 1); !s.ok())
      return std::move(s).context("attribute " + quoted(a.text(1)));
  }
  out_.push_back('>');
  return ok();
}

Status TextWriter::attribute(const MessageView& a, int depth) {
  // Before IR version 2 the type was told by the field alone.
  auto type = static_cast<AttrType>(a.i64(20));
  static constexpr uint8_t kFields[] = {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 14, 15};
  for (uint8_t i = 1; i < 15 && a.i64(20) == 0; ++i)
    if (a.has(kFields[i])) type = AttrType{i};
  if (is_text_identifier(a.text(1)))
    out_ += a.text(1);
  else
    quote(a.text(1));
  if (type != AttrType::kUndefined) {
    out_ += ": ";
    out_ += text_attr_name(type);
  }
  out_ += " = ";
  if (!a.text(21).empty()) {
    out_.push_back('@');
    if (is_text_identifier(a.text(21)))
      out_ += a.text(21);
    else
      quote(a.text(21));
    return ok();
  }
  switch (type) {
    case AttrType::kUndefined: return cannot_say("an attribute without a value");
    case AttrType::kSparseTensor:
    case AttrType::kSparseTensors: return cannot_say("sparse tensors");
    default: return payload(a, type, depth);
  }
}

Status TextWriter::payload(const MessageView& a, AttrType type, int depth) {
  bool first = true;
  const auto f32 = [](uint64_t bits) {
    return as<float>({reinterpret_cast<const char*>(&bits), 4}, 0);
  };
  const auto each_number = [&](uint32_t field, auto print) -> Status {
    return for_each_number(*kAttributeProto.find(field), a.all(field), base_,
                           [&](uint64_t bits) -> Status {
                             separate(first);
                             print(bits);
                             return ok();
                           });
  };
  const auto each = [&](uint32_t field, auto print) -> Status {
    for (const WireField& f : a.all(field)) {
      separate(first);
      TRY_ASSIGN(const MessageView v, view(*kAttributeProto.find(field)->message, f));
      TRY(print(v));
    }
    return ok();
  };
  const auto print_tensor = [&](const MessageView& t) { return tensor(t, false); };
  const auto print_graph = [&](const MessageView& g) { return graph(g, depth + 1); };
  const auto print_type = [&](const MessageView& t) -> Status {
    const size_t before = out_.size();
    TRY(this->type(t, depth + 1));
    if (out_.size() == before) return cannot_say("a type that is not given");
    return ok();
  };
  const bool list =
      (type >= AttrType::kFloats && type <= AttrType::kGraphs) || type == AttrType::kTypeProtos;
  if (list) out_.push_back('[');
  switch (type) {
    case AttrType::kFloat: number(a.has(2) ? f32(a.all(2).back().bits) : 0.0F); break;
    case AttrType::kInt: number(a.i64(3)); break;
    case AttrType::kString: quote(a.text(4)); break;
    case AttrType::kTensor: {
      TRY_ASSIGN(const MessageView t, a.message(5));
      TRY(tensor(t, false));
      break;
    }
    case AttrType::kGraph: {
      TRY_ASSIGN(const MessageView g, a.message(6));
      TRY(print_graph(g));
      break;
    }
    case AttrType::kTypeProto: {
      TRY_ASSIGN(const MessageView t, a.message(14));
      TRY(print_type(t));
      break;
    }
    case AttrType::kFloats: TRY(each_number(7, [&](uint64_t bits) { number(f32(bits)); })); break;
    case AttrType::kInts:
      TRY(each_number(8, [&](uint64_t bits) { number(static_cast<int64_t>(bits)); }));
      break;
    case AttrType::kStrings:
      for (const WireField& f : a.all(9)) {
        separate(first);
        quote(f.view());
      }
      break;
    case AttrType::kTensors: TRY(each(10, print_tensor)); break;
    case AttrType::kGraphs: TRY(each(11, print_graph)); break;
    default: TRY(each(15, print_type)); break;
  }
  if (list) out_.push_back(']');
  return ok();
}

}  // namespace onnxtool
