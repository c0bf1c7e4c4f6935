// SPDX-License-Identifier: Apache-2.0
// Reductions, softmax and normalizations: a warp makes one result, or one row. Sums are fp32.
#include "exec/cuda/warp.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cuda {
namespace {

enum class Reduce : uint8_t {
  kSum,
  kMean,
  kMax,
  kMin,
  kProd,
  kL1,
  kL2,
  kSumSquare,
  kLogSum,
  kLogSumExp
};

struct Reduction {
  Reduce op = Reduce::kSum;
  DType type = DType::kFloat;
  Nd out;  // operand 0: the input, 1: the output
  Nd in;   // the reduced dims of the input
};

__global__ void reduce(Reduction r, const void* x, void* y) {
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t i = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; i < r.out.size;
       i += warps) {
    int64_t base[2] = {};
    r.out.locate(i, base, 2);
    auto each = [&](auto&& f) {
      for (int64_t k = lane; k < r.in.size; k += kWarp) {
        int64_t at[1] = {base[0]};
        r.in.locate(k, at, 1);
        f(load_as_float(x, at[0], r.type));
      }
    };
    float v = 0;
    const float n = static_cast<float>(r.in.size);
    switch (r.op) {
      case Reduce::kMax:
        v = -INFINITY;
        each([&](float e) { v = max_nan(v, e); });
        v = warp_max(v);
        break;
      case Reduce::kMin:
        v = -INFINITY;
        each([&](float e) { v = max_nan(v, -e); });
        v = -warp_max(v);
        break;
      case Reduce::kProd:
        v = 1;
        each([&](float e) { v *= e; });
        v = over_warp(v, Times());
        break;
      case Reduce::kL1:
        each([&](float e) { v += fabsf(e); });
        v = warp_sum(v);
        break;
      case Reduce::kL2:
      case Reduce::kSumSquare:
        each([&](float e) { v += e * e; });
        v = warp_sum(v);
        if (r.op == Reduce::kL2) v = sqrtf(v);
        break;
      case Reduce::kLogSumExp: {
        float top = -INFINITY;
        each([&](float e) { top = max_nan(top, e); });
        top = warp_max(top);
        const float shift = top == -INFINITY || top == INFINITY ? 0 : top;
        each([&](float e) { v += expf(e - shift); });
        v = logf(warp_sum(v)) + shift;
        break;
      }
      default:
        each([&](float e) { v += e; });
        v = warp_sum(v);
        if (r.op == Reduce::kMean) v /= n;
        if (r.op == Reduce::kLogSum) v = logf(v);
    }
    if (lane == 0) store_float(y, base[1], r.type, v);
  }
}

struct Row {
  const char* op;
  Reduce reduce;
};
constexpr Row kReduce[] = {{"ReduceSum", Reduce::kSum},
                           {"ReduceMean", Reduce::kMean},
                           {"ReduceMax", Reduce::kMax},
                           {"ReduceMin", Reduce::kMin},
                           {"ReduceProd", Reduce::kProd},
                           {"ReduceL1", Reduce::kL1},
                           {"ReduceL2", Reduce::kL2},
                           {"ReduceSumSquare", Reduce::kSumSquare},
                           {"ReduceLogSum", Reduce::kLogSum},
                           {"ReduceLogSumExp", Reduce::kLogSumExp},
                           {"GlobalAveragePool", Reduce::kMean},
                           {"GlobalMaxPool", Reduce::kMax}};

const char* build_reduce(const StepInfo& s, Reduction* r) {
  if (!s.post.empty()) return "post operations";
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  r->type = s.in[0].dtype;
  for (const Row& row : kReduce)
    if (s.op.view() == row.op) r->op = row.reduce;
  const size_t rank = s.in[0].dims.size();
  std::vector<char> reduced(rank, 0);
  bool keep = true;
  if (s.op.view().starts_with("Global")) {
    if (rank < 3) return "the rank";
    std::fill(reduced.begin() + 2, reduced.end(), 1);
  } else {
    keep = s.attr_int("keepdims", 1) != 0;
    auto axes = s.ints(1, "axes");
    if (s.has(1) && !axes) return "axes known only while running";
    if (!axes || axes->empty()) {
      if (s.attr_int("noop_with_empty_axes", 0)) return "no axes";
      std::fill(reduced.begin(), reduced.end(), 1);
    } else {
      for (int64_t a : *axes) {
        auto axis = normalize_axis(a, s.in[0].rank());
        if (!axis) return "the axes";
        reduced[static_cast<size_t>(*axis)] = 1;
      }
    }
  }
  const std::vector<int64_t> from = memory_strides(s.in[0].dims, s.in[0].layout);
  const std::vector<int64_t> to = memory_strides(s.out[0].dims, s.out[0].layout);
  Dims kept, gone;
  std::vector<int64_t> kept_from, kept_to, gone_from;
  size_t at = 0;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t d = s.in[0].dims[i];
    if (reduced[i]) {
      gone.push_back(d);
      gone_from.push_back(from[i]);
      if (keep) ++at;
      continue;
    }
    if (at >= to.size()) return "shapes";
    kept.push_back(d);
    kept_from.push_back(from[i]);
    kept_to.push_back(to[at++]);
  }
  const std::vector<int64_t> outer[] = {kept_from, kept_to}, inner[] = {gone_from};
  return plan_nd(kept, outer, &r->out) && plan_nd(gone, inner, &r->in) ? nullptr : "the rank";
}

