// SPDX-License-Identifier: Apache-2.0
// Three-operand float kernels (ternary.h).
#include "exec/cpu/simd/ternary.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/ternary.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

struct Select {
  static HWY_INLINE VF apply(VF a, VF b, VF c) {
    return hn::IfThenElse(hn::Eq(a, hn::Zero(DF())), c, b);
  }
};
struct MulAdd {
  static HWY_INLINE VF apply(VF a, VF b, VF c) { return hn::MulAdd(a, b, c); }
};

template <class Op, bool kScalarA, bool kScalarB, bool kScalarC>
void run(const float* a, const float* b, const float* c, float* y, int64_t n) {
  if (n <= 0) return;
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF sa = hn::Set(d, *a), sb = hn::Set(d, *b), sc = hn::Set(d, *c);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VF va = kScalarA ? sa : hn::LoadU(d, a + i);
    const VF vb = kScalarB ? sb : hn::LoadU(d, b + i);
    const VF vc = kScalarC ? sc : hn::LoadU(d, c + i);
    hn::StoreU(Op::apply(va, vb, vc), d, y + i);
  }
  if (i == n) return;
  const size_t rest = static_cast<size_t>(n - i);
  const VF va = kScalarA ? sa : load_n(d, a + i, rest);
  const VF vb = kScalarB ? sb : load_n(d, b + i, rest);
  const VF vc = kScalarC ? sc : load_n(d, c + i, rest);
  store_n(Op::apply(va, vb, vc), d, y + i, rest);
}

template <class Op>
void pick(int scalars, const float* a, const float* b, const float* c, float* y, int64_t n) {
  switch (scalars) {
    case 0: return run<Op, false, false, false>(a, b, c, y, n);
    case 1: return run<Op, true, false, false>(a, b, c, y, n);
    case 2: return run<Op, false, true, false>(a, b, c, y, n);
    case 3: return run<Op, true, true, false>(a, b, c, y, n);
    case 4: return run<Op, false, false, true>(a, b, c, y, n);
    case 5: return run<Op, true, false, true>(a, b, c, y, n);
    case 6: return run<Op, false, true, true>(a, b, c, y, n);
    default: return run<Op, true, true, true>(a, b, c, y, n);
  }
}

void ternary(Ternary op, int scalars, const float* a, const float* b, const float* c, float* y,
             int64_t n) {
  if (op == Ternary::kSelect) return pick<Select>(scalars, a, b, c, y, n);
  pick<MulAdd>(scalars, a, b, c, y, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(ternary);

void ternary_f32(Ternary op, const float* a, bool scalar_a, const float* b, bool scalar_b,
                 const float* c, bool scalar_c, float* y, int64_t n) {
  const int scalars = (scalar_a ? 1 : 0) | (scalar_b ? 2 : 0) | (scalar_c ? 4 : 0);
  HWY_DYNAMIC_DISPATCH(ternary)(op, scalars, a, b, c, y, n);
}

}  // namespace onnxtool::simd
#endif
