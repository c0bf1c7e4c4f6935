// SPDX-License-Identifier: Apache-2.0
// Row normalizations and the folded batch normalization (norm.h).
#include "exec/cpu/simd/norm.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/norm.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>

#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// Sum of f(x[i]) over n, in four accumulators.
template <class F>
HWY_INLINE float sum_of(const float* x, int64_t n, const F& f) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = f(s0, hn::LoadU(d, x + i));
    s1 = f(s1, hn::LoadU(d, x + i + lanes));
    s2 = f(s2, hn::LoadU(d, x + i + 2 * lanes));
    s3 = f(s3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = f(s0, hn::LoadU(d, x + i));
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    s1 = hn::IfThenElse(hn::FirstN(d, rest), f(s1, load_n(d, x + i, rest)), s1);
  }
  return hsum(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

HWY_INLINE float sum(const float* x, int64_t n) {
  return sum_of(x, n, [](VF s, VF v) HWY_ATTR { return hn::Add(s, v); });
}
HWY_INLINE float sum_squares(const float* x, int64_t n, float mean) {
  const VF m = hn::Set(DF(), mean);
  return sum_of(x, n, [m](VF s, VF v) HWY_ATTR {
    const VF c = hn::Sub(v, m);
    return hn::MulAdd(c, c, s);
  });
}

// t = x + residual + bias, where given.
void add_rows(const float* x, const float* residual, const float* bias, float* t, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    VF v = load_n(d, x + i, rest);
    if (residual != nullptr) v = hn::Add(v, load_n(d, residual + i, rest));
    if (bias != nullptr) v = hn::Add(v, load_n(d, bias + i, rest));
    store_n(v, d, t + i, rest);
  }
}

// y = (x - mean) * inv * gamma + beta
void normalize(const float* x, float* y, int64_t n, float mean, float inv, const float* gamma,
               const float* beta) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF m = hn::Set(d, mean), s = hn::Set(d, inv);
  int64_t i = 0;
  if (gamma != nullptr && beta != nullptr) {
    for (; i + lanes <= n; i += lanes) {
      const VF v = hn::Mul(hn::Sub(hn::LoadU(d, x + i), m), s);
      hn::StoreU(hn::MulAdd(v, hn::LoadU(d, gamma + i), hn::LoadU(d, beta + i)), d, y + i);
    }
  }
  for (; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    VF v = hn::Mul(hn::Sub(load_n(d, x + i, rest), m), s);
    const VF g = gamma != nullptr ? load_n(d, gamma + i, rest) : hn::Set(d, 1.0f);
    const VF b = beta != nullptr ? load_n(d, beta + i, rest) : hn::Zero(d);
    if (gamma != nullptr || beta != nullptr) v = hn::MulAdd(v, g, b);
    store_n(v, d, y + i, rest);
  }
}

template <bool kCentered>
void norm_rows(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1) {
  const int64_t n = p.n;
  if (n == 0) return;
  const float by_n = 1.0f / static_cast<float>(n);
  for (int64_t r = row0; r < row1; ++r) {
    const float* row = x + r * n;
    float* out = y + r * n;
    if (p.residual != nullptr || p.bias != nullptr || p.sum_out != nullptr) {
      float* t = p.sum_out != nullptr ? p.sum_out + r * n : out;
      add_rows(row, p.residual != nullptr ? p.residual + r * n : nullptr, p.bias, t, n);
      row = t;
    }
    const float mean = kCentered ? sum(row, n) * by_n : 0.0f;
    const float inv = 1.0f / std::sqrt(sum_squares(row, n, mean) * by_n + p.eps);
    if (kCentered && p.mean_out != nullptr) p.mean_out[r] = mean;
    if (p.inv_std_out != nullptr) p.inv_std_out[r] = inv;
    normalize(row, out, n, mean, inv, p.gamma, p.beta);
  }
}

void layer_norm(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1) {
  norm_rows<true>(p, x, y, row0, row1);
}
void rms_norm(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1) {
  norm_rows<false>(p, x, y, row0, row1);
}

// y = x * scale[i] + shift[i], one row.
void scale_shift_row(const float* x, float* y, const float* scale, const float* shift, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    const VF s = load_n(d, scale + i, rest), b = load_n(d, shift + i, rest);
    store_n(hn::MulAdd(load_n(d, x + i, rest), s, b), d, y + i, rest);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(layer_norm);
HWY_EXPORT(rms_norm);
HWY_EXPORT(scale_shift_row);

void layer_norm_f32(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1) {
  HWY_DYNAMIC_DISPATCH(layer_norm)(p, x, y, row0, row1);
}
void rms_norm_f32(const LayerNorm& p, const float* x, float* y, int64_t row0, int64_t row1) {
  HWY_DYNAMIC_DISPATCH(rms_norm)(p, x, y, row0, row1);
}

void bn_fold_f32(const float* gamma, const float* beta, const float* mean, const float* var,
                 float eps, float* scale, float* shift, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    const double g = gamma != nullptr ? gamma[c] : 1.0, b = beta != nullptr ? beta[c] : 0.0;
    const double s = g / std::sqrt(static_cast<double>(var[c]) + eps);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(b - mean[c] * s);
  }
}

namespace {
constexpr int64_t kActBlock = 2048;  // an activation runs on data that is still in L1
}

void scale_shift_nchw_f32(const float* x, float* y, const float* scale, const float* shift,
                          int64_t channels, int64_t spatial, int64_t begin, int64_t end, Unary act,
                          float a, float b) {
  const UnaryFn affine = unary_fn(Unary::kAffine), fn = unary_fn(act);
  for (int64_t plane = begin; plane < end; ++plane) {
    const int64_t c = plane % channels;
    for (int64_t i = 0; i < spatial; i += kActBlock) {
      const int64_t at = plane * spatial + i, n = std::min(kActBlock, spatial - i);
      affine(x + at, y + at, n, scale[c], shift[c]);
      if (act != Unary::kCopy) fn(y + at, y + at, n, a, b);
    }
  }
}

void scale_shift_nhwc_f32(const float* x, float* y, const float* scale, const float* shift,
                          int64_t channels, int64_t begin, int64_t end, Unary act, float a,
                          float b) {
  const UnaryFn fn = unary_fn(act);
  const auto row = HWY_DYNAMIC_DISPATCH(scale_shift_row);
  for (int64_t p = begin; p < end; ++p) {
    row(x + p * channels, y + p * channels, scale, shift, channels);
    if (act != Unary::kCopy) fn(y + p * channels, y + p * channels, channels, a, b);
  }
}

}  // namespace onnxtool::simd
#endif
