// SPDX-License-Identifier: Apache-2.0
// Nodes that scale and shift the channels of a value by constants: x * scale + shift.
#pragma once
#include <optional>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

struct Affine {
  size_t input = 0;                  // which input is x
  std::vector<double> scale, shift;  // one each channel; empty: 1, 0
};

// n is Mul, Div, Add or Sub with a constant that varies along `axis` of the result only, where
// there are `channels`, and does not raise the rank; or BatchNormalization (axis 1) with constant
// parameters, not in training. nullopt: it is not.
std::optional<Affine> affine_of(const PassContext& ctx, NodeId n, int64_t rank, int64_t axis,
                                int64_t channels);

}  // namespace onnxtool
