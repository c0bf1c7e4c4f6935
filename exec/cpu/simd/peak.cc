// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/simd/peak.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/peak.cc"
#include <hwy/foreach_target.h>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {

int64_t fma_burst(int64_t rounds, float* sink) {
  const DF d;
  // Twelve chains: more than latency (4) times units (2) on every core of the last ten years. They
  // start apart, or the compiler makes one of them.
  const VF by = hn::Set(d, 0.999f), add = hn::Set(d, *sink);
  const auto start = [&](float at) { return hn::Add(add, hn::Set(d, at)); };
  VF a = start(1), b = start(2), c = start(3), e = start(4), f = start(5), g = start(6);
  VF h = start(7), i = start(8), j = start(9), k = start(10), l = start(11), m = start(12);
  for (int64_t r = 0; r < rounds; ++r) {
    a = hn::MulAdd(a, by, add), b = hn::MulAdd(b, by, add), c = hn::MulAdd(c, by, add);
    e = hn::MulAdd(e, by, add), f = hn::MulAdd(f, by, add), g = hn::MulAdd(g, by, add);
    h = hn::MulAdd(h, by, add), i = hn::MulAdd(i, by, add), j = hn::MulAdd(j, by, add);
    k = hn::MulAdd(k, by, add), l = hn::MulAdd(l, by, add), m = hn::MulAdd(m, by, add);
  }
  const VF sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Add(hn::Add(f, g), h));
  *sink = hn::GetLane(hn::Add(hn::Add(sum, hn::Add(i, j)), hn::Add(k, hn::Add(l, m))));
  return rounds * 12 * 2 * static_cast<int64_t>(hn::Lanes(d));
}

void scale_f32(const float* x, float* y, float a, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF by = hn::Set(d, a);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), by), d, y + i);
  for (; i < n; ++i) y[i] = x[i] * a;
}

}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {
HWY_EXPORT(fma_burst);
HWY_EXPORT(scale_f32);

int64_t fma_burst(int64_t rounds, float* sink) {
  return HWY_DYNAMIC_DISPATCH(fma_burst)(rounds, sink);
}
void scale_f32(const float* x, float* y, float a, int64_t n) {
  HWY_DYNAMIC_DISPATCH(scale_f32)(x, y, a, n);
}
}  // namespace onnxtool::simd
#endif  // HWY_ONCE
