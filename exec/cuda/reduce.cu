// SPDX-License-Identifier: Apache-2.0
// Reductions and softmax: a warp makes one result, or one row. Sums are fp32.
#include "exec/cuda/warp.h"
#include "exec/plan/reducing.h"
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
  const auto over = step_reducing(s);
  if (!over) return "the axes";
  const std::vector<int64_t> from = memory_strides(s.in[0].dims, s.in[0].layout);
  const std::vector<int64_t> to = memory_strides(s.out[0].dims, s.out[0].layout);
  Dims kept, gone;
  std::vector<int64_t> kept_from, kept_to, gone_from;
  size_t at = 0;
  for (size_t i = 0; i < over->axes.size(); ++i) {
    const int64_t d = s.in[0].dims[i];
    if (over->axes[i]) {
      gone.push_back(d);
      gone_from.push_back(from[i]);
      if (over->keep) ++at;
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
  DType type = DType::kFloat;
  int64_t rows = 0, n = 0,
          inner = 1;  // element k of row r: r / inner * n * inner + k * inner + r % inner
  bool log = false;
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

const char* build_softmax(const StepInfo& s, Rows* r) {
  if (!s.post.empty()) return "post operations";
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  const bool flat = s.version() < 13;  // the axes from this one on are one
  const bool plain = all_plain(s);
  if (!plain && (flat || s.in[0].layout != s.out[0].layout)) return "layouts";
  auto axis = normalize_axis(s.attr_int("axis", flat ? 1 : -1), s.in[0].rank());
  if (!axis) return "the axis";
  const auto at = static_cast<size_t>(*axis);
  r->type = s.in[0].dtype;
  r->log = s.op.view() == "LogSoftmax";
  r->n = s.in[0].dims[at];
  if (flat)
    for (size_t i = at + 1; i < s.in[0].dims.size(); ++i) r->n *= s.in[0].dims[i];
  else
    r->inner = memory_strides(s.in[0].dims, plain ? Layout::kPlain : s.in[0].layout)[at];
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
     .device = true})
