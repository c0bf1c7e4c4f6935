// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/dynamic_quantize.h"

#include <algorithm>
#include <cmath>

namespace onnxtool {

void round_to_uint8_grid(std::span<double> values) {
  double low = 0, high = 0;
  for (double v : values) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const float scale =
      high == low ? 1.0f : (static_cast<float>(high) - static_cast<float>(low)) / 255.0f;
  const float zero =
      std::nearbyint(std::min(std::max(-static_cast<float>(low) / scale, 0.0f), 255.0f));
  for (double& v : values) {
    const float q = std::nearbyint(static_cast<float>(v) / scale) + zero;
    v = (std::min(std::max(q, 0.0f), 255.0f) - zero) * static_cast<double>(scale);
  }
}

}  // namespace onnxtool
