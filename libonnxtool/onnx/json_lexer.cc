// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/json_lexer.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/text_place.h"

namespace onnxtool {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

void put_utf8(std::string& s, uint32_t c) {
  const auto add = [&](uint32_t b) { s.push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6), add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12), add(0x80 | (c >> 6 & 0x3F)), add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | c >> 18), add(0x80 | (c >> 12 & 0x3F)), add(0x80 | (c >> 6 & 0x3F)),
        add(0x80 | (c & 0x3F));
  }
}

}  // namespace

Error JsonLexer::fail_at(size_t at, std::string what) const {
  return invalid(text_position(text_, at) + ": " + std::move(what));
}

Error JsonLexer::fail(std::string what) const { return fail_at(at_, std::move(what)); }

std::string JsonLexer::describe() const {
  switch (token_) {
    case JsonToken::kEnd: return "the end";
    case JsonToken::kString: return "the string " + quoted(view_, 40);
    case JsonToken::kNumber: return "the number " + escape(view_, 40);
    default: return quoted(text_.substr(at_, pos_ - at_));
  }
}

Status JsonLexer::next() {
  while (pos_ < text_.size() &&
         (text_[pos_] == ' ' || text_[pos_] == '\t' || text_[pos_] == '\n' || text_[pos_] == '\r'))
    ++pos_;
  at_ = pos_;
  view_ = {};
  if (pos_ == text_.size()) {
    token_ = JsonToken::kEnd;
    return ok();
  }
  const char c = text_[pos_];
  const auto word = [&](std::string_view w, JsonToken t) -> Status {
    if (text_.substr(pos_, w.size()) != w) return fail("no JSON value begins here");
    pos_ += w.size();
    token_ = t;
    return ok();
  };
  const auto one = [&](JsonToken t) -> Status {
    ++pos_;
    token_ = t;
    return ok();
  };
  switch (c) {
    case '{': return one(JsonToken::kObject);
    case '}': return one(JsonToken::kObjectEnd);
    case '[': return one(JsonToken::kArray);
    case ']': return one(JsonToken::kArrayEnd);
    case ':': return one(JsonToken::kColon);
    case ',': return one(JsonToken::kComma);
    case '"': return string();
    case 't': return word("true", JsonToken::kTrue);
    case 'f': return word("false", JsonToken::kFalse);
    case 'n': return word("null", JsonToken::kNull);
    default:
      if (c == '-' || digit(c)) return number();
      return fail("no JSON value begins with " + quoted(text_.substr(pos_, 1)));
  }
}

Status JsonLexer::number() {
  size_t i = pos_;
  const auto digits = [&]() {
    const size_t from = i;
    while (i < text_.size() && digit(text_[i])) ++i;
    return i > from;
  };
  if (text_[i] == '-') ++i;
  const size_t first = i;
  if (!digits()) return fail("a number without digits");
  if (text_[first] == '0' && i > first + 1) return fail("a number with a leading zero");
  if (i < text_.size() && text_[i] == '.') {
    ++i;
    if (!digits()) return fail("a number without digits after the point");
  }
  if (i < text_.size() && (text_[i] == 'e' || text_[i] == 'E')) {
    ++i;
    if (i < text_.size() && (text_[i] == '+' || text_[i] == '-')) ++i;
    if (!digits()) return fail("a number without digits in its exponent");
  }
  view_ = text_.substr(pos_, i - pos_);
  pos_ = i;
  token_ = JsonToken::kNumber;
  return ok();
}

Status JsonLexer::hex4(size_t i, uint32_t& value) const {
  value = 0;
  for (size_t k = i; k < i + 4; ++k) {
    const char c = k < text_.size() ? text_[k] : '"';
    const int d = digit(c)               ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
    if (d < 0) return fail_at(i, "\\u without four hexadecimal digits");
    value = value << 4 | static_cast<uint32_t>(d);
  }
  return ok();
}

// `i` is at the character after the backslash, and moves past the sequence.
Status JsonLexer::escape_sequence(size_t& i) {
  const char c = i < text_.size() ? text_[i] : 0;
  static constexpr std::string_view kFrom = "\"\\/bfnrt";
  static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
  if (const size_t k = kFrom.find(c); k != std::string_view::npos && c != 0) {
    decoded_.push_back(kTo[k]);
    ++i;
    return ok();
  }
  if (c != 'u') return fail_at(i, "unknown escape sequence in a string");
  uint32_t cp = 0;
  TRY(hex4(i + 1, cp));
  const size_t start = i;
  i += 5;
  if (cp >= 0xD800 && cp < 0xDC00 && text_.substr(i, 2) == "\\u") {
    uint32_t low = 0;
    TRY(hex4(i + 2, low));
    if (low >= 0xDC00 && low < 0xE000) {
      cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
      i += 6;
    }
  }
  if (cp >= 0xD800 && cp < 0xE000) return fail_at(start, "half of a surrogate pair in a string");
  put_utf8(decoded_, cp);
  return ok();
}

Status JsonLexer::string() {
  size_t i = pos_ + 1;
  const size_t first = i;
  bool plain = true;
  uint8_t seen = 0;  // bits of all characters as they stand
  decoded_.clear();
  for (;;) {
    const size_t run = i;
    while (i < text_.size() && text_[i] != '"' && text_[i] != '\\' &&
           static_cast<uint8_t>(text_[i]) >= 0x20)
      seen |= static_cast<uint8_t>(text_[i++]);
    if (i == text_.size()) return fail("a string that does not end");
    if (text_[i] == '"') {
      if (!plain) decoded_.append(text_.substr(run, i - run));
      break;
    }
    if (text_[i] != '\\') return fail_at(i, "a control character in a string");
    plain = false;
    decoded_.append(text_.substr(run, i - run));
    ++i;
    TRY(escape_sequence(i));
  }
  view_ = plain ? text_.substr(first, i - first) : std::string_view(decoded_);
  pos_ = i + 1;
  token_ = JsonToken::kString;
  if (seen >= 0x80 && !valid_utf8(view_)) return fail("a string that is not UTF-8");
  return ok();
}

}  // namespace onnxtool
