// SPDX-License-Identifier: Apache-2.0
// Sums and maxima over the threads of a warp and of a block; every thread gets the result.
#pragma once
#include "exec/cuda/apply.h"

namespace onnxtool::cuda {

inline constexpr int kWarp = 32;

struct Plus {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Times {
  __device__ float operator()(float a, float b) const { return a * b; }
};
struct Most {  // NaN wins
  __device__ float operator()(float a, float b) const { return max_nan(a, b); }
};

template <typename Op>
__device__ float over_warp(float x, Op op) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) x = op(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}
__device__ inline float warp_sum(float x) { return over_warp(x, Plus()); }
__device__ inline float warp_max(float x) { return over_warp(x, Most()); }

// `shared`: room for a number a warp, of which the block has kWarps.
template <int kWarps, typename Op>
__device__ float over_block(float x, float* shared, Op op) {
  const int t = static_cast<int>(threadIdx.x);
  x = over_warp(x, op);
  if (t % kWarp == 0) shared[t / kWarp] = x;
  __syncthreads();
  x = shared[0];
  for (int w = 1; w < kWarps; ++w) x = op(x, shared[w]);
  __syncthreads();
  return x;
}

}  // namespace onnxtool::cuda
