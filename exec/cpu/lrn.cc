// SPDX-License-Identifier: Apache-2.0
// LRN (ONNX Operators.md): y = x / (bias + alpha / size * sum of squares of near channels)^beta.
#include "exec/cpu/simd/eltwise.h"
#include "exec/cpu/util.h"

namespace onnxtool {
namespace cpu {
namespace {

constexpr int64_t kRun = 256;  // pixels of a block

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  if (!is_f32(s.in[0]) || !is_f32(s.out[0]) || s.in[0].rank() < 2) return "not float, or the rank";
  return s.attr_int("size", 0) >= 1 ? nullptr : "the size";
}

// bias + alpha * sum of squares of channels low..high; with a constant n it becomes vector code.
inline void scaled(const float* x, int64_t plane, int64_t low, int64_t high, int64_t n, float alpha,
                   float bias, float* __restrict to) {
  for (int64_t j = 0; j < n; ++j) to[j] = 0;
  for (int64_t k = low; k <= high; ++k) {
    const float* row = x + k * plane;
    for (int64_t j = 0; j < n; ++j) to[j] += row[j] * row[j];
  }
  for (int64_t j = 0; j < n; ++j) to[j] = bias + alpha * to[j];
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  const int64_t size = s.attr_int("size", 1), images = s.in[0].dims[0], channels = s.in[0].dims[1],
                plane = s.in[0].size() / images / channels;
  const float alpha = s.attr_float("alpha", 1e-4f) / static_cast<float>(size);
  const float beta = s.attr_float("beta", 0.75f), bias = s.attr_float("bias", 1);
  const int64_t before = std::min((size - 1) / 2, channels),
                after = std::min(size - 1 - (size - 1) / 2, channels);
  const int64_t blocks = (plane + kRun - 1) / kRun;
  const double ns = static_cast<double>(kRun * channels) * (1.5 + 0.1 * static_cast<double>(size));
  return prepared([=](const RunArgs& a) {
    parallel_for(images * blocks, grain_for(ns), [&](int64_t begin, int64_t end) {
      alignas(64) float sums[kRun], roots[kRun];
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % blocks * kRun, n = std::min(kRun, plane - first);
        const int64_t at = i / blocks * channels * plane + first;
        const float* x = in<float>(a, 0) + at;
        float* y = out<float>(a) + at;
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t low = std::max<int64_t>(0, c - before),
                        high = std::min(channels - 1, c + after);
          const float* row = x + c * plane;
          if (n == kRun)
            scaled(x, plane, low, high, kRun, alpha, bias, sums);
          else
            scaled(x, plane, low, high, n, alpha, bias, sums);
          if (beta == 0.75f) {  // t^0.75 = sqrt(t) sqrt(sqrt(t))
            simd::unary_f32(simd::Unary::kSqrt, sums, sums, n);
            simd::unary_f32(simd::Unary::kSqrt, sums, roots, n);
            for (int64_t j = 0; j < n; ++j) sums[j] *= roots[j];
          } else {
            simd::unary_f32(simd::Unary::kPow, sums, sums, n, beta);
          }
          for (int64_t j = 0; j < n; ++j) y[c * plane + j] = row[j] / sums[j];
        }
      }
    });
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(lrn, {"lrn", "LRN", 30, cpu::accept, cpu::prepare})
