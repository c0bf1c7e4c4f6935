// SPDX-License-Identifier: Apache-2.0
// Scatter: a thread takes all updates of one column, in order, so that what is written twice comes
// out as on the CPU. An index out of range is reported when the host waits.
#include "exec/cuda/apply.h"
#include "exec/plan/scattering.h"

namespace onnxtool {
namespace cuda {
namespace {

using Reduction = Scattering::Reduction;
constexpr int kDepth = kNdRank;

struct Form {
  Reduction reduction = Reduction::kNone;
  int64_t outer = 1, count = 0, extent = 0, inner = 1;
  bool wide = true, each = false;
  int depth = 0;
  int64_t extents[kDepth] = {}, strides[kDepth] = {};
};

template <typename T>
__device__ T combined(Reduction r, T a, T b) {
  switch (r) {
    case Reduction::kAdd: return a + b;
    case Reduction::kMul: return a * b;
    case Reduction::kMax: return a != a ? a : b != b ? b : a < b ? b : a;
    case Reduction::kMin: return a != a ? a : b != b ? b : b < a ? b : a;
    default: return b;
  }
}

// -1: out of range.
__device__ int64_t row_of(const Form& f, const void* index, int64_t at) {
  const auto read = [&](int64_t i) -> int64_t {
    return f.wide ? static_cast<const int64_t*>(index)[i] : static_cast<const int32_t*>(index)[i];
  };
  int64_t row = 0;
  for (int d = 0; d < f.depth; ++d) {
    int64_t r = read(at + d);
    if (r < 0) r += f.extents[d];
    if (r < 0 || r >= f.extents[d]) return -1;
    row += r * f.strides[d];
  }
  return row;
}

template <typename T>
__global__ void scatter(Form f, const void* index, const T* updates, T* out, uint32_t* bad) {
  GRID_LOOP(i, f.outer * f.inner) {
    const int64_t o = i / f.inner, column = i % f.inner;
    for (int64_t k = 0; k < f.count; ++k) {
      const int64_t from = (o * f.count + k) * f.inner + column;
      const int64_t row = row_of(f, index, f.each ? from : k * f.depth);
      if (row < 0) {
        *bad = 1;
        continue;
      }
      T& to = out[(o * f.extent + row) * f.inner + column];
      if constexpr (std::is_same_v<T, uint128_t>)
        to = updates[from];
      else
        to = combined(f.reduction, to, updates[from]);
    }
  }
}

template <typename F>
bool with_type(Reduction r, DType t, F&& f) {
  if (r == Reduction::kNone) return with_bytes(element_size(t), f);
  switch (t) {
    case DType::kFloat: f(float{}); return true;
    case DType::kInt32: f(uint32_t{}); return r == Reduction::kAdd || r == Reduction::kMul;
    case DType::kInt64: f(uint64_t{}); return r == Reduction::kAdd || r == Reduction::kMul;
    default: return false;
  }
}

const char* build(const StepInfo& s, Form* f) {
  Scattering plan;
  if (auto* why = plan_scattering(s, &plan)) return why;
  if (!with_type(plan.reduction, s.in[0].dtype, [](auto) {}))
    return "the reduction or the element type";
  f->reduction = plan.reduction;
  f->outer = plan.outer;
  f->count = plan.count;
  f->extent = plan.extent;
  f->inner = plan.inner;
  f->wide = plan.wide;
  f->each = plan.each;
  if (plan.each) {
    plan.extents = {plan.extent};
    plan.strides = {1};
  }
  if (plan.extents.size() > kDepth) return "the rank";
  f->depth = static_cast<int>(plan.extents.size());
  std::copy(plan.extents.begin(), plan.extents.end(), f->extents);
  std::copy(plan.strides.begin(), plan.strides.end(), f->strides);
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Form f;
  return build(s, &f);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Form f;
  if (auto* why = build(s, &f)) return unsupported(why);
  const DType type = s.in[0].dtype;
  const auto bytes = static_cast<size_t>(s.in[0].bytes());
  return prepared([=](const RunArgs& a) -> Status {
    if (a.in[0] != a.out[0])
      TRY(check(cudaMemcpyAsync(a.out[0], a.in[0], bytes, cudaMemcpyDeviceToDevice, stream_of(a)),
                "a copy"));
    Status status;
    with_type(f.reduction, type, [&](auto t) {
      using T = decltype(t);
      status = launch(scatter<T>, blocks_for(f.outer * f.inner), kThreads, a, f, a.in[1],
                      in<T>(a, 2), out<T>(a), bad_index(a));
    });
    return status;
  });
}
uint64_t in_place(const StepInfo&) { return 1; }

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(scatter, {.name = "scatter",
                                .ops = "ScatterElements Scatter ScatterND",
                                .rank = 30,
                                .accept = cuda::accept,
                                .prepare = cuda::prepare,
                                .in_place = cuda::in_place,
                                .device = true})
