// SPDX-License-Identifier: Apache-2.0
// ArgMax, ArgMin, TopK and CumSum: along one axis of plain tensors. Floats are compared as the
// reference does (ops/order_util.h): by value, zeros are equal, NaN is above all.
#include "exec/cuda/warp.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Lanes {  // element k of lane l: l / inner * n * inner + k * inner + l % inner
  DType type = DType::kFloat;
  int64_t lanes = 0, n = 0, inner = 1;
  __device__ int64_t place(int64_t lane, int64_t k) const {
    return (lane / inner * n + k) * inner + lane % inner;
  }
};

const char* plan_lanes(const StepInfo& s, int64_t axis, Lanes* l) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  const auto a = normalize_axis(axis, s.in[0].rank());
  if (!a) return "the axis";
  l->type = s.in[0].dtype;
  l->n = s.in[0].dims[static_cast<size_t>(*a)];
  for (size_t i = static_cast<size_t>(*a) + 1; i < s.in[0].dims.size(); ++i)
    l->inner *= s.in[0].dims[i];
  l->lanes = s.in[0].size() / l->n;
  return nullptr;
}

bool ordered_type(DType t) {
  return is_float_type(t) || t == DType::kInt32 || t == DType::kInt64 || t == DType::kUint8 ||
         t == DType::kInt8;
}
__device__ int64_t key_at(const void* x, int64_t i, DType t) {
  switch (t) {
    case DType::kInt64: return static_cast<const int64_t*>(x)[i];
    case DType::kInt32: return static_cast<const int32_t*>(x)[i];
    case DType::kUint8: return static_cast<const uint8_t*>(x)[i];
    case DType::kInt8: return static_cast<const int8_t*>(x)[i];
    default: {
      const float v = load_as_float(x, i, t);
      if (v != v) return INT64_MAX;
      const auto bits = static_cast<int32_t>(to_bits(v));
      return bits >= 0 ? bits : -int64_t{bits & INT32_MAX};
    }
  }
}

// What comes first: a key with its index.
struct Best {
  int64_t key, index;  // index -1: nothing yet
};
__device__ bool before(const Best& a, const Best& b, bool greatest, bool last) {
  if (a.index < 0 || b.index < 0) return b.index < 0 && a.index >= 0;
  if (a.key != b.key) return (a.key > b.key) == greatest;
  return last ? a.index > b.index : a.index < b.index;
}
__device__ Best best_of_warp(Best b, bool greatest, bool last) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const Best other = {__shfl_xor_sync(~0u, b.key, lanes), __shfl_xor_sync(~0u, b.index, lanes)};
    if (before(other, b, greatest, last)) b = other;
  }
  return b;
}

// A warp a lane.
__global__ void arg(Lanes l, bool greatest, bool last, const void* x, int64_t* y) {
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / kWarp;
  for (int64_t lane = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp; lane < l.lanes;
       lane += warps) {
    Best best = {0, -1};
    for (int64_t k = threadIdx.x % kWarp; k < l.n; k += kWarp) {
      int64_t key = key_at(x, l.place(lane, k), l.type);
      // NaN counts as least, too.
      if (!greatest && key == INT64_MAX && l.type != DType::kInt64) key = INT64_MIN;
      const Best here = {key, k};
      if (before(here, best, greatest, last)) best = here;
    }
    best = best_of_warp(best, greatest, last);
    if (threadIdx.x % kWarp == 0) y[lane] = best.index;
  }
}

// A block a lane: each round finds what comes next after the one before.
constexpr int kWarps = kThreads / kWarp;
__global__ void top_k(Lanes l, int64_t k, bool greatest, const void* x, void* values,
                      int64_t* indices) {
  __shared__ Best of_warp[kWarps];
  for (int64_t lane = blockIdx.x; lane < l.lanes; lane += gridDim.x) {
    Best found = {0, -1};
    for (int64_t round = 0; round < k; ++round) {
      Best best = {0, -1};
      for (int64_t i = threadIdx.x; i < l.n; i += kThreads) {
        const Best here = {key_at(x, l.place(lane, i), l.type), i};
        const bool later = found.index < 0 || before(found, here, greatest, false);
        if (later && i != found.index && before(here, best, greatest, false)) best = here;
      }
      best = best_of_warp(best, greatest, false);
      if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = best;
      __syncthreads();
      found = of_warp[0];
      for (int w = 1; w < kWarps; ++w)
        if (before(of_warp[w], found, greatest, false)) found = of_warp[w];
      __syncthreads();
      if (threadIdx.x != 0) continue;
      const int64_t to = (lane / l.inner * k + round) * l.inner + lane % l.inner;
      const int64_t from = l.place(lane, found.index);
      indices[to] = found.index;
      if (l.type == DType::kInt64)
        static_cast<int64_t*>(values)[to] = static_cast<const int64_t*>(x)[from];
      else if (l.type == DType::kInt32)
        static_cast<int32_t*>(values)[to] = static_cast<const int32_t*>(x)[from];
      else
        store_float(values, to, l.type, load_as_float(x, from, l.type));
    }
  }
}

