// SPDX-License-Identifier: Apache-2.0
// The words of the ONNX text syntax: a cursor over the text that skips space and comments (from
// '#' to the end of the line) before each word.
#pragma once
#include <string>
#include <string_view>

#include "libonnxtool/base/dtype.h"
#include "libonnxtool/base/error.h"

namespace onnxtool {

struct TextNumber {
  std::string_view text;
  bool real = false;  // written with a point, an exponent, or as inf or nan
};

class TextLexer {
 public:
  explicit TextLexer(std::string_view text) : text_(text) {}
  bool at_end() { return skip(), pos_ == text_.size(); }
  char peek() { return at_end() ? '\0' : text_[pos_]; }
  bool match(char c);
  Status expect(char c);
  Status expect_arrow();  // "=>"

  // An identifier ([A-Za-z_][A-Za-z0-9_]*) at the cursor, or nothing.
  std::string_view peek_identifier();
  std::string_view identifier_or_none();
  // What stands after the identifier at the cursor, which is not consumed.
  char peek_after_identifier();
  Result<std::string> identifier(const char* what);
  Result<std::string> name(const char* what);  // an identifier or a quoted string
  Result<std::string> string(const char* what);
  Result<TextNumber> number();
  Result<int64_t> integer();

  Error fail(std::string what);         // at the next word
  Error wrong(std::string what) const;  // at the last word
  Error expected(const char* what);     // "what is expected, not 'x'"

 private:
  void skip();
  std::string_view text_;
  size_t pos_ = 0;
  size_t last_ = 0;  // where the last identifier, string or number begins
};

bool is_text_identifier(std::string_view s);
// Words that begin a type, or a number: quoted where they are names.
bool is_text_type(std::string_view s);
bool is_text_real(std::string_view s);  // inf, infinity, nan in any case

}  // namespace onnxtool
