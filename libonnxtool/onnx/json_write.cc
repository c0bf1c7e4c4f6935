// SPDX-License-Identifier: Apache-2.0
// Wire bytes of a ModelProto to JSON by the ProtoJSON mapping, in the layout of Python's
// MessageToJson: two spaces, one value a line, ASCII only. Fields come in the order of numbers.
#include <charconv>
#include <cmath>
#include <cstring>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/message_view.h"

namespace onnxtool {
namespace {

class JsonWriter {
 public:
  explicit JsonWriter(std::string_view wire)
      : base_(reinterpret_cast<const std::byte*>(wire.data())) {}
  Status message(const MessageDesc& desc, const MessageParts& parts, int depth);
  std::string take() { return std::move(out_); }

 private:
  Status field(const FieldDesc& d, std::span<const WireField> found, int depth);
  Status list(const FieldDesc& d, std::span<const WireField> found, int depth);
  Status value(const FieldDesc& d, const WireField& f, int depth);
  Status text(const FieldDesc& d, std::string_view s);
  void base64(std::string_view s);
  void number(double v, bool narrow);
  void line(int depth) {
    out_.push_back('\n');
    out_.append(static_cast<size_t>(depth) * 2, ' ');
  }

  const std::byte* base_;
  std::string out_;
  int indent_ = 0;
};

Status JsonWriter::message(const MessageDesc& desc, const MessageParts& parts, int depth) {
  if (depth > kMaxNesting)
    return unsupported(format("messages nested more than {} deep", kMaxNesting));
  TRY_ASSIGN(MessageView view, MessageView::of(desc, parts, base_));
  out_.push_back('{');
  ++indent_;
  bool first = true;
  for (size_t i = 0; i < desc.fields.size(); ++i) {
    if (view.fields(i).empty()) continue;
    const size_t before = out_.size();
    if (!first) out_.push_back(',');
    line(indent_);
    const size_t began = out_.size();
    if (auto s = field(desc.fields[i], view.fields(i), depth); !s.ok())
      return std::move(s).context(desc.fields[i].name);
    if (out_.size() == began)
      out_.resize(before);  // packed, and empty
    else
      first = false;
    view.release(i);
  }
  --indent_;
  if (!first) line(indent_);
  out_.push_back('}');
  return ok();
}

Status JsonWriter::field(const FieldDesc& d, std::span<const WireField> found, int depth) {
  const size_t began = out_.size();
  out_.push_back('"');
  for (const char* c = d.name; *c; ++c) {
    if (*c == '_' && c[1])
      out_.push_back(static_cast<char>(*++c - 'a' + 'A'));
    else
      out_.push_back(*c);
  }
  out_ += "\": ";
  if (d.repeated) {
    out_.push_back('[');
    const size_t opened = out_.size();
    ++indent_;
    TRY(list(d, found, depth));
    --indent_;
    if (out_.size() == opened) {
      out_.resize(began);
      return ok();
    }
    line(indent_);
    out_.push_back(']');
    return ok();
  }
  if (d.kind != FieldKind::kMessage) return value(d, found.back(), depth);
  MessageParts parts;
  for (const WireField& f : found) parts.push_back(f.view());
  return message(*d.message, parts, depth + 1);
}

Status JsonWriter::list(const FieldDesc& d, std::span<const WireField> found, int depth) {
  bool first = true;
  const auto next = [&]() {
    if (!first) out_.push_back(',');
    first = false;
    line(indent_);
  };
  if (d.kind <= FieldKind::kDouble)
    return for_each_number(d, found, base_, [&](uint64_t bits) -> Status {
      next();
      WireField one;
      one.bits = bits;
      return value(d, one, depth);
    });
  for (const WireField& f : found) {
    next();
    TRY(value(d, f, depth));
  }
  return ok();
}

Status JsonWriter::value(const FieldDesc& d, const WireField& f, int depth) {
  switch (d.kind) {
    case FieldKind::kInt64: out_ += format("\"{}\"", f.i64()); return ok();
    case FieldKind::kUint64: out_ += format("\"{}\"", f.bits); return ok();
    case FieldKind::kInt32: out_ += format("{}", f.i32()); return ok();
    case FieldKind::kEnum: out_ += format("\"{}\"", enum_value(d, f.bits)->name); return ok();
    case FieldKind::kFloat: number(static_cast<double>(f.f32()), true); return ok();
    case FieldKind::kDouble: {
      double v;
      std::memcpy(&v, &f.bits, 8);
      number(v, false);
      return ok();
    }
    case FieldKind::kString: return text(d, f.view());
    case FieldKind::kBytes: base64(f.view()); return ok();
    case FieldKind::kMessage: return message(*d.message, {f.view()}, depth + 1);
  }
  return ok();
}

void JsonWriter::number(double v, bool narrow) {
  if (std::isnan(v)) {
    out_ += "\"NaN\"";
    return;
  }
  if (std::isinf(v)) {
    out_ += v < 0 ? "\"-Infinity\"" : "\"Infinity\"";
    return;
  }
  char b[40];
  const auto end = narrow ? std::to_chars(b, b + sizeof b, static_cast<float>(v)).ptr
                          : std::to_chars(b, b + sizeof b, v).ptr;
  const std::string_view s(b, static_cast<size_t>(end - b));
  out_ += s;
  if (s.find_first_of(".e") == std::string_view::npos) out_ += ".0";
}

Status JsonWriter::text(const FieldDesc& d, std::string_view s) {
  if (!valid_utf8(s))
    return invalid(format("{} {} is not UTF-8, JSON cannot say it", d.name, quoted(s)));
  out_.push_back('"');
  const auto unit = [&](uint32_t u) { out_ += format("\\u{:04x}", u); };
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<uint8_t>(s[i]);
    if (c >= 0x80) {  // valid UTF-8, as checked above
      const size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
      uint32_t cp = c & (0x7FU >> n);
      for (size_t k = 1; k < n; ++k) cp = cp << 6 | (static_cast<uint8_t>(s[i + k]) & 0x3F);
      if (cp >= 0x10000) {
        unit(0xD800 + ((cp - 0x10000) >> 10));
        unit(0xDC00 + ((cp - 0x10000) & 0x3FF));
      } else {
        unit(cp);
      }
      i += n;
      continue;
    }
    ++i;
    switch (c) {
      case '"': out_ += "\\\""; break;
      case '\\': out_ += "\\\\"; break;
      case '\n': out_ += "\\n"; break;
      case '\r': out_ += "\\r"; break;
      case '\t': out_ += "\\t"; break;
      case '\b': out_ += "\\b"; break;
      case '\f': out_ += "\\f"; break;
      default:
        if (c < 0x20)
          unit(c);
        else
          out_.push_back(static_cast<char>(c));
    }
  }
  out_.push_back('"');
  return ok();
}

void JsonWriter::base64(std::string_view s) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&](size_t i) -> uint32_t {
    return i < s.size() ? static_cast<uint8_t>(s[i]) : 0;
  };
  const size_t from = out_.size();
  out_.resize(from + 2 + (s.size() + 2) / 3 * 4);
  char* o = out_.data() + from;
  *o++ = '"';
  for (size_t i = 0; i < s.size(); i += 3) {
    const uint32_t v = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    *o++ = kDigits[v >> 18];
    *o++ = kDigits[v >> 12 & 63];
    *o++ = i + 1 < s.size() ? kDigits[v >> 6 & 63] : '=';
    *o++ = i + 2 < s.size() ? kDigits[v & 63] : '=';
  }
  *o = '"';
}

}  // namespace

Result<std::string> wire_to_json(std::string_view wire) {
  JsonWriter w(wire);
  TRY(w.message(kModelProto, {wire}, 0));
  return w.take();
}

}  // namespace onnxtool
