// SPDX-License-Identifier: Apache-2.0
// Strides, dilations and pads of convolutions and pools, resolved for concrete shapes (ONNX
// Operators.md: Conv, ConvTranspose, MaxPool, AveragePool).
#pragma once
#include <optional>

#include "exec/plan/step.h"

namespace onnxtool {

struct Geometry {
  Dims in, out, kernel;  // spatial
  std::vector<int64_t> strides, dilations, begin, end;
  int64_t group = 1;
  size_t rank() const { return in.size(); }
  bool dilated() const;
};

// nullopt: attributes of wrong length or values out of range.
std::optional<Geometry> conv_geometry(const StepInfo& s);        // Conv: weights are input 1
std::optional<Geometry> transposed_geometry(const StepInfo& s);  // ConvTranspose
std::optional<Geometry> pool_geometry(const StepInfo& s);

}  // namespace onnxtool
