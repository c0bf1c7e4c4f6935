// SPDX-License-Identifier: Apache-2.0
// Resize in two dimensions, fp32, by tables: the caller turns ONNX Resize's coordinate modes into
// source indices and weights once per shape. Output rows [oh0, oh1) of one image (NHWC) or plane.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

// out = in[i0] * w0 + in[i1] * w1; indices lie inside the axis.
struct LinearTap {
  int32_t i0, i1;
  float w0, w1;
};

// iy [oh], ix [ow]: source index of each output row and column. Pixels of run_bytes bytes (NHWC: c
// * element size; NCHW: the element size), any type.
void resize_nearest(const void* x, int64_t w, int64_t run_bytes, void* y, const int32_t* iy,
                    const int32_t* ix, int64_t ow, int64_t oh0, int64_t oh1);

// Rows are blended first, then columns; error at most 3 ulp of the greatest product.
void resize_linear_nhwc_f32(const float* x, int64_t w, int64_t c, float* y, const LinearTap* ty,
                            const LinearTap* tx, int64_t ow, int64_t oh0, int64_t oh1);
void resize_linear_nchw_f32(const float* x, int64_t w, float* y, const LinearTap* ty,
                            const LinearTap* tx, int64_t ow, int64_t oh0, int64_t oh1);

}  // namespace onnxtool::simd
