// SPDX-License-Identifier: Apache-2.0
// A value as a strided view of another one: what Transposes, Reshapes, Splits, Gathers of one index
// and Expands between them amount to. Scalar factors met on the way are multiplied up.
#pragma once
#include "exec/plan/rewire.h"

namespace onnxtool {

struct StridedDim {
  int64_t size = 1;    // distinct places
  int64_t repeat = 1;  // each place this often in a row (keys and values of grouped heads)
  int64_t stride = 0;  // elements between places
  int64_t extent() const { return size * repeat; }
};

struct Strided {
  int source = -1;     // value whose dense plain bytes are read
  int64_t offset = 0;  // elements
  std::vector<StridedDim> dims;
  double scale = 1;
};

// The furthest source that reaches v. Always succeeds: v itself, dense, at worst.
Strided trace_strided(Rewire& g, int v);

}  // namespace onnxtool
