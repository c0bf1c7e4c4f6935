// SPDX-License-Identifier: Apache-2.0
// Sliding-window kernels, fp32: depthwise convolution and pooling, NHWC and NCHW, one image (NHWC)
// or one plane (NCHW) a call. Output rows [oh0, oh1). Reads outside the image count as padding.
// Semantics: ONNX Operators.md (Conv with group = C, MaxPool, AveragePool, GlobalAveragePool).
#pragma once

#include <cstdint>

#include "exec/cpu/simd/eltwise.h"

namespace onnxtool::simd {

struct Window {
  int64_t h = 0, w = 0, c = 1;  // input; c is 1 for planes
  int64_t oh = 0, ow = 0;       // output
  int64_t kh = 1, kw = 1, sh = 1, sw = 1, dh = 1, dw = 1;
  int64_t top = 0, left = 0;      // padding before
  int64_t bottom = 0, right = 0;  // padding after (used only by count_include_pad)
};

// x [h, w, c], weight [kh, kw, c], bias [c] or null, y [oh, ow, c].
void dwconv_nhwc_f32(const Window& p, const float* x, const float* weight, const float* bias,
                     float* y, int64_t oh0, int64_t oh1, Unary act = Unary::kCopy, float a = 0,
                     float b = 0);
// x [h, w], weight [kh, kw], y [oh, ow].
void dwconv_nchw_f32(const Window& p, const float* x, const float* weight, float bias, float* y,
                     int64_t oh0, int64_t oh1, Unary act = Unary::kCopy, float a = 0, float b = 0);

// Max over the elements inside the image (NaN wins); a window without any gives -inf.
void max_pool_nhwc_f32(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1);
void max_pool_nchw_f32(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1);
// Mean; count_include_pad counts padding (clipped at h + bottom, w + right) as ONNX does.
void avg_pool_nhwc_f32(const Window& p, bool count_include_pad, const float* x, float* y,
                       int64_t oh0, int64_t oh1);
void avg_pool_nchw_f32(const Window& p, bool count_include_pad, const float* x, float* y,
                       int64_t oh0, int64_t oh1);

// Mean over spatial. NHWC: x [spatial, c] -> y [c], channels [c0, c1). NCHW: planes [begin, end).
void global_avg_pool_nhwc_f32(const float* x, float* y, int64_t spatial, int64_t c, int64_t c0,
                              int64_t c1);
void global_avg_pool_nchw_f32(const float* x, float* y, int64_t spatial, int64_t begin,
                              int64_t end);

}  // namespace onnxtool::simd