int64_t warp_blocks(int64_t rows) { return blocks_for(rows * kWarp); }

const char* accept_reduce(const StepInfo& s) {
  Reduction r;
  return build_reduce(s, &r);
}
Result<std::unique_ptr<Prepared>> prepare_reduce(const StepInfo& s, PrepareContext&) {
  Reduction r;
  if (auto* why = build_reduce(s, &r)) return unsupported(why);
  auto p = prepared([r](const RunArgs& a) {
    return launch(reduce, warp_blocks(r.out.size), kThreads, a, r, a.in[0], a.out[0]);
  });
  p->unread_inputs = 2;
  return Result<std::unique_ptr<Prepared>>(std::move(p));
}

// ---- rows

struct Rows {
  DType type = DType::kFloat, param_type = DType::kFloat;
  int64_t rows = 0, n = 0,
          inner = 1;  // element k of row r: r / inner * n * inner + k * inner + r % inner
  bool log = false, rms = false;
  float epsilon = 0;
  int64_t groups = 0, per_channel = 0;  // group normalization: parameters a channel
  __device__ int64_t place(int64_t row, int64_t k) const {
    return (row / inner * n + k) * inner + row % inner;
  }
};

__global__ void softmax(Rows s, const void* x, void* y) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / kWarp;
  for (int64_t row = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; row < s.rows;
       row += warps) {
    float top = -INFINITY, sum = 0;
    for (int64_t k = lane; k < s.n; k += kWarp)
      top = max_nan(top, load_as_float(x, s.place(row, k), s.type));
    top = warp_max(top);
    for (int64_t k = lane; k < s.n; k += kWarp)
      sum += expf(load_as_float(x, s.place(row, k), s.type) - top);
    sum = warp_sum(sum);
    const float log_sum = logf(sum);
    for (int64_t k = lane; k < s.n; k += kWarp) {
      const float v = load_as_float(x, s.place(row, k), s.type) - top;
      store_float(y, s.place(row, k), s.type, s.log ? v - log_sum : expf(v) / sum);
    }
  }
}

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta of each row; two passes over x.
__global__ void normalize(Rows s, const void* x, const void* gamma, const void* beta, Post post,
                          PostPointers from, void* y) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / kWarp;
  for (int64_t row = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; row < s.rows;
       row += warps) {
    const float n = static_cast<float>(s.n);
    float mean = 0, square = 0;
    if (!s.rms) {
      for (int64_t k = lane; k < s.n; k += kWarp) mean += load_as_float(x, row * s.n + k, s.type);
      mean = warp_sum(mean) / n;
    }
    for (int64_t k = lane; k < s.n; k += kWarp) {
      const float d = load_as_float(x, row * s.n + k, s.type) - mean;
      square += d * d;
    }
    const float scale = 1 / sqrtf(warp_sum(square) / n + s.epsilon);
    for (int64_t k = lane; k < s.n; k += kWarp) {
      const int64_t i = row * s.n + k;
      const int64_t p = s.groups ? row % s.groups * (s.n / s.per_channel) + k / s.per_channel : k;
      float v = (load_as_float(x, i, s.type) - mean) * scale;
      if (gamma) v *= load_as_float(gamma, p, s.param_type);
      if (beta) v += load_as_float(beta, p, s.param_type);
      store_float(y, i, s.type, apply_post(post, from, i, v));
    }
  }
}

