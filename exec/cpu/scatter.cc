// SPDX-License-Identifier: Apache-2.0
// ScatterElements and ScatterND: the data copied (or changed in place), then updates in order. What
// different threads write never overlaps: they take different columns behind the indexed axes.
#include <atomic>
#include <cmath>
#include <cstring>

#include "exec/cpu/util.h"
#include "exec/plan/scattering.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

using Reduction = Scattering::Reduction;

template <Reduction kR, typename T>
void combine(T* to, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T a = to[i], b = from[i];
    if constexpr (kR == Reduction::kNone) {
      to[i] = b;
    } else if constexpr (kR == Reduction::kAdd || kR == Reduction::kMul) {
      if constexpr (std::is_floating_point_v<T>) {
        to[i] = kR == Reduction::kAdd ? a + b : a * b;
      } else {
        const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
        to[i] = static_cast<T>(kR == Reduction::kAdd ? x + y : x * y);
      }
    } else {
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a) || std::isnan(b)) {
          to[i] = a + b;
          continue;
        }
      }
      to[i] = (kR == Reduction::kMax) == (a < b) ? b : a;
    }
  }
}

template <typename I>
bool row_of(const Scattering& f, const I* index, int64_t* row) {
  if (f.each) {
    int64_t r = static_cast<int64_t>(*index);
    if (r < 0) r += f.extent;
    *row = r;
    return r >= 0 && r < f.extent;
  }
  int64_t at = 0;
  for (size_t d = 0; d < f.extents.size(); ++d) {
    int64_t r = static_cast<int64_t>(index[d]);
    if (r < 0) r += f.extents[d];
    if (r < 0 || r >= f.extents[d]) return false;
    at += r * f.strides[d];
  }
  *row = at;
  return true;
}

// Columns [begin, end) of one outer index. Returns how many indices were out of range.
template <Reduction kR, typename T, typename I>
int64_t run(const Scattering& f, const I* index, const T* updates, T* out, int64_t begin,
            int64_t end) {
  int64_t bad = 0, row = 0;
  for (int64_t k = 0; k < f.count; ++k) {
    const T* from = updates + k * f.inner;
    if (!f.each) {
      if (row_of(f, index + k * static_cast<int64_t>(f.extents.size()), &row))
        combine<kR>(out + row * f.inner + begin, from + begin, end - begin);
      else
        ++bad;
      continue;
    }
    const I* at = index + k * f.inner;
    for (int64_t i = begin; i < end; ++i) {
      if (row_of(f, at + i, &row))
        combine<kR>(out + row * f.inner + i, from + i, 1);
      else
        ++bad;
    }
  }
  return bad;
}

template <Reduction kR, typename T, typename I>
Status scatter(const Scattering& f, const RunArgs& a) {
  const auto* index = static_cast<const I*>(a.in[1]);
  const auto* updates = static_cast<const T*>(a.in[2]);
  auto* out = static_cast<T*>(a.out[0]);
  std::atomic<int64_t> bad{0};
  const auto part = [&](int64_t o, int64_t begin, int64_t end) {
    const int64_t at = o * f.count * f.inner;
    const int64_t n = run<kR, T, I>(f, index + (f.each ? at : 0), updates + at,
                                    out + o * f.extent * f.inner, begin, end);
    if (n) bad += n;
  };
  const double ns = static_cast<double>(f.count) * (f.each ? 2.0 : 0.3);
  if (f.outer > 1) {
    parallel_for(f.outer, grain_for(ns * static_cast<double>(f.inner)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t o = begin; o < end; ++o) part(o, 0, f.inner);
                 });
  } else {
    // Threads share no cache line of the output.
    parallel_for((f.inner + 63) / 64, grain_for(ns * 64), [&](int64_t begin, int64_t end) {
      part(0, begin * 64, std::min(f.inner, end * 64));
    });
  }
  if (bad) return invalid(format("{} indices are out of range", bad.load()));
  return ok();
}

using ScatterFn = Status (*)(const Scattering&, const RunArgs&);

template <Reduction kR, typename T>
ScatterFn by_index(bool wide) {
  return wide ? scatter<kR, T, int64_t> : scatter<kR, T, int32_t>;
}
template <typename T>
ScatterFn by_reduction(Reduction r, bool wide) {
  switch (r) {
    case Reduction::kAdd: return by_index<Reduction::kAdd, T>(wide);
    case Reduction::kMul: return by_index<Reduction::kMul, T>(wide);
    case Reduction::kMax: return by_index<Reduction::kMax, T>(wide);
    case Reduction::kMin: return by_index<Reduction::kMin, T>(wide);
    default: return nullptr;
  }
}
ScatterFn function_of(Reduction r, DType t, bool wide) {
  if (r == Reduction::kNone) {
    if (!movable(t)) return nullptr;
    switch (element_size(t)) {
      case 1: return by_index<Reduction::kNone, uint8_t>(wide);
      case 2: return by_index<Reduction::kNone, uint16_t>(wide);
      case 4: return by_index<Reduction::kNone, uint32_t>(wide);
      case 8: return by_index<Reduction::kNone, uint64_t>(wide);
      default: return nullptr;
    }
  }
  switch (t) {
    case DType::kFloat: return by_reduction<float>(r, wide);
    case DType::kDouble: return by_reduction<double>(r, wide);
    case DType::kInt32: return by_reduction<int32_t>(r, wide);
    case DType::kInt64: return by_reduction<int64_t>(r, wide);
    default: return nullptr;
  }
}

ScatterFn function_of(const Scattering& f, DType t) { return function_of(f.reduction, t, f.wide); }

const char* accept(const StepInfo& s) {
  Scattering f;
  if (const char* why = plan_scattering(s, &f)) return why;
  return function_of(f, s.in[0].dtype) ? nullptr : "the reduction or the element type";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Scattering f;
  if (const char* why = plan_scattering(s, &f)) return unsupported(why);
  const ScatterFn fn = function_of(f, s.in[0].dtype);
  const int64_t bytes = s.in[0].bytes();
  return prepared([=](const RunArgs& a) -> Status {
    if (a.in[0] != a.out[0])
      parallel_for(bytes, grain_for(0.05, 4096), [&](int64_t begin, int64_t end) {
        std::memcpy(out<char>(a) + begin, in<char>(a, 0) + begin, static_cast<size_t>(end - begin));
      });
    return fn(f, a);
  });
}

uint64_t in_place(const StepInfo&) { return 1; }

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(scatter, {"scatter", "ScatterElements Scatter ScatterND", 30, cpu::accept,
                               cpu::prepare, cpu::in_place})
