// SPDX-License-Identifier: Apache-2.0
// Reductions, softmax and arg-reductions over axes that lie together in memory.
#include <cmath>
#include <limits>

#include "exec/cpu/simd/norm.h"
#include "exec/cpu/simd/reduce.h"
#include "exec/cpu/util.h"
#include "exec/plan/reducing.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cpu {
namespace {

// Axes in the order they lie in memory.
std::vector<int64_t> memory_axes(const Operand& o) {
  std::vector<int64_t> axes;
  int64_t rank = o.rank();
  bool last = o.layout == Layout::kChannelsLast && rank >= 3;
  for (int64_t i = 0; i < rank; ++i)
    axes.push_back(!last || i == 0 ? i : i == rank - 1 ? 1 : i + 1);
  return axes;
}

// The marked axes as one run in memory; nullopt where they are apart. Axes of extent 1 go anywhere.
std::optional<Lanes> lanes_of(const Operand& o, const std::vector<char>& reduced) {
  Lanes l;
  int state = 0;  // before, in, behind the run
  for (int64_t axis : memory_axes(o)) {
    int64_t d = o.dims[static_cast<size_t>(axis)];
    if (d == 1) continue;
    if (reduced[static_cast<size_t>(axis)]) {
      if (state == 2) return std::nullopt;
      state = 1;
      l.n *= d;
    } else {
      if (state == 1) state = 2;
      (state == 0 ? l.outer : l.inner) *= d;
    }
  }
  return l;
}

// The axes that stay lie in the output as in the input.
bool order_kept(const Operand& in, const Operand& out, const std::vector<char>& reduced,
                bool keep) {
  std::vector<int64_t> position(in.dims.size(), -1);  // of input axes in the output
  int64_t at = 0;
  for (size_t i = 0; i < in.dims.size(); ++i)
    if (keep || !reduced[i]) position[i] = at++;
  if (at != out.rank()) return false;
  std::vector<int64_t> a, b;
  for (int64_t axis : memory_axes(in))
    if (!reduced[static_cast<size_t>(axis)] && in.dims[static_cast<size_t>(axis)] != 1)
      a.push_back(position[static_cast<size_t>(axis)]);
  for (int64_t axis : memory_axes(out))
    if (out.dims[static_cast<size_t>(axis)] != 1) b.push_back(axis);
  return a == b;
}

struct Row {
  const char* op;
  simd::Reduce reduce;
};
constexpr Row kReduce[] = {{"ReduceSum", simd::Reduce::kSum},
                           {"ReduceMean", simd::Reduce::kMean},
                           {"ReduceMax", simd::Reduce::kMax},
                           {"ReduceMin", simd::Reduce::kMin},
                           {"ReduceProd", simd::Reduce::kProd},
                           {"ReduceL1", simd::Reduce::kL1},
                           {"ReduceL2", simd::Reduce::kL2},
                           {"ReduceSumSquare", simd::Reduce::kSumSquare},
                           {"ReduceLogSum", simd::Reduce::kLogSum},
                           {"ReduceLogSumExp", simd::Reduce::kLogSumExp},
                           {"GlobalAveragePool", simd::Reduce::kMean},
                           {"GlobalMaxPool", simd::Reduce::kMax}};

struct Reduction {
  simd::Reduce op;
  Lanes lanes;
};

std::optional<Reduction> reduction_of(const StepInfo& s) {
  for (const Row& r : kReduce) {
    if (s.op.view() != r.op) continue;
    const auto over = step_reducing(s);
    if (!over) return std::nullopt;
    auto l = lanes_of(s.in[0], over->axes);
    if (!l || !order_kept(s.in[0], s.out[0], over->axes, over->keep)) return std::nullopt;
    return Reduction{r.reduce, *l};
  }
  return std::nullopt;
}

const char* accept_reduce(const StepInfo& s) {
  if (!s.post.empty() || !is_f32(s.in[0]) || !is_f32(s.out[0])) return "not float";
  return reduction_of(s) ? nullptr : "axes that lie apart, or known only while running";
}

Result<std::unique_ptr<Prepared>> prepare_reduce(const StepInfo& s, PrepareContext&) {
  Reduction r = *reduction_of(s);
  Lanes l = r.lanes;
  if (l.count() == 1 && l.n > 2 * simd::kReduceChunk) {
    int64_t chunks = simd::reduce_chunks(l.n);
    auto p = prepared([=](const RunArgs& a) {
      auto* partials = reinterpret_cast<float*>(a.scratch);
      parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
        simd::reduce_partial_f32(r.op, in<float>(a, 0), l.n, partials, begin, end);
      });
      *out<float>(a) = simd::reduce_combine_f32(r.op, partials, l.n);
    });
    p->scratch_bytes = chunks * 2 * static_cast<int64_t>(sizeof(float));
    return p;
  }
  int64_t grain = grain_for(0.1 * static_cast<double>(l.n) + 1, l.inner > 1 ? 64 : 1);
  return prepared([=](const RunArgs& a) {
    parallel_for(l.count(), grain, [&](int64_t begin, int64_t end) {
      simd::reduce_f32(r.op, in<float>(a, 0), out<float>(a), l.n, l.inner, begin, end);
    });
  });
}

