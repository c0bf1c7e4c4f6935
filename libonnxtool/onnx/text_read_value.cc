// SPDX-License-Identifier: Apache-2.0
// Text form, read: types, tensors and attributes.
#include <algorithm>
#include <charconv>
#include <vector>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/text_place.h"
#include "libonnxtool/onnx/text_reader.h"
#include "libonnxtool/onnx/text_tensor.h"

namespace onnxtool {
namespace {

constexpr const char* kAttrNames[] = {
    "",           "float",   "int",     "string", "tensor",        "graph",          "floats",
    "ints",       "strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "type_proto",
    "type_protos"};

// The type of one element of a list, and of a list of such elements.
AttrType element_of(AttrType t) {
  switch (t) {
    case AttrType::kFloats: return AttrType::kFloat;
    case AttrType::kInts: return AttrType::kInt;
    case AttrType::kStrings: return AttrType::kString;
    case AttrType::kTensors: return AttrType::kTensor;
    case AttrType::kGraphs: return AttrType::kGraph;
    case AttrType::kSparseTensors: return AttrType::kSparseTensor;
    case AttrType::kTypeProtos: return AttrType::kTypeProto;
    default: return t;
  }
}
AttrType list_of(AttrType t) {
  for (uint8_t i = 1; i < 15; ++i)
    if (element_of(AttrType{i}) == t && AttrType{i} != t) return AttrType{i};
  return t;
}

}  // namespace

const char* text_attr_name(AttrType t) { return kAttrNames[static_cast<size_t>(t)]; }

// -------------------------------------------------------------------------------------- types

bool TextReader::at_type() {
  const std::string_view id = in_.peek_identifier();
  if (is_text_type(id)) return true;
  if (id != "undefined") return false;
  const char after = in_.peek_after_identifier();  // else it is a name
  return after == '[' || after == '"' || is_text_identifier({&after, 1});
}

Status TextReader::type(TextType& t) {
  WireBuilder w;
  TRY(type_into(w, &t));
  t.wire = w.take();
  return ok();
}

Status TextReader::type_into(WireBuilder& w, TextType* top) {
  TRY_ASSIGN(const std::string id, in_.identifier("a type"));
  const auto dtype = id == "undefined" ? DType::kUndefined : dtype_from_name(id);
  if (dtype) {
    w.begin(1);
    TRY(tensor_type(w, *dtype, top));
    w.end();
    return ok();
  }
  if (id == "opaque") return opaque(w);
  const uint32_t field = id == "seq"             ? 4
                         : id == "map"           ? 5
                         : id == "optional"      ? 9
                         : id == "sparse_tensor" ? 8
                                                 : 0;
  if (field == 0) return in_.wrong(format("there is no type {}", quoted(id)));
  if (out_.depth() + ++type_depth_ * 2 > kMaxNesting)
    return unsupported(in_.fail(format("messages nested more than {} deep", kMaxNesting)).message);
  TRY(in_.expect('('));
  w.begin(field);
  if (field == 8 || field == 5) {
    TRY_ASSIGN(const std::string element, in_.identifier("an element type"));
    const auto e = dtype_from_name(element);
    if (!e) return in_.wrong(format("there is no element type {}", quoted(element)));
    if (field == 8) {
      TRY(tensor_type(w, *e, nullptr));
    } else {
      w.varint(1, static_cast<uint64_t>(*e));
      TRY(in_.expect(','));
    }
  }
  if (field != 8) {
    w.begin(field == 5 ? 2 : 1);
    TRY(type_into(w, nullptr));
    w.end();
  }
  w.end();
  --type_depth_;
  return in_.expect(')');
}

// The fields of TypeProto.Tensor, and of SparseTensor: `float` has rank 0, `float[]` any rank.
Status TextReader::tensor_type(WireBuilder& w, DType dtype, TextType* top) {
  w.varint(1, static_cast<uint64_t>(dtype));
  if (top != nullptr) {
    top->tensor = true;
    top->dtype = dtype;
  }
  const bool brackets = in_.match('[');
  if (brackets && in_.match(']')) {
    if (top != nullptr) top->numeric = false;
    return ok();
  }
  w.begin(2);
  if (brackets) TRY(dims(w, top));
  w.end();
  return ok();
}

Status TextReader::dims(WireBuilder& w, TextType* top) {
  do {
    w.begin(1);
    const char c = in_.peek();
    if (c == '"' || !in_.peek_identifier().empty()) {
      TRY_ASSIGN(const std::string symbol, in_.name("a dim"));
      w.bytes(2, symbol);
      if (top != nullptr) top->numeric = false;
    } else if (in_.match('?')) {
      if (top != nullptr) top->numeric = false;
    } else {
      TRY_ASSIGN(const int64_t value, in_.integer());
      w.varint(1, static_cast<uint64_t>(value));
      if (top != nullptr) top->dims.push_back(value);
    }
    w.end();
  } while (in_.match(','));
  return in_.expect(']');
}

// opaque(), opaque(name), opaque(domain, name); the first may have dots.
Status TextReader::opaque(WireBuilder& w) {
  w.begin(7);
  TRY(in_.expect('('));
  if (!in_.match(')')) {
    TRY_ASSIGN(std::string name, in_.name("a name"));
    while (in_.match('.')) {
      TRY_ASSIGN(const std::string part, in_.name("a name"));
      name += "." + part;
    }
    if (in_.match(',')) {
      w.bytes(1, name);
      TRY_ASSIGN(name, in_.name("a name"));
    }
    w.bytes(2, name);
    TRY(in_.expect(')'));
  }
  w.end();
  return ok();
}

// ------------------------------------------------------------------------------------ tensors

// The fields of a TensorProto; the cursor is past an optional '='.
Status TextReader::tensor(const TextType& t, std::string_view name) {
  if (!t.tensor) return in_.fail("only a tensor has elements here");
  if (t.dtype == DType::kUndefined) return in_.fail("a tensor without an element type");
  if (!t.numeric) return in_.fail("a tensor's dims must be numbers");
  for (int64_t d : t.dims) out_.varint(1, static_cast<uint64_t>(d));
  out_.varint(2, static_cast<uint64_t>(t.dtype));
  if (!name.empty()) out_.bytes(8, name);
  if (in_.match('[')) {
    TRY(pairs(13));
    out_.varint(14, 1);
    return ok();
  }
  TRY(in_.expect('{'));
  return elements(t);
}

Status TextReader::elements(const TextType& t) {
  const auto product = checked_product(t.dims);
  if (!product) return in_.fail(format("no tensor has the dims {}", to_string(t.dims)));
  const int64_t want = is_complex(t.dtype) ? checked_mul(*product, 2).value_or(-1) : *product;
  uint64_t count = 0;
  if (const uint32_t field = text_data_field(t.dtype); field == 5) {
    TRY(narrow_elements(t.dtype, want, count));
  } else {
    if (field != 6) out_.begin(field);
    if (in_.peek() != '}') TRY(wide_elements(t.dtype, count));
    if (field != 6) out_.end();
    if (want < 0 || count != static_cast<uint64_t>(want))
      return in_.fail(format("{} values for {}{}", count, dtype_name(t.dtype),
                             t.dims.empty() ? "" : to_string(t.dims)));
  }
  return in_.expect('}');
}

Status TextReader::wide_elements(DType dtype, uint64_t& count) {
  do {
    ++count;
    if (dtype == DType::kString) {
      TRY_ASSIGN(const std::string s, in_.string("a string"));
      out_.bytes(6, s);
      continue;
    }
    if (dtype == DType::kInt64) {
      TRY_ASSIGN(const int64_t v, in_.integer());
      out_.packed_varint(static_cast<uint64_t>(v));
      continue;
    }
    TRY_ASSIGN(const TextNumber n, in_.number());
    if (dtype == DType::kFloat || dtype == DType::kComplex64) {
      float v = 0;
      if (!parse_real(n.text, v))
        return in_.wrong(format("{} is beyond the range of float", quoted(n.text, 40)));
      out_.packed_fixed(&v, 4);
    } else if (dtype == DType::kDouble || dtype == DType::kComplex128) {
      double v = 0;
      if (!parse_real(n.text, v))
        return in_.wrong(format("{} is beyond the range of double", quoted(n.text, 40)));
      out_.packed_fixed(&v, 8);
    } else {
      uint64_t v = 0;
      const auto [p, e] = std::from_chars(n.text.data(), n.text.data() + n.text.size(), v);
      if (e != std::errc() || p != n.text.data() + n.text.size() || v > int_max_of(dtype))
        return in_.wrong(format("{} is no {}", quoted(n.text, 40), dtype_name(dtype)));
      out_.packed_varint(v);
    }
  } while (in_.match(','));
  return ok();
}

// Types that int32_data holds. Integers are codes as int32_data has them: bit patterns of floats,
// several elements to a number below 6 bits. But as many numbers as elements are one for each.
Status TextReader::narrow_elements(DType dtype, int64_t want, uint64_t& count) {
  const int per = text_per_number(dtype);
  std::vector<int32_t> values;  // kept only where elements must be put together
  bool reals = false;
  out_.begin(5);
  if (in_.peek() != '}') do {
      int32_t v = 0;
      bool real = false;
      TRY(narrow_element(dtype, v, real));
      reals = reals || real;
      ++count;
      if (per == 1)
        out_.packed_varint(static_cast<uint64_t>(int64_t{v}));
      else
        values.push_back(v);
    } while (in_.match(','));
  const auto wrong = [&]() {
    return in_.fail(format("{} values for {} elements of {}", count, want, dtype_name(dtype)));
  };
  if (want < 0) return wrong();
  const auto wanted = static_cast<uint64_t>(want);
  const int bits = dtype_bits(dtype);
  if (per == 1) {
    if (count != wanted) return wrong();
  } else {
    const int low = static_cast<int>(int_min_of(dtype));
    const int high = is_integer(dtype) ? static_cast<int>(int_max_of(dtype)) : (1 << bits) - 1;
    const bool in_range =
        std::all_of(values.begin(), values.end(), [&](int v) { return v >= low && v <= high; });
    if (count == wanted && in_range) {
      for (size_t i = 0; i < values.size();) {
        uint64_t byte = 0;
        for (int k = 0; k < per && i < values.size(); ++k, ++i)
          byte |= static_cast<uint64_t>(values[i] & ((1 << bits) - 1)) << (k * bits);
        out_.packed_varint(byte);
      }
    } else {
      const uint64_t packed =
          (wanted + static_cast<uint64_t>(per) - 1) / static_cast<uint64_t>(per);
      if (count != packed && count == wanted && !reals)
        return in_.fail(format("values beyond the range of {}", dtype_name(dtype)));
      if (reals || count != packed) return wrong();
      for (int32_t v : values) out_.packed_varint(static_cast<uint64_t>(int64_t{v}));
    }
  }
  out_.end();
  return ok();
}

Status TextReader::narrow_element(DType dtype, int32_t& v, bool& real) {
  TRY_ASSIGN(const TextNumber n, in_.number());
  const auto no = [&]() {
    return in_.wrong(format("{} is no {}", quoted(n.text, 40), dtype_name(dtype)));
  };
  real = n.real;
  if (real) {
    double d = 0;
    if (!is_float(dtype) || !parse_real(n.text, d)) return no();
    const auto f = static_cast<float>(d);
    v = dtype == DType::kFloat16    ? double_to_half(d)
        : dtype == DType::kBfloat16 ? float_to_bfloat16(f)
                                    : float_to_narrow(dtype, f);
    return ok();
  }
  const auto [p, e] = std::from_chars(n.text.data(), n.text.data() + n.text.size(), v);
  if (e != std::errc() || p != n.text.data() + n.text.size() || !text_number_fits(dtype, v))
    return no();
  return ok();
}

// --------------------------------------------------------------------------------- attributes

Status TextReader::attributes(size_t& count) {
  count = 0;
  if (!in_.match('<')) return ok();
  do {
    TRY(begin(5));
    TRY_ASSIGN(std::string name, in_.name("the name of an attribute"));
    TRY(attribute_after(std::move(name)));
    out_.end();
    ++count;
  } while (in_.match(','));
  return in_.expect('>');
}

// The fields of an AttributeProto: ": type" (or not), "=" and the value.
Status TextReader::attribute_after(std::string name) {
  out_.bytes(1, name);
  AttrType type = AttrType::kUndefined;
  if (in_.match(':')) {
    TRY_ASSIGN(const std::string word, in_.identifier("the type of an attribute"));
    for (uint8_t i = 1; i < 15; ++i)
      if (word == kAttrNames[i]) type = AttrType{i};
    if (type == AttrType::kUndefined)
      return in_.wrong(format("there is no type of attribute {}", quoted(word)));
  }
  TRY(in_.expect('='));
  if (in_.match('[')) {
    TRY(attribute_list(type));
  } else {
    AttrType got = AttrType::kUndefined;
    TRY(attribute_value(type, false, got));
    type = got;
  }
  if (type != AttrType::kUndefined) out_.varint(20, static_cast<uint64_t>(type));
  return ok();
}

Status TextReader::attribute_list(AttrType& type) {
  if (in_.match(']')) {
    if (type == AttrType::kUndefined)
      return in_.fail("an empty list needs a type, as in 'axes: ints = []'");
    if (element_of(type) == type) return in_.fail(format("a list is no {}", text_attr_name(type)));
    return ok();
  }
  AttrType element = element_of(type);
  do {
    AttrType got = AttrType::kUndefined;
    TRY(attribute_value(element, true, got));
    element = got;
  } while (in_.match(','));
  type = list_of(element);
  return in_.expect(']');
}

Status TextReader::attribute_value(AttrType expected, bool in_list, AttrType& got) {
  const auto fits = [&](AttrType t) -> Status {
    got = t;
    if (expected == AttrType::kUndefined || expected == t) return ok();
    return in_.fail(format("a value of type {} is expected, not {}", text_attr_name(expected),
                           text_attr_name(t)));
  };
  const std::string_view id = in_.peek_identifier();
  if (!id.empty() && (at_type() || (id == "undefined" && expected == AttrType::kTypeProto))) {
    TextType t;
    TRY(type(t));
    const char next = in_.peek();
    if (next != '{' && next != '=' && next != '"' && in_.peek_identifier().empty()) {
      TRY(fits(AttrType::kTypeProto));
      out_.bytes(in_list ? 15 : 14, t.wire);
      return ok();
    }
    TRY(fits(AttrType::kTensor));
    std::string name;
    if (next == '"') {
      TRY_ASSIGN(name, in_.string("a name"));
    } else {
      name = in_.identifier_or_none();
    }
    in_.match('=');
    TRY(begin(in_list ? 10 : 5));
    TRY(tensor(t, name));
    out_.end();
    return ok();
  }
  if (in_.match('@')) {
    if (in_list) return in_.fail("a list cannot hold references");
    TRY_ASSIGN(const std::string ref, in_.name("the name of an attribute"));
    if (ref.empty()) return in_.wrong("a reference without a name");
    out_.bytes(21, ref);
    got = expected;
    return ok();
  }
  if (in_.peek() == '"' || (!id.empty() && !is_text_real(id))) {
    const bool quoted_name = in_.peek() == '"';
    TRY_ASSIGN(std::string s, in_.name("a value"));
    if (quoted_name && in_.peek() != '(') {
      TRY(fits(AttrType::kString));
      out_.bytes(in_list ? 9 : 4, s);
      return ok();
    }
    TRY(fits(AttrType::kGraph));
    TRY(begin(in_list ? 11 : 6));
    TRY(graph(std::move(s)));
    out_.end();
    return ok();
  }
  TRY_ASSIGN(const TextNumber n, in_.number());
  if (n.real || expected == AttrType::kFloat) {
    TRY(fits(AttrType::kFloat));
    float v = 0;
    if (!parse_real(n.text, v))
      return in_.wrong(format("{} is beyond the range of float", quoted(n.text, 40)));
    out_.f32(in_list ? 7 : 2, v);
    return ok();
  }
  TRY(fits(AttrType::kInt));
  int64_t v = 0;
  if (std::from_chars(n.text.data(), n.text.data() + n.text.size(), v).ec != std::errc())
    return in_.wrong(format("{} is no integer of 64 bits", quoted(n.text, 40)));
  out_.varint(in_list ? 8 : 3, static_cast<uint64_t>(v));
  return ok();
}

}  // namespace onnxtool
