// SPDX-License-Identifier: Apache-2.0
// Random numbers of the reference evaluations: splitmix64 (Steele, Lea, Flood 2014), the same on
// every machine; a node without a seed attribute draws from the host's seed.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  // In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  // Mean 0, deviation 1 (Box and Muller 1958).
  double normal() {
    const double r = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return r * std::cos(6.283185307179586 * uniform());
  }

 private:
  uint64_t state_;
};

inline uint64_t seed_of(const EvalContext& ctx) {
  const Attribute* a = ctx.node().attr("seed");
  if (a && a->type == AttrType::kFloat) return std::bit_cast<uint32_t>(a->f());
  if (a && a->type == AttrType::kInt) return static_cast<uint64_t>(a->i());
  return ctx.host().random_seed();
}

}  // namespace onnxtool
