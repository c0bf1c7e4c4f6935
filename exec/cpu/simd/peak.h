// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most, for rooflines: bursts of fused multiply-adds in registers, and
// one sweep over memory.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/simd.h"

namespace onnxtool::simd {

// Runs `rounds` of independent fused multiply-adds on fp32 vectors; how many operations (two each)
// that were. `*sink` keeps the compiler from leaving them out.
int64_t fma_burst(int64_t rounds, float* sink);

// y[i] = a * x[i]
void scale_f32(const float* x, float* y, float a, int64_t n);

}  // namespace onnxtool::simd
