// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/checked.h"

namespace onnxtool {

std::optional<int64_t> checked_product(std::span<const int64_t> dims) {
  bool zero = false;
  for (int64_t d : dims) {
    if (d < 0) return std::nullopt;
    zero |= d == 0;
  }
  if (zero) return 0;
  int64_t p = 1;
  for (int64_t d : dims)
    if (__builtin_mul_overflow(p, d, &p)) return std::nullopt;
  return p;
}

}  // namespace onnxtool