const char* build_softmax(const StepInfo& s, Rows* r) {
  if (!s.post.empty()) return "post operations";
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  if (!all_plain(s)) return "layouts";
  auto axis = normalize_axis(s.attr_int("axis", s.version() < 13 ? 1 : -1), s.in[0].rank());
  if (!axis) return "the axis";
  r->type = s.in[0].dtype;
  r->log = s.op.view() == "LogSoftmax";
  r->n = s.in[0].dims[static_cast<size_t>(*axis)];
  for (size_t i = static_cast<size_t>(*axis) + 1; i < s.in[0].dims.size(); ++i)
    (s.version() < 13 ? r->n : r->inner) *= s.in[0].dims[i];
  r->rows = s.in[0].size() / r->n;
  return nullptr;
}

const char* accept_softmax(const StepInfo& s) {
  Rows r;
  return build_softmax(s, &r);
}
Result<std::unique_ptr<Prepared>> prepare_softmax(const StepInfo& s, PrepareContext&) {
  Rows r;
  if (auto* why = build_softmax(s, &r)) return unsupported(why);
  return prepared([r](const RunArgs& a) {
    return launch(softmax, warp_blocks(r.rows), kThreads, a, r, a.in[0], a.out[0]);
  });
}

const char* build_normalize(const StepInfo& s, Rows* r, Post* post) {
  const std::string_view op = s.op.view();
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  if (!all_plain(s)) return "layouts";
  for (size_t i = 1; i < s.out.size(); ++i)
    if (s.out[i].present()) return "a second output";
  if (!s.has(1) || !is_float_type(s.in[1].dtype)) return "the scale";
  if (s.has(2) && s.in[2].dtype != s.in[1].dtype) return "the bias";
  r->type = s.in[0].dtype;
  r->param_type = s.in[1].dtype;
  r->epsilon = s.attr_float("epsilon", 1e-5f);
  const bool group = op == "GroupNormalization" || op == "InstanceNormalization";
  int64_t parameters = 0;
  if (group) {
    if (s.in[0].rank() < 3 || !s.has(2)) return "the rank, or no bias";
    const int64_t channels = s.in[0].dims[1];
    r->groups = op == "GroupNormalization" ? s.attr_int("num_groups", 0) : channels;
    if (r->groups < 1 || channels % r->groups) return "the groups";
    if (op == "GroupNormalization" && s.node && s.version() < 21 && r->groups != channels)
      return "an old form";
    r->rows = s.in[0].dims[0] * r->groups;
    r->n = s.in[0].size() / r->rows;
    r->per_channel = r->n / (channels / r->groups);
    parameters = channels;
  } else {
    auto axis = normalize_axis(s.attr_int("axis", -1), s.in[0].rank());
    if (!axis) return "the axis";
    r->rms = op != "LayerNormalization";
    r->n = 1;
    for (size_t i = static_cast<size_t>(*axis); i < s.in[0].dims.size(); ++i)
      r->n *= s.in[0].dims[i];
    r->rows = s.in[0].size() / r->n;
    parameters = r->n;
  }
  for (size_t i : {1, 2})
    if (s.has(i) && s.in[i].size() != parameters) return "a scale or bias that broadcasts";
  return plan_post(s, post);
}

const char* accept_normalize(const StepInfo& s) {
  Rows r;
  Post post;
  return build_normalize(s, &r, &post);
}
Result<std::unique_ptr<Prepared>> prepare_normalize(const StepInfo& s, PrepareContext&) {
  Rows r;
  auto post = std::make_shared<Post>();
  if (auto* why = build_normalize(s, &r, post.get())) return unsupported(why);
  const bool beta = s.has(2);
  return prepared([=](const RunArgs& a) {
    return launch(normalize, warp_blocks(r.rows), kThreads, a, r, a.in[0], a.in[1],
                  beta ? a.in[2] : nullptr, *post, bind_post(*post, a), a.out[0]);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(
    reduce,
    {.name = "reduce",
     .ops = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
            "ReduceLogSum ReduceLogSumExp GlobalAveragePool GlobalMaxPool",
     .rank = 20,
     .accept = cuda::accept_reduce,
     .prepare = cuda::prepare_reduce,
     .device = true},
    {.name = "softmax",
     .ops = "Softmax LogSoftmax",
     .rank = 20,
     .accept = cuda::accept_softmax,
     .prepare = cuda::prepare_softmax,
     .device = true},
    {.name = "normalize",
     .ops = "LayerNormalization RMSNormalization SimplifiedLayerNormalization GroupNormalization "
            "InstanceNormalization",
     .rank = 20,
     .accept = cuda::accept_normalize,
     .prepare = cuda::prepare_normalize,
     .device = true})
