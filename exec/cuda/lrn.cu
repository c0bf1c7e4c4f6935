// SPDX-License-Identifier: Apache-2.0
// LRN (ONNX Operators.md): y = x / (bias + alpha / size * sum of squares of near channels)^beta.
#include "exec/cuda/gpu.h"
#include "exec/cuda/types.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Lrn {
  DType type = DType::kFloat;
  int64_t size = 0, channels = 1, channel = 1;  // elements; channels and their stride
  int64_t before = 0, after = 0;                // channels that count on both sides
  float alpha = 0, beta = 0, bias = 0;
};

__global__ void normalize(Lrn n, const void* x, void* y) {
  GRID_LOOP(i, n.size) {
    const int64_t c = i / n.channel % n.channels;
    const int64_t first = c < n.before ? 0 : c - n.before,
                  last = c + n.after < n.channels ? c + n.after : n.channels - 1;
    float sum = 0;
    for (int64_t k = first; k <= last; ++k) {
      const float v = load_as_float(x, i + (k - c) * n.channel, n.type);
      sum += v * v;
    }
    store_float(y, i, n.type, load_as_float(x, i, n.type) / powf(n.bias + n.alpha * sum, n.beta));
  }
}

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || s.in[0].layout != s.out[0].layout) return "layouts";
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype || s.in[0].rank() < 2)
    return "the element type or the rank";
  return s.attr_int("size", 0) >= 1 ? nullptr : "the size";
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Lrn n;
  const int64_t size = s.attr_int("size", 1);
  n.type = s.in[0].dtype;
  n.size = s.in[0].size();
  n.channels = s.in[0].dims[1];
  n.channel = memory_strides(s.in[0].dims, s.in[0].layout)[1];
  n.before = std::min((size - 1) / 2, n.channels);
  n.after = std::min(size - 1 - (size - 1) / 2, n.channels);
  n.alpha = s.attr_float("alpha", 1e-4f) / static_cast<float>(size);
  n.beta = s.attr_float("beta", 0.75f);
  n.bias = s.attr_float("bias", 1);
  return prepared([n](const RunArgs& a) {
    return launch(normalize, blocks_for(n.size), kThreads, a, n, a.in[0], a.out[0]);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(lrn, {.name = "lrn",
                            .ops = "LRN",
                            .rank = 30,
                            .accept = cuda::accept,
                            .prepare = cuda::prepare,
                            .device = true})
