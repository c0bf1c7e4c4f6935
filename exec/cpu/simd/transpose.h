// SPDX-License-Identifier: Apache-2.0
// Internal to exec/cpu/simd: the two-dimensional core of transposes.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

// dst[r * dst_row + c] = src[c * src_col + r] for r < rows, c < cols; elements of 1, 2, 4, 8 or 16
// bytes, strides in elements.
void transpose_tile(const void* src, int64_t src_col, void* dst, int64_t dst_row, int64_t rows,
                    int64_t cols, int elem_size);

}  // namespace onnxtool::simd