std::optional<Lanes> softmax_lanes(const StepInfo& s) {
  auto axis = normalize_axis(s.attr_int("axis", s.version() < 13 ? 1 : -1), s.in[0].rank());
  if (!axis) return std::nullopt;
  std::vector<char> marked(s.in[0].dims.size(), 0);
  marked[static_cast<size_t>(*axis)] = 1;
  if (s.version() < 13) std::fill(marked.begin() + *axis, marked.end(), 1);
  return lanes_of(s.in[0], marked);
}

const char* accept_softmax(const StepInfo& s) {
  if (!s.post.empty() || !is_f32(s.in[0]) || !is_f32(s.out[0])) return "not float";
  if (s.in[0].layout != s.out[0].layout && !all_plain(s)) return "layouts differ";
  return softmax_lanes(s) ? nullptr : "the axis";
}

Result<std::unique_ptr<Prepared>> prepare_softmax(const StepInfo& s, PrepareContext&) {
  Lanes l = *softmax_lanes(s);
  int64_t grain = grain_for(0.5 * static_cast<double>(l.n) + 2, l.inner > 1 ? 64 : 1);
  bool log = s.op.view() == "LogSoftmax";
  return prepared([=](const RunArgs& a) {
    parallel_for(l.count(), grain, [&](int64_t begin, int64_t end) {
      (log ? simd::log_softmax_f32 : simd::softmax_f32)(in<float>(a, 0), out<float>(a), l.n,
                                                        l.inner, begin, end);
    });
  });
}

std::optional<Lanes> arg_lanes(const StepInfo& s) {
  auto axis = normalize_axis(s.attr_int("axis", 0), s.in[0].rank());
  if (!axis || !all_plain(s)) return std::nullopt;
  return lanes(s.in[0].dims, *axis, *axis);
}

const char* accept_arg(const StepInfo& s) {
  if (!s.post.empty() || !is_f32(s.in[0])) return "not float";
  return arg_lanes(s) ? nullptr : "the axis or layout";
}

Result<std::unique_ptr<Prepared>> prepare_arg(const StepInfo& s, PrepareContext&) {
  Lanes l = *arg_lanes(s);
  bool greatest = s.op.view() == "ArgMax", last = s.attr_int("select_last_index", 0) != 0;
  int64_t grain = grain_for(0.3 * static_cast<double>(l.n) + 1);
  return prepared([=](const RunArgs& a) {
    parallel_for(l.count(), grain, [&](int64_t begin, int64_t end) {
      simd::arg_reduce_f32(greatest, last, in<float>(a, 0), out<int64_t>(a), l.n, l.inner, begin,
                           end);
    });
  });
}

uint64_t first_input(const StepInfo&) { return 1; }

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(
    reduce,
    {"reduce",
     "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
     "ReduceLogSum ReduceLogSumExp GlobalAveragePool GlobalMaxPool",
     20, cpu::accept_reduce, cpu::prepare_reduce},
    {"softmax", "Softmax LogSoftmax", 20, cpu::accept_softmax, cpu::prepare_softmax,
     cpu::first_input},
    {"arg_reduce", "ArgMax ArgMin", 20, cpu::accept_arg, cpu::prepare_arg})
