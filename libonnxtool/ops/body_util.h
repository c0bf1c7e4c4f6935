// SPDX-License-Identifier: Apache-2.0
// What the operators that hold graphs share: loop-carried types to a fixed point, stacking of
// results, trip counts.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// The body attribute, checked to have `inputs` inputs and at least `outputs` outputs.
Result<GraphId> body_of(const Model& m, const Node& node, size_t inputs, size_t outputs);

// Infers the body until the types of its carried inputs hold for its carried outputs too. Body
// inputs are `before`, the carried ones, `after`; body outputs have `skip` others before the
// carried ones. `carried` becomes the type that holds for every trip; gives all output types.
Result<std::vector<Type>> infer_carried(InferContext& ctx, GraphId body,
                                        std::span<const Type> before, std::vector<Type>& carried,
                                        std::span<const Type> after, size_t skip);

// Type of a body's output, inferred or as declared.
Type output_type(const Model& m, GraphId body, size_t i);

// A scalar of a body input: rank 1 where the body declares it [1].
Type scalar_type(const Value& v, DType t);
Tensor scalar_for(const Value& v, Tensor scalar);

// Type of a stack of tensors along a new axis; no shape where the element's rank is not known.
Type stacked_type(const Type& element, Dim count, int64_t axis);
// `parts` joined along a new axis. Without parts: an empty tensor of the type's known dims.
Result<Tensor> stacked(const EvalContext& ctx, std::span<const Tensor> parts, int64_t axis,
                       const Type& element);

// A one-element boolean.
Result<bool> truth(const EvalContext& ctx, const Datum& d, const char* what);

}  // namespace onnxtool
