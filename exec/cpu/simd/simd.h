// SPDX-License-Identifier: Apache-2.0
// What all SIMD kernels share: conventions and the answer to "which instruction set runs".
//
// Conventions of exec/cpu/simd:
//  - Plain functions over raw pointers. Nothing allocates, throws, locks or starts threads; every
//    function works on a half-open range [begin, end) of a stated unit, so callers split work.
//    Ranges given to different threads may share no output element; any split gives the same bytes.
//  - Pointers need the alignment of their element only. Nothing outside the stated extents is read
//    or written. Sizes are elements (int64_t), strides are elements, unless a name says bytes.
//  - Callers have checked shapes: extents are >= 0 and element counts fit in int64_t.
//  - "In place" means that the output pointer equals the input pointer with equal strides; partial
//    overlap is never allowed.
//  - Errors are given in ulp of the fp32 result against exact arithmetic, on AVX2 and AVX-512. The
//    baseline target has no fused multiply-add; its bound is one ulp more.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

// Name of the instruction set in use: "AVX3", "AVX2" or the static baseline's ("EMU128",
// "SSE4"...).
const char* target_name();

// Floats in one vector of the target in use (16, 8 or 4).
int vector_floats();

// For tests and measurements only: restrict dispatch to the n-th best compiled target that this
// machine can run (0 = best). Returns false (and changes nothing) where there is none.
// Packed GEMM operands made under one target must not be used under another.
bool use_target_for_test(int nth);

}  // namespace onnxtool::simd
