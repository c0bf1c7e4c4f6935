// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/text_lexer.h"

#include <algorithm>
#include <charconv>

#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/text_place.h"

namespace onnxtool {
namespace {

bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

size_t identifier_end(std::string_view s, size_t i) {
  if (i < s.size() && letter(s[i]))
    while (i < s.size() && (letter(s[i]) || digit(s[i]))) ++i;
  return i;
}

}  // namespace

bool is_text_identifier(std::string_view s) {
  return !s.empty() && identifier_end(s, 0) == s.size();
}

bool is_text_type(std::string_view s) {
  return s == "seq" || s == "map" || s == "optional" || s == "sparse_tensor" || s == "opaque" ||
         dtype_from_name(s).has_value();
}

bool is_text_real(std::string_view s) {
  const auto is = [&](std::string_view word) {
    return s.size() == word.size() &&
           std::equal(s.begin(), s.end(), word.begin(),
                      [](char a, char b) { return (a | 0x20) == b && letter(a); });
  };
  return is("inf") || is("infinity") || is("nan");
}

void TextLexer::skip() {
  for (;;) {
    while (pos_ < text_.size() && space(text_[pos_])) ++pos_;
    if (pos_ == text_.size() || text_[pos_] != '#') return;
    pos_ = std::min(text_.find('\n', pos_), text_.size());
  }
}

Error TextLexer::fail(std::string what) {
  skip();
  return invalid(text_position(text_, pos_) + ": " + std::move(what));
}

Error TextLexer::wrong(std::string what) const {
  return invalid(text_position(text_, last_) + ": " + std::move(what));
}

Error TextLexer::expected(const char* what) {
  if (at_end()) return fail(format("{} is expected, not the end", what));
  const size_t end = identifier_end(text_, pos_);
  return fail(format("{} is expected, not {}", what,
                     quoted(text_.substr(pos_, std::max<size_t>(end - pos_, 1)), 40)));
}

bool TextLexer::match(char c) {
  if (at_end() || text_[pos_] != c) return false;
  ++pos_;
  return true;
}

Status TextLexer::expect(char c) {
  if (match(c)) return ok();
  const char what[] = {'\'', c, '\'', 0};
  return expected(what);
}

Status TextLexer::expect_arrow() {
  skip();
  if (text_.substr(pos_, 2) != "=>") return expected("'=>'");
  pos_ += 2;
  return ok();
}

std::string_view TextLexer::peek_identifier() {
  skip();
  return text_.substr(pos_, identifier_end(text_, pos_) - pos_);
}

std::string_view TextLexer::identifier_or_none() {
  const std::string_view id = peek_identifier();
  last_ = pos_;
  pos_ += id.size();
  return id;
}

char TextLexer::peek_after_identifier() {
  const size_t here = pos_;
  identifier_or_none();
  const char c = peek();
  pos_ = here;
  return c;
}

Result<std::string> TextLexer::identifier(const char* what) {
  const std::string_view id = identifier_or_none();
  if (id.empty()) return expected(what);
  return std::string(id);
}

Result<std::string> TextLexer::name(const char* what) {
  return peek() == '"' ? string(what) : identifier(what);
}

Result<std::string> TextLexer::string(const char* what) {
  if (peek() != '"') return expected(what);
  size_t i = pos_ + 1;
  std::string s;
  for (;;) {
    const size_t stop = text_.find_first_of("\"\\", i);
    if (stop == std::string_view::npos || (text_[stop] == '\\' && stop + 1 == text_.size()))
      return fail("a string that does not end");
    s.append(text_.substr(i, stop - i));
    if (text_[stop] == '"') {
      last_ = pos_;
      pos_ = stop + 1;
      return s;
    }
    s.push_back(text_[stop + 1]);
    i = stop + 2;
  }
}

Result<TextNumber> TextLexer::number() {
  skip();
  size_t i = pos_;
  if (i < text_.size() && text_[i] == '-') ++i;
  TextNumber n;
  if (const size_t end = identifier_end(text_, i); end > i) {
    if (!is_text_real(text_.substr(i, end - i))) return expected("a number");
    n.real = true;
    i = end;
  } else {
    const auto digits = [&] {
      const size_t from = i;
      while (i < text_.size() && digit(text_[i])) ++i;
      return i > from;
    };
    if (!digits()) return expected("a number");
    if (i < text_.size() && text_[i] == '.') {
      n.real = true;
      ++i;
      digits();
    }
    if (i < text_.size() && (text_[i] == 'e' || text_[i] == 'E')) {
      n.real = true;
      ++i;
      if (i < text_.size() && (text_[i] == '+' || text_[i] == '-')) ++i;
      if (!digits()) return fail("a number without digits in its exponent");
    }
  }
  n.text = text_.substr(pos_, i - pos_);
  last_ = pos_;
  pos_ = i;
  return n;
}

Result<int64_t> TextLexer::integer() {
  TRY_ASSIGN(const TextNumber n, number());
  int64_t v = 0;
  const auto [p, e] = std::from_chars(n.text.data(), n.text.data() + n.text.size(), v);
  if (n.real || e != std::errc() || p != n.text.data() + n.text.size())
    return wrong(format("{} is no integer of 64 bits", quoted(n.text, 40)));
  return v;
}

}  // namespace onnxtool
