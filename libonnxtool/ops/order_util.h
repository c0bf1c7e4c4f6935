// SPDX-License-Identifier: Apache-2.0
// Total order of the elements of a tensor as integers, for sorting and grouping of any type.
#pragma once
#include <cstdint>
#include <vector>

#include "libonnxtool/ir/tensor.h"

namespace onnxtool {

// Keys whose order is that of the elements (equal keys = equal elements). NaN is above all and
// equals itself, -0 equals 0, strings compare by bytes. Complex numbers have two keys each (real,
// imaginary), all others one: `per_element`.
struct OrderKeys {
  std::vector<int64_t> keys;
  int64_t per_element = 1;
};
OrderKeys order_keys(const Tensor& t);

// Whether each element differs from zero (strings: from the empty one; NaN does).
std::vector<bool> nonzero_mask(const Tensor& t);

}  // namespace onnxtool
