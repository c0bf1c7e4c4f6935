// SPDX-License-Identifier: Apache-2.0
// Version steps that several operators share. Each keeps a node as it is (false, or an error with
// the reason) when an attribute refers to a function's attribute or an input is not constant.
#pragma once
#include <string_view>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Nothing to do on this side of a step.
Result<bool> step_same_up(Model& m, NodeId n);
Status step_same_down(Model& m, NodeId n);

// Opset 6 dropped the in-place hint `consumed_inputs`.
Result<bool> drop_consumed_inputs(Model& m, NodeId n);
inline constexpr VersionStep kConsumedInputsStep = {6, drop_consumed_inputs, step_same_down};

// Integer list attribute to input `index` (a 1-D int64 constant) and back. An absent attribute is
// an absent input; `required`: then the way down fails when the input is absent.
Result<bool> ints_to_input(Model& m, NodeId n, std::string_view attr, size_t index);
Status input_to_ints(Model& m, NodeId n, size_t index, std::string_view attr);
// `axes` as attribute and as input 1: Squeeze, Unsqueeze, the reductions.
Result<bool> axes_to_input(Model& m, NodeId n);
Status axes_to_attribute(Model& m, NodeId n);

// Softmax, LogSoftmax, Hardmax 13: before, the input was taken as a matrix cut at `axis`
// (default 1); same meaning only for the last axis.
Result<bool> coerced_axis_up(Model& m, NodeId n);
Status coerced_axis_down(Model& m, NodeId n);

// New inputs and outputs of the same form, fewer element types: no way up for a value whose
// element type is known to be an integer.
Result<bool> floats_only_up(Model& m, NodeId n);

// Element type and rank as far as the model says before inference: declared types, constants, and
// (element type) producers whose output has the type of an input.
DType declared_dtype(const Model& m, ValueId v);
std::optional<int64_t> declared_rank(const Model& m, ValueId v);
// True when attribute `attr` is there and takes its value from a function's attribute.
bool refers(const Node& n, std::string_view attr);
// Sets input i to a new constant, named after the node's first input and `what`.
void set_constant_input(Model& m, NodeId n, size_t i, std::string_view what, Tensor t);
// Takes input i out (and trailing absent inputs with it); a constant without other uses goes too.
void drop_input(Model& m, NodeId n, size_t i);

// The reason why there is no older form (lower_node names operator and opset).
Error step_error(std::string_view reason);

}  // namespace onnxtool