const char* build_arg(const StepInfo& s, Lanes* l) {
  if (!ordered_type(s.in[0].dtype)) return "the element type";
  return plan_lanes(s, s.attr_int("axis", 0), l);
}
const char* accept_arg(const StepInfo& s) {
  Lanes l;
  return build_arg(s, &l);
}
Result<std::unique_ptr<Prepared>> prepare_arg(const StepInfo& s, PrepareContext&) {
  Lanes l;
  if (auto* why = build_arg(s, &l)) return unsupported(why);
  const bool greatest = s.op.view() == "ArgMax", last = s.attr_int("select_last_index", 0) != 0;
  return prepared([=](const RunArgs& a) {
    return launch(arg, blocks_for(l.lanes * kWarp), kThreads, a, l, greatest, last, a.in[0],
                  out<int64_t>(a));
  });
}

constexpr double kMostWork = 1e9;  // comparisons of a lane's rounds; more of them are sorted

const char* build_top_k(const StepInfo& s, Lanes* l, int64_t* k) {
  if (!ordered_type(s.in[0].dtype) || s.out.size() != 2) return "the element type";
  if (auto* why = plan_lanes(s, s.attr_int("axis", -1), l)) return why;
  const auto wanted = s.has(1) ? s.scalar(1) : std::optional<double>(s.attr_int("k", -1));
  if (!wanted || *wanted < 0 || *wanted > static_cast<double>(l->n)) return "k";
  *k = static_cast<int64_t>(*wanted);
  if (!s.out[0].present() || !s.out[1].present()) return "an output is left out";
  return static_cast<double>(*k) * static_cast<double>(l->n) > kMostWork ? "too many to select"
                                                                         : nullptr;
}
const char* accept_top_k(const StepInfo& s) {
  Lanes l;
  int64_t k = 0;
  return build_top_k(s, &l, &k);
}
Result<std::unique_ptr<Prepared>> prepare_top_k(const StepInfo& s, PrepareContext&) {
  Lanes l;
  int64_t k = 0;
  if (auto* why = build_top_k(s, &l, &k)) return unsupported(why);
  const bool greatest = s.attr_int("largest", 1) != 0;
  auto r = prepared([=](const RunArgs& a) {
    return launch(top_k, std::min<int64_t>(l.lanes, 1 << 16), kThreads, a, l, k, greatest, a.in[0],
                  a.out[0], out<int64_t>(a, 1));
  });
  r->unread_inputs = 2;
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

// ---- CumSum

// A thread a lane, in order: sums of floats are those of the CPU.
template <typename T, typename Sum>
__global__ void cumulate(Lanes l, bool exclusive, bool reverse, const T* x, T* y) {
  GRID_LOOP(lane, l.lanes) {
    Sum sum = 0;
    for (int64_t i = 0; i < l.n; ++i) {
      const int64_t at = l.place(lane, reverse ? l.n - 1 - i : i);
      const T v = x[at];
      if (exclusive) y[at] = static_cast<T>(sum);
      sum += static_cast<Sum>(v);
      if (!exclusive) y[at] = static_cast<T>(sum);
    }
  }
}

const char* build_cumsum(const StepInfo& s, Lanes* l) {
  const DType t = s.in[0].dtype;
  if (t != DType::kFloat && t != DType::kInt32 && t != DType::kInt64) return "the element type";
  const auto axis = s.scalar(1);
  if (!axis) return "an axis known only while running";
  return plan_lanes(s, static_cast<int64_t>(*axis), l);
}
const char* accept_cumsum(const StepInfo& s) {
  Lanes l;
  return build_cumsum(s, &l);
}
Result<std::unique_ptr<Prepared>> prepare_cumsum(const StepInfo& s, PrepareContext&) {
  Lanes l;
  if (auto* why = build_cumsum(s, &l)) return unsupported(why);
  const bool exclusive = s.attr_int("exclusive", 0) != 0, reverse = s.attr_int("reverse", 0) != 0;
  auto r = prepared([=](const RunArgs& a) {
    const auto run = [&](auto t, auto sum) {
      using T = decltype(t);
      return launch(cumulate<T, decltype(sum)>, blocks_for(l.lanes), kThreads, a, l, exclusive,
                    reverse, in<T>(a, 0), out<T>(a));
    };
    if (l.type == DType::kFloat) return run(float{}, double{});
    if (l.type == DType::kInt32) return run(int32_t{}, uint32_t{});
    return run(int64_t{}, uint64_t{});
  });
  r->unread_inputs = 2;
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(order,
                      {.name = "arg_reduce",
                       .ops = "ArgMax ArgMin",
                       .rank = 20,
                       .accept = cuda::accept_arg,
                       .prepare = cuda::prepare_arg,
                       .device = true},
                      {.name = "top_k",
                       .ops = "TopK",
                       .rank = 30,
                       .accept = cuda::accept_top_k,
                       .prepare = cuda::prepare_top_k,
                       .device = true},
                      {.name = "cumsum",
                       .ops = "CumSum",
                       .rank = 30,
                       .accept = cuda::accept_cumsum,
                       .prepare = cuda::prepare_cumsum,
                       .device = true})
