// SPDX-License-Identifier: Apache-2.0
// Gather, GatherElements and GatherND, with indices checked: one out of range reads element 0 and
// is reported when the host waits.
#include "exec/cuda/gpu.h"
#include "exec/cuda/nd.h"
#include "exec/cuda/types.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Gather {
  int64_t outer = 1, axis = 1, inner = 1, count = 1;  // inner in elements
  bool wide = true;                                   // int64 indices
};

// The index at place i along an axis.
__device__ int64_t index_at(const void* index, bool wide, int64_t i, int64_t axis, uint32_t* bad) {
  int64_t at = wide ? static_cast<const int64_t*>(index)[i] : static_cast<const int32_t*>(index)[i];
  if (at < 0) at += axis;
  if (at >= 0 && at < axis) return at;
  *bad = 1;
  return 0;
}

template <typename T>
__global__ void gather(Gather g, const T* x, const void* index, T* y, uint32_t* bad) {
  GRID_LOOP(i, g.outer * g.count * g.inner) {
    const int64_t k = i % g.inner, c = i / g.inner % g.count, o = i / g.inner / g.count;
    y[i] = x[(o * g.axis + index_at(index, g.wide, c, g.axis, bad)) * g.inner + k];
  }
}

const char* check_types(const StepInfo& s) {
  if (s.main_inputs != 2 || !s.post.empty() || !all_plain(s)) return "layouts";
  if (s.in[0].dtype != s.out[0].dtype || !with_bytes(element_size(s.in[0].dtype), [](auto) {}))
    return "the element type";
  const DType t = s.in[1].dtype;
  return t == DType::kInt32 || t == DType::kInt64 ? nullptr : "the index type";
}

const char* accept(const StepInfo& s) {
  if (auto* why = check_types(s)) return why;
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

// ---- an index for each element

struct Elements {
  Nd nd;  // of the output; operand 0: the data, where the index is 0
  int64_t axis = 1, stride = 1;
  bool wide = true;
};

template <typename T>
__global__ void gather_elements(Elements g, const T* x, const void* index, T* y, uint32_t* bad) {
  GRID_LOOP(i, g.nd.size)
  y[i] = x[g.nd.place(i, 0) + index_at(index, g.wide, i, g.axis, bad) * g.stride];
}

const char* build_elements(const StepInfo& s, Elements* g) {
  if (auto* why = check_types(s)) return why;
  const auto axis = normalize_axis(s.attr_int("axis", 0), s.in[0].rank());
  if (!axis || s.in[1].rank() != s.in[0].rank()) return "the axis";
  std::vector<int64_t> strides[] = {memory_strides(s.in[0].dims, Layout::kPlain)};
  const auto a = static_cast<size_t>(*axis);
  g->axis = s.in[0].dims[a];
  g->stride = strides[0][a];
  g->wide = s.in[1].dtype == DType::kInt64;
  strides[0][a] = 0;
  return plan_nd(s.in[1].dims, strides, &g->nd) ? nullptr : "the rank";
}

const char* accept_elements(const StepInfo& s) {
  Elements g;
  return build_elements(s, &g);
}
Result<std::unique_ptr<Prepared>> prepare_elements(const StepInfo& s, PrepareContext&) {
  Elements g;
  if (auto* why = build_elements(s, &g)) return unsupported(why);
  const int size = element_size(s.in[0].dtype);
  return prepared([g, size](const RunArgs& a) {
    Status status;
    with_bytes(size, [&](auto t) {
      using T = decltype(t);
      status = launch(gather_elements<T>, blocks_for(g.nd.size), kThreads, a, g, in<T>(a, 0),
                      a.in[1], out<T>(a), bad_index(a));
    });
    return status;
  });
}

// ---- tuples of indices

struct Tuples {
  int64_t size = 0, inner = 1, per_batch = 1, batch_stride = 0;  // inner in elements
  int depth = 0;
  int64_t extents[kNdRank] = {}, strides[kNdRank] = {};
  bool wide = true;
};

template <typename T>
__global__ void gather_nd(Tuples g, const T* x, const void* index, T* y, uint32_t* bad) {
  GRID_LOOP(i, g.size) {
    const int64_t tuple = i / g.inner;
    int64_t at = tuple / g.per_batch * g.batch_stride + i % g.inner;
    for (int d = 0; d < g.depth; ++d)
      at += index_at(index, g.wide, tuple * g.depth + d, g.extents[d], bad) * g.strides[d];
    y[i] = x[at];
  }
}

const char* build_nd(const StepInfo& s, Tuples* g) {
  if (auto* why = check_types(s)) return why;
  const Dims &x = s.in[0].dims, &index = s.in[1].dims;
  const int64_t batch = s.attr_int("batch_dims", 0);
  if (index.empty() || batch < 0 || batch >= s.in[1].rank() || index.back() < 1 ||
      index.back() > kNdRank || batch + index.back() > s.in[0].rank())
    return "the indices";
  const std::vector<int64_t> strides = memory_strides(x, Layout::kPlain);
  const auto first = static_cast<size_t>(batch);
  g->depth = static_cast<int>(index.back());
  for (size_t d = 0; d < static_cast<size_t>(g->depth); ++d) {
    g->extents[d] = x[first + d];
    g->strides[d] = strides[first + d];
  }
  for (size_t d = first + static_cast<size_t>(g->depth); d < x.size(); ++d) g->inner *= x[d];
  for (size_t d = first; d + 1 < index.size(); ++d) g->per_batch *= index[d];
  if (batch > 0) g->batch_stride = strides[first - 1];
  g->size = s.out[0].size();
  g->wide = s.in[1].dtype == DType::kInt64;
  return nullptr;
}

const char* accept_nd(const StepInfo& s) {
  Tuples g;
  return build_nd(s, &g);
}
Result<std::unique_ptr<Prepared>> prepare_nd(const StepInfo& s, PrepareContext&) {
  Tuples g;
  if (auto* why = build_nd(s, &g)) return unsupported(why);
  const int size = element_size(s.in[0].dtype);
  return prepared([g, size](const RunArgs& a) {
    Status status;
    with_bytes(size, [&](auto t) {
      using T = decltype(t);
      status = launch(gather_nd<T>, blocks_for(g.size), kThreads, a, g, in<T>(a, 0), a.in[1],
                      out<T>(a), bad_index(a));
    });
    return status;
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(gather,
                      {.name = "gather",
                       .ops = "Gather",
                       .rank = 20,
                       .accept = cuda::accept,
                       .prepare = cuda::prepare,
                       .device = true},
                      {.name = "gather_elements",
                       .ops = "GatherElements",
                       .rank = 20,
                       .accept = cuda::accept_elements,
                       .prepare = cuda::prepare_elements,
                       .device = true},
                      {.name = "gather_nd",
                       .ops = "GatherND",
                       .rank = 20,
                       .accept = cuda::accept_nd,
                       .prepare = cuda::prepare_nd,
                       .device = true})
