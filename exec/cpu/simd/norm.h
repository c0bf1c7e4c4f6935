// SPDX-License-Identifier: Apache-2.0
// Softmax and normalizations, fp32. Sources: ONNX Operators.md (Softmax, LayerNormalization,
// RMSNormalization, GroupNormalization, InstanceNormalization, BatchNormalization).
// In place (y == x) is allowed everywhere. Statistics are two-pass over data in cache, accumulated
// in several fp32 lanes; relative error of mean and variance is below 4e-7 * log2(n).
#pragma once

#include <cstdint>

#include "exec/cpu/simd/eltwise.h"

namespace onnxtool::simd {

// x, y: [outer, n, inner] dense; softmax along n. Unit of work: lanes [begin, end) of outer * inner
// (lane = o * inner + i). For inner > 1 split at multiples of 64 lanes for full speed.
// y = exp(x - max) / sum. A lane whose max is -inf, +inf, or that holds NaN gives NaN (as the
// formula does). Relative error 4e-7 + |x - max| * 2^-24 (that of the argument); results below
// 2^-126 are flushed to zero.
void softmax_f32(const float* x, float* y, int64_t n, int64_t inner, int64_t begin, int64_t end);

// y = x - max - log(sum exp(x - max)). |error| <= 4 ulp of max(|y|, |x - max|, 1).
void log_softmax_f32(const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
                     int64_t end);

// Rows [row0, row1) of x [rows, n]: y = (x - mean) / sqrt(var + eps) * gamma + beta.
struct LayerNorm {
  int64_t n = 0;
  float eps = 1e-5f;
  const float* gamma = nullptr;     // [n] or null (1)
  const float* beta = nullptr;      // [n] or null (0)
  const float* residual = nullptr;  // [rows, n] added to x first, or null
  const float* bias = nullptr;      // [n] added to x first, or null
  float* sum_out = nullptr;         // [rows, n] receives x + residual + bias, or null; may be x
  float* mean_out = nullptr;        // [rows] or null
  float* inv_std_out = nullptr;     // [rows] or null
};
void layer_norm_f32(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1);

// y = x / sqrt(mean(x^2) + eps) * gamma (+ beta); the same parameters (mean_out unused).
void rms_norm_f32(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1);

// x [batch, channels, spatial] (NCHW) or [batch, spatial, channels] (channels_last), G groups:
// work items are (batch, group) pairs [begin, end) of batch * groups.
// InstanceNormalization: groups = channels. gamma, beta are per channel or null. act follows.
struct GroupNorm {
  int64_t channels = 0, spatial = 0, groups = 1;
  bool channels_last = false;
  float eps = 1e-5f;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  Unary act = Unary::kCopy;
  float act_a = 0, act_b = 0;
};
void group_norm_f32(const GroupNorm& p, const float* x, float* y, int64_t begin, int64_t end);

// BatchNormalization (inference) folded to y = act(x * scale[c] + shift[c]).
// bn_fold: scale = gamma / sqrt(var + eps), shift = beta - mean * scale; gamma, beta may be null.
void bn_fold_f32(const float* gamma, const float* beta, const float* mean, const float* var,
                 float eps, float* scale, float* shift, int64_t channels);
// NCHW: planes [begin, end) of batch * channels, each `spatial` long.
void scale_shift_nchw_f32(const float* x, float* y, const float* scale, const float* shift,
                          int64_t channels, int64_t spatial, int64_t begin, int64_t end,
                          Unary act = Unary::kCopy, float a = 0, float b = 0);
// NHWC: pixels [begin, end) of batch * spatial, each `channels` long.
void scale_shift_nhwc_f32(const float* x, float* y, const float* scale, const float* shift,
                          int64_t channels, int64_t begin, int64_t end, Unary act = Unary::kCopy,
                          float a = 0, float b = 0);

}  // namespace onnxtool::simd
