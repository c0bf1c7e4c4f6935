// SPDX-License-Identifier: Apache-2.0
// How the mask of an attention step broadcasts over [batch, heads, queries, keys].
#pragma once
#include <array>
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

}  // namespace onnxtool
