// SPDX-License-Identifier: Apache-2.0
// The mask of an attention step: how it broadcasts over [batch, heads, queries, keys], and what a
// query gives that sees no key.
#pragma once
#include <array>
#include <limits>
#include <optional>

#include "exec/plan/step.h"

namespace onnxtool {

// Strides in elements, 0 where the mask has one entry for all; nullopt: more than four dims.
inline std::optional<std::array<int64_t, 4>> mask_strides(const Operand& mask) {
  if (mask.rank() > 4) return std::nullopt;
  Dims d(4 - mask.dims.size(), 1);
  d.insert(d.end(), mask.dims.begin(), mask.dims.end());
  const std::vector<int64_t> strides = memory_strides(d, Layout::kPlain);
  std::array<int64_t, 4> r{};
  for (size_t i = 0; i < 4; ++i) r[i] = d[i] == 1 ? 0 : strides[i];
  return r;
}

// Attention has zeros where its mask hides all keys; without one, and between two products, all
// scores are -inf then.
inline float no_key_value(const StepInfo& s) {
  const AttentionSpec& a = *s.attention;
  const bool nan = a.kv_len > 0 && (a.mask < 0 || s.attr_int("no_key_is_nan", 0) != 0);
  return nan ? std::numeric_limits<float>::quiet_NaN() : 0;
}

}  // namespace onnxtool
