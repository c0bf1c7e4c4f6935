// SPDX-License-Identifier: Apache-2.0
// Version steps of single integers and negative axes, beside those of step_util.h.
#pragma once
#include <string_view>

#include "libonnxtool/ops/step_util.h"

namespace onnxtool {

// Integer attribute to input `index` (one int64 in a 1-D constant) and back.
Result<bool> int_to_input(Model& m, NodeId n, std::string_view attr, size_t index);
Status input_to_int(Model& m, NodeId n, size_t index, std::string_view attr);

// Integers of a constant input, or the error that an older form needs it constant.
Result<std::vector<int64_t>> constant_ints(const Model& m, NodeId n, size_t index,
                                           std::string_view what);
// Makes the INT or INTS attribute non-negative by the rank of input 0; error when that is unknown.
Status lower_negative_axes(Model& m, NodeId n, std::string_view attr, int64_t def = 0);

// The string attribute (default `def`) must have the value that the older form means without it,
// and is dropped.
Status lower_fixed(Model& m, NodeId n, std::string_view attr, std::string_view def,
                   std::string_view value);

}  // namespace onnxtool
