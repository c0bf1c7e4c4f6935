// SPDX-License-Identifier: Apache-2.0
// Dynamic quantization as DynamicQuantizeLinear defines it: uint8, range of the data with zero.
#pragma once
#include <span>

namespace onnxtool {

// Rounds the values to the 8-bit grid of their own range, in place: what the integer products of
// the dynamically quantized operators compute with.
void round_to_uint8_grid(std::span<double> values);

}  // namespace onnxtool
