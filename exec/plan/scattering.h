// SPDX-License-Identifier: Apache-2.0
// ScatterElements, Scatter and ScatterND as updates [outer, count, inner] into data
// [outer, extent, inner]: element (o, k, i) goes to row index[o, k, i] (elements), or to the row
// that the tuple index[k] names (ScatterND, outer 1).
#pragma once
#include "exec/plan/step.h"

namespace onnxtool {

struct Scattering {
  enum class Reduction : uint8_t { kNone, kAdd, kMul, kMax, kMin };
  Reduction reduction = Reduction::kNone;
  int64_t outer = 1, count = 0, extent = 0, inner = 1;
  bool wide = true;                       // int64 indices, else int32
  bool each = false;                      // an index for each element
  std::vector<int64_t> extents, strides;  // ScatterND: of the tuple
};
// Why it is none; nullptr: it is in *f. Element types are the kernels' affair.
const char* plan_scattering(const StepInfo& s, Scattering* f);

}  // namespace onnxtool
