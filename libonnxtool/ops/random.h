// SPDX-License-Identifier: Apache-2.0
// Random numbers of the reference evaluations: MT19937 (Matsumoto, Nishimura 1998) used as numpy's
// RandomState does, so that a seed gives the numbers of onnx's reference, on every machine; a node
// without a seed attribute draws from the host's seed.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

class Random {
 public:
  explicit Random(uint32_t seed) : bits_(seed) {}
  // In [0, 1), 53 bits.
  double uniform() {
    const auto a = static_cast<double>(bits_() >> 5), b = static_cast<double>(bits_() >> 6);
    return (a * 67108864.0 + b) / 9007199254740992.0;
  }
  // Mean 0, deviation 1 (Marsaglia's polar method; numbers come in pairs).
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    double x = 0, y = 0, r = 0;
    do {
      x = 2.0 * uniform() - 1.0;
      y = 2.0 * uniform() - 1.0;
      r = x * x + y * y;
    } while (r >= 1.0 || r == 0.0);
    const double f = std::sqrt(-2.0 * std::log(r) / r);
    spare_ = f * x;
    has_spare_ = true;
    return f * y;
  }
  // 1 with probability p.
  bool bernoulli(double p) {
    if (!(p > 0)) return false;
    return p <= 0.5 ? uniform() > 1.0 - p : uniform() <= p;
  }

 private:
  std::mt19937 bits_;
  double spare_ = 0;
  bool has_spare_ = false;
};

// The seed attribute (a float, or an integer for Dropout) truncated to an integer.
uint32_t seed_of(const EvalContext& ctx);

}  // namespace onnxtool
