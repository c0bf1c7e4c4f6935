// SPDX-License-Identifier: Apache-2.0
// What the kernels share: checks of operands, prepared steps from lambdas, grains of parallel
// loops.
#pragma once
#include <algorithm>
#include <memory>
#include <utility>

#include "exec/plan/kernel.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool::cpu {

// A prepared step whose run() is f(args).
template <typename F>
class Runner final : public Prepared {
 public:
  explicit Runner(F f) : f_(std::move(f)) {}
  Status run(const RunArgs& args) const override {
    if constexpr (std::is_void_v<std::invoke_result_t<const F&, const RunArgs&>>) {
      f_(args);
      return ok();
    } else {
      return f_(args);
    }
  }

 private:
  F f_;
};
template <typename F>
std::unique_ptr<Prepared> prepared(F f) {
  return std::make_unique<Runner<F>>(std::move(f));
}

template <typename T>
const T* in(const RunArgs& args, size_t i) {
  return static_cast<const T*>(args.in[i]);
}
template <typename T>
T* out(const RunArgs& args, size_t i = 0) {
  return static_cast<T*>(args.out[i]);
}

// Elements (or other units) that a chunk should have at least, `ns` being the time of one: chunks
// of 5 us and more, so that small work stays on one thread.
inline int64_t grain_for(double ns, int64_t multiple = 1) {
  auto g = static_cast<int64_t>(5000.0 / std::max(ns, 0.001));
  return std::max<int64_t>(1, (g + multiple - 1) / multiple) * multiple;
}

inline bool is_f32(const Operand& o) { return o.dtype == DType::kFloat; }
inline bool channels_last(const Operand& o) {
  return o.rank() >= 3 && (o.layout == Layout::kChannelsLast || layout_free(o.dims));
}
// Dims of the operand with ones in front up to a rank.
inline Dims extended(const Operand& o, size_t rank) {
  Dims d(rank - std::min(rank, o.dims.size()), 1);
  d.insert(d.end(), o.dims.begin(), o.dims.end());
  return d;
}
// The operand, which broadcasts to `out`, lies in memory in the order of the dims of `out`.
// Channels are dim 1 of each operand's own dims: of fewer dims it is another one.
inline bool same_order(const Operand& o, const Operand& out) {
  if (out.layout == Layout::kPlain || out.rank() < 3) return plain(o);
  return plain(o) ? layout_free(extended(o, out.dims.size())) : o.rank() == out.rank();
}
// Elements are whole bytes: everything but strings and sub-byte types.
inline bool movable(DType t) {
  return t != DType::kUndefined && t != DType::kString && dtype_bits(t) % 8 == 0 &&
         dtype_bits(t) > 0;
}
inline bool sole_output(const StepInfo& s) {
  for (size_t i = 1; i < s.out.size(); ++i)
    if (s.out[i].present()) return false;
  return !s.out.empty() && s.out[0].present();
}

// A reduction axis of a dense shape as [outer, n, inner].
struct Lanes {
  int64_t outer = 1, n = 1, inner = 1;
  int64_t count() const { return outer * inner; }
};
inline Lanes lanes(const Dims& dims, int64_t first, int64_t last) {  // axes [first, last]
  Lanes l;
  for (int64_t i = 0; i < static_cast<int64_t>(dims.size()); ++i) {
    int64_t d = dims[static_cast<size_t>(i)];
    if (i < first)
      l.outer *= d;
    else if (i <= last)
      l.n *= d;
    else
      l.inner *= d;
  }
  return l;
}

}  // namespace onnxtool::cpu
