// SPDX-License-Identifier: Apache-2.0
// Geometry of Resize and Upsample (documentation of Resize-19): attributes, output sizes, and for
// each axis where an output position lies in the input and with which weights.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

struct ResizeForm {
  enum class Mode : uint8_t { kNearest, kLinear, kCubic };
  enum class Coord : uint8_t {
    kHalfPixel,
    kHalfPixelSymmetric,
    kPytorchHalfPixel,
    kAlignCorners,
    kAsymmetric,
    kTfCropAndResize,
    kTfHalfPixelForNn,  // versions 11 and 12 only
  };
  // kSimple: Upsample and Resize-10 (up: floor, down: ceil).
  enum class Nearest : uint8_t { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil, kSimple };
  enum class Policy : uint8_t { kStretch, kNotLarger, kNotSmaller };

  Mode mode = Mode::kNearest;
  Coord coord = Coord::kHalfPixel;
  Nearest nearest = Nearest::kRoundPreferFloor;
  Policy policy = Policy::kStretch;
  bool antialias = false, exclude_outside = false;
  double cubic_a = -0.75, extrapolation = 0;

  // Inputs of this version, 0 when it has none.
  size_t roi_input = 0, scales_input = 0, sizes_input = 0;
};
Result<ResizeForm> resize_form(const Node& node);

// The axes that scales, sizes and roi speak of, in their order.
Result<std::vector<int64_t>> resize_axes(const Node& node, int64_t rank);

struct ResizeAxis {
  int64_t in = 0, out = 0;
  double scale = 1;
  double length = 0;  // the output's size before it was cut to an integer
  double roi_start = 0, roi_end = 1;
  bool identity() const { return in == out && scale == 1 && roi_start == 0 && roi_end == 1; }
};

// The axis a scale gives; error when the scale is not positive or the result too large.
Result<ResizeAxis> scaled_axis(int64_t in, float scale);
// The axes that `sizes` give under the policy.
Result<std::vector<ResizeAxis>> sized_axes(const ResizeForm& form, std::span<const int64_t> in,
                                           std::span<const int64_t> sizes);

// What a node does to an input of these sizes, one axis for each of resize_axes; an input that is
// not there, or empty, is null.
Result<std::vector<ResizeAxis>> resized_axes(const Node& node, const ResizeForm& form,
                                             std::span<const int64_t> in_dims, const Tensor* roi,
                                             const Tensor* scales, const Tensor* sizes);
// Scales of the attributes of Upsample-1 and -7.
std::optional<std::vector<float>> attribute_scales(const Node& node);

// For each output position `taps` input positions (clamped into the input) with their weights.
struct ResizeTaps {
  size_t taps = 0;
  std::vector<int64_t> index;
  std::vector<double> weight;
  std::vector<bool> outside;  // tf_crop_and_resize: takes the extrapolation value; else empty
};
ResizeTaps resize_taps(const ResizeForm& form, const ResizeAxis& axis);

}  // namespace onnxtool
