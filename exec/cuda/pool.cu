// SPDX-License-Identifier: Apache-2.0
// MaxPool and AveragePool: a thread makes one element. Images may lie in any layout.
#include "exec/cuda/apply.h"
#include "exec/cuda/window.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Pool {
  Window window;
  DType type = DType::kFloat;
  bool max = false, count_pads = false;
  int channels = 1;
};

__global__ void pool(Pool p, const void* x, void* y) {
  const Window& w = p.window;
  const int64_t pixels = w.all_pixels();
  const bool deep = w.to.channel == 1;
  GRID_LOOP(i, pixels * p.channels) {
    const auto channel = static_cast<int>(deep ? i % p.channels : i / pixels);
    const Pixel pixel = pixel_of(w, deep ? i / p.channels : i % pixels);
    float best = -INFINITY, sum = 0;
    int count = 0;
    for (int k = 0; k < w.size; ++k) {
      const int64_t at = source_of(w, pixel, k);
      if (p.count_pads) {
        bool padded = true;  // in the image with its padding
        int rest = k;
        for (int d = kSpatial; d-- > 0; rest /= w.kernel[d])
          padded = padded &&
                   pixel.place[d] * w.stride[d] - w.begin[d] + rest % w.kernel[d] * w.dilation[d] <
                       w.in[d] + w.end[d];
        count += padded;
      } else {
        count += at >= 0;
      }
      if (at < 0) continue;
      const float e = load_as_float(x, at + channel * w.from.channel, p.type);
      sum += e;
      best = max_nan(best, e);
    }
    store_float(y, place_in(w.to, pixel, channel), p.type,
                p.max ? best : sum / static_cast<float>(count));
  }
}

const char* build(const StepInfo& s, Pool* p) {
  if (!s.post.empty()) return "post operations";
  for (size_t i = 1; i < s.out.size(); ++i)
    if (s.out[i].present()) return "a second output";
  p->type = s.in[0].dtype;
  p->max = s.op.view() == "MaxPool";
  const bool bytes = p->type == DType::kUint8 || p->type == DType::kInt8;
  if (!(is_float_type(p->type) || (p->max && bytes)) || s.out[0].dtype != p->type)
    return "the element type";
  auto g = pool_geometry(s);
  if (!g || !plan_window(s, *g, &p->window) || s.in[0].dims[1] > INT32_MAX)
    return "shapes or attributes";
  p->count_pads = s.attr_int("count_include_pad", 0) != 0;
  p->channels = static_cast<int>(s.in[0].dims[1]);
  for (size_t i = 0; i < g->rank() && !p->max; ++i) {
    // A window without an element inside has no mean.
    const int64_t last = (g->out[i] - 1) * g->strides[i] - g->begin[i];
    const int64_t reach = (g->kernel[i] - 1) * g->dilations[i] + 1;
    if (g->dilations[i] != 1 || g->begin[i] >= reach || last >= g->in[i])
      return "dilations, or a window inside the padding";
  }
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Pool p;
  return build(s, &p);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto p = std::make_shared<Pool>();
  if (auto* why = build(s, p.get())) return unsupported(why);
  return prepared([p](const RunArgs& a) {
    return launch(pool, blocks_for(p->window.all_pixels() * p->channels), kThreads, a, *p, a.in[0],
                  a.out[0]);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(pool, {.name = "pool",
                             .ops = "MaxPool AveragePool",
                             .rank = 20,
                             .accept = cuda::accept,
                             .prepare = cuda::prepare,
                             .device = true})
