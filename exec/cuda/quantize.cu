// SPDX-License-Identifier: Apache-2.0
// DynamicQuantizeLinear: blocks find the range of their parts, then each takes all parts together
// and quantizes its own.
#include "exec/cuda/warp.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kWarps = kThreads / kWarp, kParts = 128;

__global__ void find_range(int64_t n, const float* x, float* parts) {
  __shared__ float shared[kWarps];
  float low = 0, high = 0;  // the range always holds 0
  GRID_LOOP(i, n) {
    low = fminf(low, x[i]);
    high = fmaxf(high, x[i]);
  }
  high = over_block<kWarps>(high, shared, Most());
  low = -over_block<kWarps>(-low, shared, Most());
  if (threadIdx.x == 0) {
    parts[2 * blockIdx.x] = low;
    parts[2 * blockIdx.x + 1] = high;
  }
}

__global__ void quantize(int64_t n, const float* x, int count, const float* parts, uint8_t* y,
                         float* scale_out, uint8_t* zero_out) {
  float low = 0, high = 0;
  for (int i = 0; i < count; ++i) {
    low = fminf(low, parts[2 * i]);
    high = fmaxf(high, parts[2 * i + 1]);
  }
  float scale = (high - low) / 255.0f;
  if (!(scale > 0)) scale = 1;
  const float zero = fminf(fmaxf(rintf(-low / scale), 0.0f), 255.0f);
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *scale_out = scale;
    *zero_out = static_cast<uint8_t>(zero);
  }
  GRID_LOOP(i, n) y[i] = from_float<uint8_t>(rintf(x[i] / scale) + zero);
}

const char* accept(const StepInfo& s) {
  if (s.out.size() != 3 || !s.post.empty() || !all_plain(s)) return "outputs or layouts";
  if (s.in[0].dtype != DType::kFloat || s.out[0].dtype != DType::kUint8) return "types";
  for (const Operand& o : s.out)
    if (!o.present()) return "an output is left out";
  return nullptr;
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  const int64_t n = s.in[0].size(), parts = std::min<int64_t>(blocks_for(n), kParts);
  auto r = prepared([=](const RunArgs& a) -> Status {
    auto* ranges = reinterpret_cast<float*>(a.scratch);
    TRY(launch(find_range, parts, kThreads, a, n, in<float>(a, 0), ranges));
    return launch(quantize, blocks_for(n), kThreads, a, n, in<float>(a, 0), static_cast<int>(parts),
                  ranges, out<uint8_t>(a), out<float>(a, 1), out<uint8_t>(a, 2));
  });
  r->scratch_bytes = parts * 2 * static_cast<int64_t>(sizeof(float));
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(quantize, {.name = "dynamic_quantize",
                                 .ops = "DynamicQuantizeLinear",
                                 .rank = 30,
                                 .accept = cuda::accept,
                                 .prepare = cuda::prepare,
                                 .device = true})
