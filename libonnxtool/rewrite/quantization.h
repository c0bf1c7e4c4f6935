// SPDX-License-Identifier: Apache-2.0
// Which values go into a quantization of activations somewhere behind them. There a difference in
// the last bit of a number becomes one of a whole step.
#pragma once
#include <vector>

#include "libonnxtool/ir/model.h"

namespace onnxtool::rewrite {

class QuantizationMap {
 public:
  void build(const Model& m);  // whose main graph is sorted
  // Also of values that were made since.
  bool behind(const Model& m, ValueId v) const;

 private:
  bool any_ = false;
  std::vector<bool> marked_;  // nodes of the main graph: one quantizes, inside or behind it
};

}  // namespace onnxtool::rewrite
