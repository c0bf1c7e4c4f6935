// SPDX-License-Identifier: Apache-2.0
// JSON to the wire bytes of a ModelProto by the ProtoJSON mapping
// (protobuf.dev/programming-guides/json), in one pass: field names in lowerCamelCase or as in
// onnx.proto, unknown ones are errors.
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/json_lexer.h"
#include "libonnxtool/onnx/text_place.h"
#include "libonnxtool/onnx/wire.h"
#include "libonnxtool/onnx/wire_build.h"

namespace onnxtool {
namespace {

class JsonReader {
 public:
  explicit JsonReader(std::string_view json) : lex_(json) {}
  Result<std::string> model();

 private:
  Status object(const MessageDesc& desc, int depth);  // the current token is its '{'
  Status member(const FieldDesc& d, int depth);
  Status list(const FieldDesc& d, int depth);
  Status value(const FieldDesc& d, int depth, bool packed);
  Status integer(const FieldDesc& d, uint64_t& bits);
  Status enumerator(const FieldDesc& d, uint64_t& bits);
  Status real(const FieldDesc& d, double& v);
  Status base64(const FieldDesc& d, std::string& bytes);
  Error expected(const FieldDesc& d, std::string_view what) const {
    return lex_.fail(format("'{}' wants {}, not {}", d.name, what, lex_.describe()));
  }

