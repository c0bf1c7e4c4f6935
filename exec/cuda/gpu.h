// SPDX-License-Identifier: Apache-2.0
// What CUDA kernels share on the host's side: streams, launches, prepared steps, checks of
// operands. The same sources are also compiled by a plain C++ compiler against
// tests/cuda/emulation, which runs kernels on the CPU thread by thread; hence only what that header
// offers is used.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "exec/plan/kernel.h"
#include "libonnxtool/base/str.h"

namespace onnxtool::cuda {

// Ok, or kUnsupported for want of memory, else kInternal with CUDA's own words.
Status check(cudaError_t code, const char* what);

// The stream that a step is enqueued on.
cudaStream_t stream_of(const RunArgs& args);

// A word that a kernel sets where an index is out of range; the stream's wait() then fails.
uint32_t* bad_index(const RunArgs& args);

template <typename T>
const T* in(const RunArgs& args, size_t i) {
  return static_cast<const T*>(args.in[i]);
}
template <typename T>
T* out(const RunArgs& args, size_t i = 0) {
  return static_cast<T*>(args.out[i]);
}

// A prepared step whose run() is f(args), which enqueues and gives a Status.
template <typename F>
class Runner final : public Prepared {
 public:
  explicit Runner(F f) : f_(std::move(f)) {}
  Status run(const RunArgs& args) const override { return f_(args); }

 private:
  F f_;
};
template <typename F>
std::unique_ptr<Prepared> prepared(F f) {
  return std::make_unique<Runner<F>>(std::move(f));
}

inline constexpr int kThreads = 256;  // of a block, where a kernel has no reason for another number
// Blocks for n independent elements; kernels loop over what is left (see GRID_LOOP).
inline int64_t blocks_for(int64_t n, int threads = kThreads) {
  return std::clamp<int64_t>((n + threads - 1) / threads, 1, 1 << 16);
}

template <typename... Formal, typename... Actual>
Status launch(void (*kernel)(Formal...), int64_t blocks, int threads, const RunArgs& args,
              Actual&&... actual) {
  const dim3 grid(static_cast<unsigned>(blocks)), block(static_cast<unsigned>(threads));
#ifdef __CUDACC__
  kernel<<<grid, block, 0, stream_of(args)>>>(std::forward<Actual>(actual)...);
#else
  emulated_launch(grid, block, stream_of(args), [=] { kernel(actual...); });
#endif
  return check(cudaGetLastError(), "a kernel could not be launched");
}

inline bool is_float_type(DType t) {
  return t == DType::kFloat || t == DType::kFloat16 || t == DType::kBfloat16;
}

}  // namespace onnxtool::cuda

// Elements i of [0, n), shared out over all threads of a launch.
#define GRID_LOOP(i, n)                                                     \
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < (n); \
       i += int64_t{gridDim.x} * blockDim.x)

// Before loops of constant length over arrays that are to stay in registers.
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif
