// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of 8-bit integers, channels last, with exact 32-bit sums.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/byte_gemm.h"

namespace onnxtool::simd {

int byte_window_channels();  // channels of one block
// Bytes that pack_byte_window writes.
int64_t packed_window_bytes(int64_t taps, int64_t channels, int parts);
// Taps a multiple of four, in the order in which byte_window gets them; w [parts, channels, taps],
// the weights being the sums of the parts.
void pack_byte_window(const int8_t* w, int64_t taps, int64_t channels, int parts, int8_t* packed);

// One row of up to kWindowPixels output pixels, next to each other, of C's rows m.. on. taps:
// [pixels][taps] pointers to the first channel of each tap's pixel (taps a multiple of four; where
// one is left over or lies in the padding, any readable bytes that mean zero). flip is XORed to
// every byte of x.
inline constexpr int kWindowPixels = 8;
void byte_window(const uint8_t* const* taps, int64_t count, int64_t pixels, uint8_t flip,
                 const int8_t* packed, int parts, int64_t channels, int64_t m, void* c,
                 const ByteEnd& e);

}  // namespace onnxtool::simd
