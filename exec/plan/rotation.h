// SPDX-License-Identifier: Apache-2.0
// RotaryEmbedding of ai.onnx and of com.microsoft: shapes and which input is what.
#pragma once
#include "exec/plan/step.h"

namespace onnxtool {

struct Rotation {
  int64_t batch = 0, heads = 0, len = 0, head = 0, half = 0, rows = 0;
  size_t cos = 1, sin = 2, ids = 3;
  bool by_id = false, one_id = false, by_start = false;  // one_id: the only one; by_start: + l
  bool interleaved = false, packed = false;              // packed: [batch, len, heads * head]
};
// Why it is none that can be planned; nullptr: it is in *f. Element types are the kernels' affair.
const char* plan_rotation(const StepInfo& s, Rotation* f);

}  // namespace onnxtool
