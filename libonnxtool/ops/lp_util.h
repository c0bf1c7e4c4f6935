// SPDX-License-Identifier: Apache-2.0
// The Lp norm of LpPool, GlobalLpPool and LpNormalization: (sum |x|^p)^(1/p).
#pragma once
#include <cmath>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Attribute `p`: an integer, before version 2 a float. Error unless positive.
Result<double> lp_order(const Node& node);
// Version 2 made `p` an integer.
extern const VersionStep kLpSteps[1];

class LpSum {
 public:
  explicit LpSum(double p) : p_(p) {}
  void add(double x) {
    sum_ += p_ == 1 ? std::fabs(x) : p_ == 2 ? x * x : std::pow(std::fabs(x), p_);
  }
  double norm() const {
    return p_ == 1 ? sum_ : p_ == 2 ? std::sqrt(sum_) : std::pow(sum_, 1 / p_);
  }

 private:
  double p_, sum_ = 0;
};

}  // namespace onnxtool
