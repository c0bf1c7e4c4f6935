// SPDX-License-Identifier: Apache-2.0
// Shape rule and reference computation that the convolutions share (specs of Conv,
// ConvTranspose). Layout N, C, D1..Dn; weights M, C/group, k1..kn.
#pragma once
#include <functional>

#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

struct ConvShape {
  Shape out;      // of the result
  Window window;  // pads filled where the input is constant
  int64_t group = 1;
};
// Which inputs are which; SIZE_MAX: the operator has no such input.
struct ConvInputs {
  size_t x = 0, w = 1, bias = 2;
};
// nullopt: the ranks are not known.
Result<std::optional<ConvShape>> conv_rule(const InShapes& in, ConvInputs at = {});
Result<std::optional<ConvShape>> conv_transpose_rule(const InShapes& in);
// Multiply-accumulates of a convolution: each result element takes a dot product.
Result<int64_t> conv_macs(const InferContext& ctx, ConvInputs at);

// Concrete sizes of a convolution, checked.
struct ConvGeometry {
  int64_t batch = 0, group = 1;
  int64_t in_channels = 0, out_channels = 0;  // of one group
  Dims in, kernel, out;                       // spatial sizes
  std::vector<int64_t> strides, dilations, pads;
  int64_t in_size = 1, kernel_size = 1, out_size = 1;  // products
};
// `x` is the shape of the input; `transposed`: weights are C, M/group, k1..kn.
Result<ConvGeometry> geometry_of(const ConvShape& s, const Shape& x, const Shape& w,
                                 bool transposed = false);

// For `count` output positions from `first` and kernel position `tap` (flat): the flat input
// position that each reads, -1 in the padding.
void input_positions(const ConvGeometry& g, int64_t first, int64_t count, int64_t tap,
                     std::span<int64_t> at);

// The convolution without bias, in pieces: sink(n, channel, first position, values).
using ConvSink = std::function<void(int64_t n, int64_t channel, int64_t first, std::span<double>)>;
// x(n, group) gives the plane [in_channels * in_size]; w is the whole weight.
using ConvSource = std::function<void(int64_t n, int64_t group, std::span<double> plane)>;
Status convolve(const EvalContext& ctx, const ConvGeometry& g, const ConvSource& x,
                std::span<const double> w, const ConvSink& sink);

}  // namespace onnxtool
