// SPDX-License-Identifier: Apache-2.0
// What the normalizations share.
#pragma once
#include <cmath>

#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

// Rows are normalized in place: (x - mean) / sqrt(variance + epsilon), or without centring
// x / sqrt(mean of squares + epsilon).
struct RowNorm {
  double epsilon = 1e-5;
  bool center = true;
  double mean = 0, inverse = 0;  // of the last row
  void operator()(std::span<double> row) {
    mean = 0;
    const double count = static_cast<double>(row.size());
    if (center) {
      for (double v : row) mean += v;
      mean /= count;
    }
    double squares = 0;
    for (double& v : row) {
      v -= mean;
      squares += v * v;
    }
    inverse = 1 / std::sqrt(squares / count + epsilon);
    for (double& v : row) v *= inverse;
  }
};

// values[i] = values[i] * scale + bias with both broadcast to dims; bias may be null. Error when
// they do not broadcast.
Status scale_and_shift(std::span<double> values, const Dims& dims, const Tensor& scale,
                       const Tensor* bias);
// Error unless `s` broadcasts to `x` without adding to it.
Status expect_broadcastable(const Shape* s, std::string_view what, const Shape* x);

// Attribute stash_type: 1 float, 16 bfloat16, also 10 and 11.
Result<DType> stash_type(const Node& node);

}  // namespace onnxtool
