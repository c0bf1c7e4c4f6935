// SPDX-License-Identifier: Apache-2.0
// What the quantizing operators share: which scale belongs to which element, rounding, saturation.
#pragma once
#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Granularity of a scale: one for all, one for each index of an axis, or one for each block along
// an axis (QuantizeLinear 21). Element (o, d, i) of [outer, dim, inner] has scale
// (o * blocks + d / block) * inner_scales + (i where scales have inner dims).
struct Granularity {
  int64_t dim = 1, inner = 1;  // of the data
  int64_t block = 1;           // indices of the axis that share a scale
  int64_t blocks = 1;          // scales along the axis
  bool outer_scales = false;   // blocked: the scale has all dims
  bool single = true;          // one scale
  int64_t scale_of(int64_t element) const {
    if (single) return 0;
    const int64_t d = element / inner % dim;
    if (!outer_scales) return d;
    return (element / (inner * dim) * blocks + d / block) * inner + element % inner;
  }
};

// Error naming both shapes when the scale does not fit.
Result<Granularity> granularity_of(const Node& node, const Dims& data, const Dims& scale);
// The same check for symbolic shapes, as far as they are known.
Status check_granularity(const Node& node, const Shape& data, const Shape& scale);

// Round half to even, add the zero point, saturate to integer type t; NaN gives the least value,
// as in ONNX Runtime.
int64_t quantize(double scaled, int64_t zero_point, DType t);
// d rounded to a float type, as a double.
double round_to(DType t, double d);

}  // namespace onnxtool
