// SPDX-License-Identifier: Apache-2.0
// How large the numbers of a value can get, whatever the inputs of the model are: a proof that
// nothing overflows and nothing is NaN. Interval arithmetic on magnitudes, one sweep over the main
// graph; normalizations and Softmax keep the bounds from growing with depth.
#pragma once
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

class Bounds {
 public:
  // The main graph is sorted.
  explicit Bounds(const PassContext& ctx);
  // No element is NaN, or larger than its type holds.
  bool finite(ValueId v);

 private:
  double of(ValueId v);
  double of_constant(const Tensor& t);
  double of_output(const Node& n);
  double product(const Node& n, size_t a, size_t b);
  double normalized(const Node& n);
  double scaled_down(ValueId x, ValueId by, bool inverse);
  bool sums_to_one(ValueId v) const;

  const PassContext& ctx_;
  std::vector<double> bound_;        // by value; infinite: not known
  std::vector<bool> known_;          // of constants, which are looked at when asked for
  size_t left_ = size_t{256} << 20;  // bytes of constants that may still be looked at
};

}  // namespace onnxtool
