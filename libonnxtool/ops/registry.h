// SPDX-License-Identifier: Apache-2.0
// Operators that come while the program runs, beside those of the build (all_op_tables()):
// find_op() finds both.
#pragma once
#include "libonnxtool/ops/op.h"

namespace onnxtool {

// `def` and what it points to are kept. Before any model is used: there is no lock. Fails
// (kInvalid) where the operator exists already.
Status register_op(const OpDef& def);

}  // namespace onnxtool
