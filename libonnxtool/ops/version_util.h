// SPDX-License-Identifier: Apache-2.0
// Version steps that many operators share: an attribute that became an input, negative axes.
#pragma once
#include <string_view>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Steps that change nothing.
Result<bool> lift_as_is(Model& m, NodeId n);
Status lower_as_is(Model& m, NodeId n);

// The INTS (or INT, as one element) attribute becomes input `index`, a 1-D int64 constant; without
// the attribute nothing changes. False when that input is there already.
Result<bool> lift_ints(Model& m, NodeId n, std::string_view attr, size_t index);
// Back: the constant input becomes the attribute; error when it is not constant.
Status lower_ints(Model& m, NodeId n, size_t index, std::string_view attr);
Status lower_int(Model& m, NodeId n, size_t index, std::string_view attr);

// Adds a constant as input `index`.
void add_constant_input(Model& m, NodeId n, size_t index, std::string_view hint, Tensor t);
// Takes input `index` (the last one present) away; its constant goes too when nothing else uses it.
void drop_input(Model& m, NodeId n, size_t index);

// Integers of a constant input, or the error that an older form needs it constant.
Result<std::vector<int64_t>> constant_ints(const Model& m, NodeId n, size_t index,
                                           std::string_view what);
// Makes the INT or INTS attribute non-negative by the rank of input 0; error when that is unknown.
Status lower_negative_axes(Model& m, NodeId n, std::string_view attr, int64_t def = 0);

// The attribute is dropped when it has the value that the older form means; else an error.
Status lower_fixed(Model& m, NodeId n, std::string_view attr, std::string_view def,
                   std::string_view value);

}  // namespace onnxtool
