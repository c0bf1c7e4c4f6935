// SPDX-License-Identifier: Apache-2.0
// What passes of --target ort share.
#pragma once
#include "libonnxtool/base/dtype.h"

namespace onnxtool {

// Types that ONNX Runtime computes its own operators in: half precision in single where it has no
// kernel of its own, without rounding between two of them.
inline bool ort_computes(DType t) { return t == DType::kFloat || t == DType::kFloat16; }

}  // namespace onnxtool
