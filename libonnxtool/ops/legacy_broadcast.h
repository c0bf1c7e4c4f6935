// SPDX-License-Identifier: Apache-2.0
// Binary operators before opset 7: attribute `broadcast` (default 0: equal shapes) lets the second
// input repeat over the first one's dims from `axis` on (default: the last dims agree).
#pragma once
#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Shape of B as numpy-style broadcasting needs it; error when it does not fit A.
Result<Shape> legacy_operand_shape(const Node& node, const Shape& a, const Shape& b);

// Version step to 7. Up: exact without `axis`, with ranks known, or with a constant B. Down: the
// second input must repeat over the first in a way that the old form can say.
Result<bool> legacy_broadcast_up(Model& m, NodeId n);
Status legacy_broadcast_down(Model& m, NodeId n);

}  // namespace onnxtool
