// SPDX-License-Identifier: Apache-2.0
// Tokens of JSON (RFC 8259) with their places: strings decoded to UTF-8, numbers as written.
#pragma once
#include <string>
#include <string_view>

#include "libonnxtool/base/error.h"

namespace onnxtool {

enum class JsonToken : uint8_t {
  kEnd,
  kObject,
  kObjectEnd,
  kArray,
  kArrayEnd,
  kColon,
  kComma,
  kString,
  kNumber,
  kTrue,
  kFalse,
  kNull,
};

class JsonLexer {
 public:
  explicit JsonLexer(std::string_view text) : text_(text) {}
  // Moves to the next token. Errors: kInvalid "line:column: what".
  Status next();
  JsonToken token() const { return token_; }
  // The decoded string or the number's characters; valid until next().
  std::string_view text() const { return view_; }
  // An error at the current token.
  Error fail(std::string what) const;
  std::string describe() const;  // of the current token, for messages

 private:
  Error fail_at(size_t at, std::string what) const;
  Status string();
  Status number();
  Status escape_sequence(size_t& i);
  Status hex4(size_t i, uint32_t& value) const;

  std::string_view text_;
  size_t at_ = 0;   // of the current token
  size_t pos_ = 0;  // past it
  JsonToken token_ = JsonToken::kEnd;
  std::string_view view_;
  std::string decoded_;
};

}  // namespace onnxtool
