// SPDX-License-Identifier: Apache-2.0
// MaxPool and AveragePool: a thread makes one element. Images may lie in any layout.
#include "exec/cuda/apply.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kSpatial = 3;

struct Pool {
  DType type = DType::kFloat;
  bool max = false, count_pads = false;
  Nd outer;  // batch and channel; operand 0: the input, 1: the output
  int64_t pixels = 1, window = 1;
  int64_t in[kSpatial] = {1, 1, 1}, out[kSpatial] = {1, 1, 1}, kernel[kSpatial] = {1, 1, 1};
  int64_t stride[kSpatial] = {1, 1, 1}, dilation[kSpatial] = {1, 1, 1};
  int64_t begin[kSpatial] = {}, end[kSpatial] = {};
  int64_t from[kSpatial] = {}, to[kSpatial] = {};  // strides of the images
  bool channels_last = false;
};

__global__ void pool(Pool p, const void* x, void* y) {
  GRID_LOOP(i, p.pixels * p.outer.size) {
    const int64_t plane = p.channels_last ? i % p.outer.size : i / p.pixels;
    int64_t pixel = p.channels_last ? i / p.outer.size : i % p.pixels;
    int64_t base[2] = {}, place[kSpatial];
    p.outer.locate(plane, base, 2);
    for (int d = kSpatial; d-- > 0; pixel /= p.out[d]) {
      place[d] = pixel % p.out[d];
      base[1] += place[d] * p.to[d];
    }
    float best = -INFINITY, sum = 0;
    int64_t count = 0;
    for (int64_t k = 0; k < p.window; ++k) {
      int64_t at = base[0], rest = k;
      bool inside = true, padded = true;  // in the image; in the image with its padding
      for (int d = kSpatial; d-- > 0; rest /= p.kernel[d]) {
        const int64_t j = place[d] * p.stride[d] - p.begin[d] + rest % p.kernel[d] * p.dilation[d];
        inside = inside && j >= 0 && j < p.in[d];
        padded = padded && j < p.in[d] + p.end[d];
        at += j * p.from[d];
      }
      count += p.count_pads ? padded : inside;
      if (!inside) continue;
      const float e = load_as_float(x, at, p.type);
      sum += e;
      best = max_nan(best, e);
    }
    store_float(y, base[1], p.type, p.max ? best : sum / static_cast<float>(count));
  }
}

const char* build(const StepInfo& s, Pool* p) {
  if (!s.post.empty()) return "post operations";
  for (size_t i = 1; i < s.out.size(); ++i)
    if (s.out[i].present()) return "a second output";
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  auto g = pool_geometry(s);
  if (!g || g->rank() > kSpatial) return "shapes or attributes";
  p->type = s.in[0].dtype;
  p->max = s.op.view() == "MaxPool";
  p->count_pads = s.attr_int("count_include_pad", 0) != 0;
  p->channels_last = s.out[0].layout == Layout::kChannelsLast;
  const std::vector<int64_t> from = memory_strides(s.in[0].dims, s.in[0].layout);
  const std::vector<int64_t> to = memory_strides(s.out[0].dims, s.out[0].layout);
  const std::vector<int64_t> outer[] = {{from[0], from[1]}, {to[0], to[1]}};
  if (!plan_nd({s.in[0].dims[0], s.in[0].dims[1]}, outer, &p->outer)) return "the rank";
  for (size_t i = 0; i < g->rank(); ++i) {
    const size_t d = kSpatial - g->rank() + i;
    p->in[d] = g->in[i];
    p->out[d] = g->out[i];
    p->kernel[d] = g->kernel[i];
    p->stride[d] = g->strides[i];
    p->dilation[d] = g->dilations[i];
    p->begin[d] = g->begin[i];
    p->end[d] = g->end[i];
    p->from[d] = from[2 + i];
    p->to[d] = to[2 + i];
    p->pixels *= g->out[i];
    p->window *= g->kernel[i];
    // A window without an element inside has no mean.
    const int64_t last = (g->out[i] - 1) * g->strides[i] - g->begin[i];
    const int64_t reach = (g->kernel[i] - 1) * g->dilations[i] + 1;
    if (!p->max && (g->dilations[i] != 1 || g->begin[i] >= reach || last >= g->in[i]))
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
    return launch(pool, blocks_for(p->pixels * p->outer.size), kThreads, a, *p, a.in[0], a.out[0]);
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
