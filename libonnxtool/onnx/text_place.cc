// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/text_place.h"

#include <algorithm>
#include <charconv>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// A well-formed decimal number that is out of range: is it too small rather than too large?
bool too_small(std::string_view s) {
  const size_t e = std::min(s.find_first_of("eE"), s.size());
  int64_t exponent = 0;
  if (e < s.size()) {
    const bool negative = s[e + 1] == '-';
    for (char c : s.substr(e + 1))
      if (c >= '0' && c <= '9')
        exponent = std::min<int64_t>(exponent * 10 + (c - '0'), int64_t{1} << 62 >> 4);
    if (negative) exponent = -exponent;
  }
  const std::string_view mantissa = s.substr(0, e);
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  const size_t lead = mantissa.find_first_of("123456789");
  if (lead == std::string_view::npos) return true;
  return static_cast<int64_t>(point) - static_cast<int64_t>(lead) + exponent < 0;
}

template <typename T>
bool parse(std::string_view s, T& value) {
  const auto [p, e] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (e == std::errc::invalid_argument || p != s.data() + s.size()) return false;
  if (e != std::errc::result_out_of_range) return true;
  if (!too_small(s)) return false;
  value = s.starts_with('-') ? -T{0} : T{0};
  return true;
}

}  // namespace

std::string text_position(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  const std::string_view before = text.substr(0, at);
  const size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t start = before.rfind('\n') + 1;  // npos + 1 = 0
  size_t column = 1;
  for (char c : before.substr(start)) column += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return format("{}:{}", line, column);
}

bool parse_real(std::string_view s, double& value) { return parse(s, value); }

bool parse_real(std::string_view s, float& value) {
  if (parse(s, value) && value != 0) return true;
  double wide = 0;  // from_chars of a float may call numbers below its normal range out of range
  if (!parse(s, wide) || wide > 1 || wide < -1) return false;
  value = static_cast<float>(wide);
  return true;
}

}  // namespace onnxtool
