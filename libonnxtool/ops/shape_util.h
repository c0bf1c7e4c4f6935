// SPDX-License-Identifier: Apache-2.0
// Shape rules that many operators share.
#pragma once
#include <span>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Multidirectional broadcast (Broadcasting.md) of symbolic shapes. A symbolic dim against a
// constant above 1 gives the constant; two different symbols give max(a, b) only when nothing
// better is known. Error when two constants clash.
Result<Shape> broadcast_shapes(const Shape& a, const Shape& b);
// Broadcast over several inputs of the node; nullopt if one has unknown rank.
Result<std::optional<Shape>> broadcast_inputs(const InferContext& ctx, size_t first, size_t count);

// Output 0 has type and shape of input 0.
Status infer_same(InferContext& ctx);
// Output 0: broadcast of inputs 0 and 1, element type of input 0.
Status infer_broadcast(InferContext& ctx);
// The same with element type bool.
Status infer_broadcast_bool(InferContext& ctx);

// Element type attribute ("dtype", "to"): checked to be a known type number.
Result<DType> dtype_attr(const Node& node, std::string_view attr, DType def);

// Axes (may be negative, must be unique) as sorted non-negative positions below rank.
Result<std::vector<int64_t>> normalize_axes(std::span<const int64_t> axes, int64_t rank);

// Number of elements as a Dim.
Dim element_count(const Shape& s);

// Conv/pool window arithmetic (spec of Conv, MaxPool): spatial attributes of the node checked and
// completed with defaults. `spatial` = rank - 2; kernel given, or from attribute kernel_shape.
struct Window {
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end;  // kernel -1: not known
  bool ceil_mode = false;
  enum class AutoPad : uint8_t {
    kNotSet,
    kSameUpper,
    kSameLower,
    kValid
  } auto_pad = AutoPad::kNotSet;
  // Output size of axis i for input size `in`; fills pads for auto_pad when `in` is constant.
  Result<Dim> output_size(size_t i, Dim in);
};
Result<Window> window_of(const Node& node, size_t spatial,
                         std::span<const Dim> kernel_from_weights);

}  // namespace onnxtool
