// SPDX-License-Identifier: Apache-2.0
// Internal to exec/cpu/simd: three-operand float kernels used by chains. Each operand is n elements
// or, where its flag is set, one element.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

enum class Ternary : uint8_t {
  kSelect,  // a != 0 ? b : c
  kMulAdd,  // a * b + c
};

void ternary_f32(Ternary op, const float* a, bool scalar_a, const float* b, bool scalar_b,
                 const float* c, bool scalar_c, float* y, int64_t n);

}  // namespace onnxtool::simd
