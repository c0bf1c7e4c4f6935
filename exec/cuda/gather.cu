// SPDX-License-Identifier: Apache-2.0
// Gather, with indices checked: one out of range reads element 0 and is reported when the host
// waits.
#include "exec/cuda/gpu.h"
#include "exec/cuda/types.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Gather {
  int64_t outer = 1, axis = 1, inner = 1, count = 1;  // inner in elements
  bool wide = true;                                   // int64 indices
};

template <typename T>
__global__ void gather(Gather g, const T* x, const void* index, T* y, uint32_t* bad) {
  GRID_LOOP(i, g.outer * g.count * g.inner) {
    const int64_t k = i % g.inner, c = i / g.inner % g.count, o = i / g.inner / g.count;
    int64_t at =
        g.wide ? static_cast<const int64_t*>(index)[c] : static_cast<const int32_t*>(index)[c];
    if (at < 0) at += g.axis;
    if (at < 0 || at >= g.axis) {
      *bad = 1;
      at = 0;
    }
    y[i] = x[(o * g.axis + at) * g.inner + k];
  }
}

const char* accept(const StepInfo& s) {
  if (s.main_inputs != 2 || !s.post.empty() || !all_plain(s)) return "layouts";
  if (s.in[0].dtype != s.out[0].dtype || !with_bytes(element_size(s.in[0].dtype), [](auto) {}))
    return "the element type";
  if (s.in[1].dtype != DType::kInt32 && s.in[1].dtype != DType::kInt64) return "the index type";
  return normalize_axis(s.attr_int("axis", 0), s.in[0].rank()) ? nullptr : "the axis";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  const auto axis = static_cast<size_t>(*normalize_axis(s.attr_int("axis", 0), s.in[0].rank()));
  Gather g;
  for (size_t i = 0; i < s.in[0].dims.size(); ++i)
    (i < axis ? g.outer : i == axis ? g.axis : g.inner) *= s.in[0].dims[i];
  g.count = s.in[1].size();
  g.wide = s.in[1].dtype == DType::kInt64;
  const int size = element_size(s.in[0].dtype);
  return prepared([g, size](const RunArgs& a) {
    Status status;
    with_bytes(size, [&](auto t) {
      using T = decltype(t);
      status = launch(gather<T>, blocks_for(g.outer * g.count * g.inner), kThreads, a, g,
                      in<T>(a, 0), a.in[1], out<T>(a), bad_index(a));
    });
    return status;
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(gather, {.name = "gather",
                               .ops = "Gather",
                               .rank = 20,
                               .accept = cuda::accept,
                               .prepare = cuda::prepare,
                               .device = true})
