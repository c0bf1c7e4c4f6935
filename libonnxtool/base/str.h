// SPDX-License-Identifier: Apache-2.0
// Text helpers: formatting (fmt) and the escaping of names that come from files.
#pragma once
#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace onnxtool {

using fmt::format;

// `s` made safe for a terminal: control characters (C0, C1, DEL), bidirectional and zero-width
// marks, line breaks and malformed UTF-8 as \xNN or \u{NNNN}; cut at `limit` characters with "...".
std::string escape(std::string_view s, size_t limit = 80);

// "'escaped'"
std::string quoted(std::string_view s, size_t limit = 80);

// "1.5 KiB", "12 MiB"
std::string human_bytes(uint64_t bytes);

// "1,234,567"
std::string human_count(uint64_t n);

bool valid_utf8(std::string_view s);

}  // namespace onnxtool
