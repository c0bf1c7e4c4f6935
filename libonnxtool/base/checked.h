// SPDX-License-Identifier: Apache-2.0
// Overflow-checked 64-bit arithmetic for sizes that come from files.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

namespace onnxtool {

inline std::optional<int64_t> checked_add(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}
inline std::optional<int64_t> checked_sub(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_sub_overflow(a, b, &r)) return std::nullopt;
  return r;
}
inline std::optional<int64_t> checked_mul(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}
// Product of non-negative dims; nullopt when one is negative or the product overflows.
// A zero dim makes the product zero whatever the others are.
std::optional<int64_t> checked_product(std::span<const int64_t> dims);

// Floor division and modulo with the sign of the divisor; b != 0, (min, -1) wraps.
inline int64_t floor_div(int64_t a, int64_t b) {
  if (b == -1) return static_cast<int64_t>(0 - static_cast<uint64_t>(a));
  int64_t q = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
}
inline int64_t floor_mod(int64_t a, int64_t b) {
  if (b == -1) return 0;
  int64_t r = a % b;
  return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
}
inline int64_t ceil_div(int64_t a, int64_t b) { return floor_div(a, b) + (floor_mod(a, b) != 0); }

// axis in [-rank, rank) to [0, rank); nullopt outside.
inline std::optional<int64_t> normalize_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) return std::nullopt;
  return axis < 0 ? axis + rank : axis;
}

}  // namespace onnxtool
