// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding of one head (RoFormer, arXiv 2104.09864).
#pragma once
#include <algorithm>
#include <cstdint>

namespace onnxtool::cpu {

// Pairs of elements, neighbours or `half` apart, turned by the angles of these cosines and sines;
// what lies beyond 2 * half of `size` stays. y may be x.
inline void rotate_head(const float* x, float* y, const float* cos, const float* sin, int64_t half,
                        int64_t size, bool interleaved) {
  const int64_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
  for (int64_t k = 0; k < half; ++k) {
    const float p = x[k * step], q = x[k * step + apart];
    y[k * step] = cos[k] * p - sin[k] * q;
    y[k * step + apart] = sin[k] * p + cos[k] * q;
  }
  if (x != y) std::copy(x + 2 * half, x + size, y + 2 * half);
}

}  // namespace onnxtool::cpu
