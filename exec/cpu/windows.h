// SPDX-License-Identifier: Apache-2.0
// The windows of a convolution over channels-last pixels, gathered as rows of a matrix (im2col).
#pragma once
#include <optional>

#include "exec/plan/step.h"

namespace onnxtool::cpu {

// One to three spatial dims as three, each array [depth, height, width].
struct Windows {
  int64_t in[3], out[3], kernel[3], strides[3], dilations[3], begin[3];
  int64_t images = 1, group = 1;
  int64_t channels = 0;  // of one group
  int64_t outputs = 0;   // of all groups
  bool point = true;     // a window is one pixel, and outputs read pixels in their order
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t pixels() const { return images * out[0] * out[1] * out[2]; }
};
// Of a step whose inputs 0 and 1 are image and weights. nullopt: what conv_geometry() refuses, or
// more than three spatial dims.
std::optional<Windows> windows_of(const StepInfo& s);

inline constexpr int64_t kWindowSlack = 32;  // bytes beyond the rows that may be written

// Output pixels [m0, m1) of group `g`: a row is [taps, channels] of elements of `size` bytes, rows
// are `ld` bytes apart. What lies in the padding is bytes of `fill`.
void gather_windows(const Windows& w, const std::byte* x, int64_t size, int fill, int64_t g,
                    int64_t m0, int64_t m1, std::byte* to, int64_t ld);

// Weights [outputs, channels, taps] (elements of `size` bytes, any alignment), outputs [first,
// last), as [outputs, taps, channels].
void turn_weights(const Windows& w, const std::byte* from, int64_t size, int64_t first,
                  int64_t last, std::byte* to);

}  // namespace onnxtool::cpu