  JsonLexer lex_;
  WireBuilder out_;
};

// Values of base64 digits, of both alphabets; -1 for other characters.
constexpr std::array<int8_t, 256> kDigits = [] {
  std::array<int8_t, 256> t{};
  t.fill(-1);
  for (int i = 0; i < 26; ++i) {
    t[static_cast<size_t>('A' + i)] = static_cast<int8_t>(i);
    t[static_cast<size_t>('a' + i)] = static_cast<int8_t>(26 + i);
  }
  for (int i = 0; i < 10; ++i) t[static_cast<size_t>('0' + i)] = static_cast<int8_t>(52 + i);
  t['+'] = t['-'] = 62;
  t['/'] = t['_'] = 63;
  return t;
}();

// "opType" and "op_type" name op_type.
const FieldDesc* find_field(const MessageDesc& desc, std::string_view name) {
  for (const FieldDesc& f : desc.fields) {
    if (name == f.name) return &f;
    size_t i = 0;
    bool same = true;
    for (const char* c = f.name; *c && same; ++c, ++i) {
      char want = *c;
      if (want == '_' && c[1]) want = static_cast<char>(*++c - 'a' + 'A');
      same = i < name.size() && name[i] == want;
    }
    if (same && i == name.size()) return &f;
  }
  return nullptr;
}

Result<std::string> JsonReader::model() {
  TRY(lex_.next());
  if (lex_.token() != JsonToken::kObject)
    return lex_.fail("a model is an object, not " + lex_.describe());
  TRY(object(kModelProto, 0));
  TRY(lex_.next());
  if (lex_.token() != JsonToken::kEnd) return lex_.fail("the model ends before " + lex_.describe());
  return out_.take();
}

Status JsonReader::object(const MessageDesc& desc, int depth) {
  if (depth > kMaxNesting)
    return unsupported(lex_.fail(format("messages nested more than {} deep", kMaxNesting)).message);
  uint64_t seen = 0;  // by place in the table: no message has 64 fields
  bool one_set = false;
  for (bool first = true;; first = false) {
    TRY(lex_.next());
    if (lex_.token() == JsonToken::kObjectEnd) {
      if (first) return ok();
      return lex_.fail("a comma with nothing after it");
    }
    if (lex_.token() != JsonToken::kString)
      return lex_.fail("a field name is expected, not " + lex_.describe());
    const FieldDesc* d = find_field(desc, lex_.text());
    if (d == nullptr)
      return lex_.fail(format("{} has no field {}", desc.name, quoted(lex_.text())));
    const uint64_t bit = uint64_t{1} << (d - desc.fields.data());
    if (seen & bit) return lex_.fail(format("'{}' is given twice", d->name));
    seen |= bit;
    TRY(lex_.next());
    if (lex_.token() != JsonToken::kColon)
      return lex_.fail("a colon is expected, not " + lex_.describe());
    TRY(lex_.next());
    if (lex_.token() != JsonToken::kNull) {
      if (in_oneof(desc, d->number)) {
        if (one_set)
          return lex_.fail(
              format("{} takes one of its values, '{}' is another", desc.name, d->name));
        one_set = true;
      }
      TRY(member(*d, depth));
    }
    TRY(lex_.next());
    if (lex_.token() == JsonToken::kObjectEnd) return ok();
    if (lex_.token() != JsonToken::kComma)
      return lex_.fail("a comma or the end of the object is expected, not " + lex_.describe());
  }
}

Status JsonReader::member(const FieldDesc& d, int depth) {
  if (!d.repeated) return value(d, depth, false);
  if (lex_.token() != JsonToken::kArray) return expected(d, "an array");
  return list(d, depth);
}

Status JsonReader::list(const FieldDesc& d, int depth) {
  // As in onnx.proto: the data of tensors is packed, other numbers are not.
  const bool packed = d.kind <= FieldKind::kDouble && std::string_view(d.name).ends_with("_data");
  TRY(lex_.next());
  if (lex_.token() == JsonToken::kArrayEnd) return ok();
  if (packed) out_.begin(d.number);
  for (;;) {
    TRY(value(d, depth, packed));
    TRY(lex_.next());
    if (lex_.token() == JsonToken::kArrayEnd) break;
    if (lex_.token() != JsonToken::kComma)
      return lex_.fail("a comma or the end of the array is expected, not " + lex_.describe());
    TRY(lex_.next());
  }
  if (packed) out_.end();
  return ok();
}

Status JsonReader::value(const FieldDesc& d, int depth, bool packed) {
  switch (d.kind) {
    case FieldKind::kInt64:
    case FieldKind::kInt32:
    case FieldKind::kUint64:
    case FieldKind::kEnum: {
      uint64_t bits = 0;
      TRY(d.kind == FieldKind::kEnum ? enumerator(d, bits) : integer(d, bits));
      if (packed)
        out_.packed_varint(bits);
      else
        out_.varint(d.number, bits);
      return ok();
    }
    case FieldKind::kFloat: {
      double v = 0;
      TRY(real(d, v));
      const auto f = static_cast<float>(v);
      if (std::isinf(f) && !std::isinf(v)) return expected(d, "a number within the range of float");
      if (packed)
        out_.packed_fixed(&f, 4);
      else
        out_.f32(d.number, f);
      return ok();
    }
    case FieldKind::kDouble: {
      double v = 0;
      TRY(real(d, v));
      if (packed)
        out_.packed_fixed(&v, 8);
      else
        out_.f64(d.number, v);
      return ok();
    }
    case FieldKind::kString:
      if (lex_.token() != JsonToken::kString) return expected(d, "a string");
      out_.bytes(d.number, lex_.text());
      return ok();
    case FieldKind::kBytes: {
      std::string bytes;
      TRY(base64(d, bytes));
      out_.bytes(d.number, bytes);
      return ok();
    }
    case FieldKind::kMessage:
      if (lex_.token() != JsonToken::kObject) return expected(d, "an object");
      out_.begin(d.number);
      TRY(object(*d.message, depth + 1));
      out_.end();
      return ok();
  }
  return ok();
}

Status JsonReader::integer(const FieldDesc& d, uint64_t& bits) {
  if (lex_.token() != JsonToken::kNumber && lex_.token() != JsonToken::kString)
    return expected(d, "an integer");
  const std::string_view s = lex_.text();
  const char* const end = s.data() + s.size();
  bool fits = false;
  if (d.kind == FieldKind::kUint64) {
    const auto [p, e] = std::from_chars(s.data(), end, bits);
    fits = e == std::errc() && p == end;
  } else {
    int64_t v = 0;
    const auto [p, e] = std::from_chars(s.data(), end, v);
    fits = e == std::errc() && p == end;
    bits = static_cast<uint64_t>(v);
  }
  if (!fits && lex_.token() == JsonToken::kNumber &&
      s.find_first_of(".eE") != std::string_view::npos) {
    double v = 0;  // "1e3" and "2.0" are integers too
    const auto [p, e] = std::from_chars(s.data(), end, v);
    if (e == std::errc() && p == end && v == std::floor(v) && std::fabs(v) < 0x1p53) {
      fits = d.kind != FieldKind::kUint64 || v >= 0;
      bits = static_cast<uint64_t>(static_cast<int64_t>(v));
    }
  }
  const auto v = static_cast<int64_t>(bits);
  if (d.kind == FieldKind::kInt32 && (v < INT32_MIN || v > INT32_MAX)) fits = false;
  if (!fits)
    return expected(d, d.kind == FieldKind::kInt32    ? "an integer of 32 bits"
                       : d.kind == FieldKind::kUint64 ? "an unsigned integer of 64 bits"
                                                      : "an integer of 64 bits");
  return ok();
}

Status JsonReader::enumerator(const FieldDesc& d, uint64_t& bits) {
  if (lex_.token() == JsonToken::kString) {
    for (const EnumValue& v : d.values) {
      if (lex_.text() != v.name) continue;
      bits = static_cast<uint64_t>(v.number);
      return ok();
    }
  }
  if (lex_.token() == JsonToken::kNumber || lex_.token() == JsonToken::kString) {
    const std::string_view s = lex_.text();
    int32_t n = 0;
    const auto [p, e] = std::from_chars(s.data(), s.data() + s.size(), n);
    if (e == std::errc() && p == s.data() + s.size())
      for (const EnumValue& v : d.values)
        if (v.number == n) {
          bits = static_cast<uint64_t>(n);
          return ok();
        }
  }
  return expected(d, "one of its names");
}

Status JsonReader::real(const FieldDesc& d, double& v) {
  if (lex_.token() != JsonToken::kNumber && lex_.token() != JsonToken::kString)
    return expected(d, "a number");
  const std::string_view s = lex_.text();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (lex_.token() == JsonToken::kString) {
    v = s == "NaN"         ? std::numeric_limits<double>::quiet_NaN()
        : s == "Infinity"  ? kInf
        : s == "-Infinity" ? -kInf
                           : 0;
    if (v != 0) return ok();
    if (s.empty() || (s[0] != '-' && (s[0] < '0' || s[0] > '9'))) return expected(d, "a number");
  }
  if (!parse_real(s, v)) return expected(d, "a number within the range of double");
  if (!std::isfinite(v)) return expected(d, "a number");  // "-inf", "-nan"
  return ok();
}

Status JsonReader::base64(const FieldDesc& d, std::string& bytes) {
  if (lex_.token() != JsonToken::kString) return expected(d, "bytes in base64");
  std::string_view s = lex_.text();
  const size_t whole = s.size();
  while (!s.empty() && s.back() == '=' && whole - s.size() < 2) s.remove_suffix(1);
  bool good = s.size() % 4 != 1 && (whole == s.size() || whole % 4 == 0);
  bytes.resize(s.size() / 4 * 3 + (s.size() % 4 ? s.size() % 4 - 1 : 0));
  size_t o = 0;
  uint32_t v = 0;
  for (size_t i = 0; i < s.size() && good; ++i) {
    const int digit = kDigits[static_cast<uint8_t>(s[i])];
    good = digit >= 0;
    v = v << 6 | static_cast<uint32_t>(digit & 63);
    if (i % 4 == 3)
      for (int shift = 16; shift >= 0; shift -= 8) bytes[o++] = static_cast<char>(v >> shift);
    if (i % 4 == 3) v = 0;
  }
  if (!good) return expected(d, "bytes in base64");
  if (s.size() % 4 == 2) bytes[o++] = static_cast<char>(v >> 4);
  if (s.size() % 4 == 3)
    bytes[o++] = static_cast<char>(v >> 10), bytes[o++] = static_cast<char>(v >> 2);
  return ok();
}

}  // namespace

Result<std::string> json_to_wire(std::string_view json) {
  if (json.starts_with("\xEF\xBB\xBF")) json.remove_prefix(3);
  return JsonReader(json).model();
}

}  // namespace onnxtool
