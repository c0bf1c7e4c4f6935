// SPDX-License-Identifier: Apache-2.0
// What the readers of text and JSON share: places in messages, and numbers as they are written.
#pragma once
#include <string>
#include <string_view>

namespace onnxtool {

// "line:column" of a byte offset, both from 1; columns count characters.
std::string text_position(std::string_view text, size_t at);

// The nearest value of a decimal number or inf, infinity, nan (any case, with a sign). Too small is
// zero; false where malformed or too large. Does not look at the locale.
bool parse_real(std::string_view s, double& value);
bool parse_real(std::string_view s, float& value);

}  // namespace onnxtool
