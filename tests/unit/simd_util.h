// SPDX-License-Identifier: Apache-2.0
// Helpers of the simd_*_test.cc files: error in ulp, edge values, random data, every target in
// turn.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "exec/cpu/simd/simd.h"

namespace simd_test {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs f once per instruction set that this machine has; slack is the ulp allowance for targets
// without fused multiply-add. The best target is in use afterwards.
template <class F>
void each_target(F&& f) {
  using namespace onnxtool::simd;
  for (int t = 0; use_target_for_test(t); ++t) f(vector_floats() == 4 ? 1.0 : 0.0);
  use_target_for_test(0);
}

inline double ulp_of(double r) {
  r = std::fabs(r);
  if (r < 0x1p-126) return 0x1p-149;
  int e;
  std::frexp(r, &e);
  return std::ldexp(1.0, e - 24);
}

// |got - want| in ulp of `want`; 0 where both are the same special value, inf where only one is.
// A result that overflows within two ulp of the greatest float counts as equal to infinity.
inline double ulp_error(float got, double want) {
  const float w = static_cast<float>(want);
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) == std::isnan(got) ? 0 : kInf;
  if (std::isinf(w) || std::isinf(got)) {
    if (w == got) return 0;
    const double finite = std::isinf(w) ? got : want;
    return std::fabs(finite) > 3.40282e38 ? 1 : kInf;
  }
  return std::fabs(got - want) / ulp_of(want);
}

inline std::vector<float> edges() {
  return {0.0f,  -0.0f, kInf,   -kInf,   kNan,    1.0f,    -1.0f,       0.5f,       -0.5f,  2.0f,
          -2.0f, 1.5f,  2.5f,   -2.5f,   3e38f,   -3e38f,  1e-45f,      -1e-45f,    1e-38f, -1e-38f,
          88.7f, 88.8f, -87.4f, -103.9f, -104.1f, 1.7e-7f, 16777216.0f, 8388609.0f, 1e9f,   -1e9f};
}

struct Random {
  uint64_t state = 0x9e3779b97f4a7c15u;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint32_t bits() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 32);
  }
  float uniform(float lo, float hi) {
    return lo + (hi - lo) * (static_cast<float>(bits() >> 8) * 0x1p-24f);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint32_t>(n)); }
  std::vector<float> floats(int64_t n, float lo = -1, float hi = 1) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& f : v) f = uniform(lo, hi);
    return v;
  }
};

// Bit-for-bit equality (NaN equals NaN).
inline bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> v = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 1000};
  return v;
}

}  // namespace simd_test
