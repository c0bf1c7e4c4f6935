// SPDX-License-Identifier: Apache-2.0
// Layer, RMS, group and instance normalization: a warp makes a row, a block one of many elements.
// Sums are fp32, of differences from the mean.
#include "exec/cuda/warp.h"
#include "exec/plan/normalizing.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kLong = 4096;  // elements of a row that a block makes

struct Rows {
  DType type = DType::kFloat, param_type = DType::kFloat;
  int64_t rows = 0, n = 0;
  bool rms = false;
  float epsilon = 0;
  // Groups of channels: `each` channels of `spatial` elements, together or channels-last.
  int64_t groups = 0, each = 1, spatial = 1;
  bool channels_last = false;

  __device__ int64_t place(int64_t row, int64_t k) const {
    if (!channels_last) return row * n + k;
    return (row / groups * spatial + k / each) * groups * each + row % groups * each + k % each;
  }
  __device__ int64_t parameter(int64_t row, int64_t k) const {
    if (!groups) return k;
    return row % groups * each + (channels_last ? k % each : k / spatial);
  }
};
struct Pointers {
  const void *x, *skip, *bias, *gamma, *beta;
  PostPointers post;
  void *y, *sum;
  float *mean, *inv;
};

template <bool kBlock>
__global__ void normalize(Rows s, Pointers p, Post post) {
  __shared__ float shared[kWarps];
  constexpr int kStep = kBlock ? kThreads : kWarp;
  const int first = static_cast<int>(threadIdx.x) % kStep;
  const auto total = [&](float v) {
    return kBlock ? over_block<kWarps>(v, shared, Plus()) : warp_sum(v);
  };
  const int64_t step = int64_t{gridDim.x} * kThreads / kStep;
  for (int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kStep; row < s.rows;
       row += step) {
    const auto at = [&](int64_t k) {
      const int64_t i = s.place(row, k);
      float v = load_as_float(p.x, i, s.type);
      if (p.skip) v += load_as_float(p.skip, i, s.type);
      if (p.bias) v += load_as_float(p.bias, k, s.type);
      return v;
    };
    const float n = static_cast<float>(s.n);
    float mean = 0, square = 0;
    if (!s.rms) {
      for (int64_t k = first; k < s.n; k += kStep) mean += at(k);
      mean = total(mean) / n;
    }
    for (int64_t k = first; k < s.n; k += kStep) {
      const float d = at(k) - mean;
      square += d * d;
    }
    const float scale = 1 / sqrtf(total(square) / n + s.epsilon);
    if (first == 0 && p.mean) p.mean[row] = mean;
    if (first == 0 && p.inv) p.inv[row] = scale;
    for (int64_t k = first; k < s.n; k += kStep) {
      const int64_t i = s.place(row, k), parameter = s.parameter(row, k);
      const float x = at(k);
      float v = (x - mean) * scale;
      if (p.gamma) v *= load_as_float(p.gamma, parameter, s.param_type);
      if (p.beta) v += load_as_float(p.beta, parameter, s.param_type);
      if (p.sum) store_float(p.sum, i, s.type, x);
      store_float(p.y, i, s.type, apply_post(post, p.post, i, v));
    }
  }
}

// Operands of a step by role.
struct Form {
  Rows rows;
  LayerNorm roles;
  Post post;
};

const char* build(const StepInfo& s, Form* f) {
  Rows& r = f->rows;
  LayerNorm& roles = f->roles;
  r.type = s.in[0].dtype;
  if (!is_float_type(r.type) || s.out[0].dtype != r.type) return "the element type";
  const std::string_view op = s.op.view();
  if (op == "GroupNormalization" || op == "InstanceNormalization") {
    GroupNorm g;
    if (auto* why = plan_group_norm(s, &g)) return why;
    roles.gamma = 1;
    roles.beta = 2;
    r.rows = g.images * g.groups;
    r.groups = g.groups;
    r.each = g.channels / g.groups;
    r.spatial = g.spatial;
    r.n = r.each * g.spatial;
    r.channels_last = g.channels_last;
    r.epsilon = g.epsilon;
  } else {
    if (auto* why = plan_layer_norm(s, &roles)) return why;
    r.rows = roles.rows;
    r.n = roles.n;
    r.rms = roles.rms;
    r.epsilon = roles.epsilon;
  }
  if (roles.gamma != kNone) r.param_type = s.in[roles.gamma].dtype;
  for (size_t i : {roles.gamma, roles.beta})
    if (i != kNone && (!is_float_type(r.param_type) || s.in[i].dtype != r.param_type))
      return "the parameters' types";
  for (size_t i : {roles.skip, roles.bias})
    if (i != kNone && s.in[i].dtype != r.type) return "the skip's type";
  if (roles.sum != kNone && s.out[roles.sum].dtype != r.type) return "the sum's type";
  for (size_t i : {roles.mean, roles.inv})
    if (i != kNone && s.out[i].dtype != DType::kFloat) return "the statistics' type";
  return plan_post(s, &f->post);
}

const char* accept(const StepInfo& s) {
  Form f;
  return build(s, &f);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto f = std::make_shared<Form>();
  if (auto* why = build(s, f.get())) return unsupported(why);
  return prepared([f](const RunArgs& a) {
    const LayerNorm& r = f->roles;
    const auto input = [&](size_t i) { return i == kNone ? nullptr : a.in[i]; };
    const auto output = [&](size_t i) { return i == kNone ? nullptr : a.out[i]; };
    const Pointers p = {a.in[0],
                        input(r.skip),
                        input(r.bias),
                        input(r.gamma),
                        input(r.beta),
                        bind_post(f->post, a),
                        a.out[0],
                        output(r.sum),
                        static_cast<float*>(output(r.mean)),
                        static_cast<float*>(output(r.inv))};
    const bool block = f->rows.n >= kLong;
    const int64_t rows = f->rows.rows;
    return launch(block ? normalize<true> : normalize<false>,
                  block ? std::min<int64_t>(rows, 1 << 16) : blocks_for(rows * kWarp), kThreads, a,
                  f->rows, p, f->post);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(normalize, {.name = "normalize",
                                  .ops = "LayerNormalization RMSNormalization "
                                         "SimplifiedLayerNormalization "
                                         "com.microsoft.SimplifiedLayerNormalization "
                                         "com.microsoft.SkipLayerNormalization "
                                         "com.microsoft.SkipSimplifiedLayerNormalization "
                                         "GroupNormalization InstanceNormalization",
                                  .rank = 20,
                                  .accept = cuda::accept,
                                  .prepare = cuda::prepare,
                                  .device = true})
