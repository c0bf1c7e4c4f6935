// SPDX-License-Identifier: Apache-2.0
// Internal to exec/cpu/simd: which taps of a sliding window lie inside the image, per axis.
#pragma once

#include <algorithm>
#include <cstdint>

namespace onnxtool::simd {

struct TapRange {
  int64_t begin = 0, end = 0;  // begin <= end
};

// Taps k in [0, kernel) of output position `o` with 0 <= o * stride - before + k * dilation <
// extent.
inline TapRange taps_inside(int64_t o, int64_t stride, int64_t before, int64_t dilation,
                            int64_t kernel, int64_t extent) {
  const int64_t base = o * stride - before;
  TapRange r;
  r.begin = base >= 0 ? 0 : std::min(kernel, (-base + dilation - 1) / dilation);
  r.end =
      base >= extent ? r.begin : std::clamp((extent - 1 - base) / dilation + 1, r.begin, kernel);
  return r;
}

// Number of taps inside the image extended by its padding: [-before, extent + after).
inline int64_t taps_padded(int64_t o, int64_t stride, int64_t before, int64_t dilation,
                           int64_t kernel, int64_t extent, int64_t after) {
  const int64_t base = o * stride - before, limit = extent + after;
  if (base >= limit) return 0;
  return std::min(kernel, (limit - 1 - base) / dilation + 1);
}

// Output positions in [0, outputs) whose window lies inside the image as a whole.
inline TapRange whole_windows(int64_t stride, int64_t before, int64_t dilation, int64_t kernel,
                              int64_t extent, int64_t outputs) {
  const int64_t last = extent - 1 - (kernel - 1) * dilation + before;  // greatest o * stride
  TapRange r;
  r.begin = std::min(outputs, (before + stride - 1) / stride);
  r.end = last < 0 ? r.begin : std::clamp(last / stride + 1, r.begin, outputs);
  return r;
}

}  // namespace onnxtool::simd
