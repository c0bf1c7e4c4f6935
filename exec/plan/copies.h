// SPDX-License-Identifier: Apache-2.0
// Data movement as strided copies: Transpose, Slice, Concat, Split, Expand, Tile, DepthToSpace,
// SpaceToDepth and the plan's Reorder. Layouts only change strides, so each takes any combination
// of them. Kernels of every device run what is planned here.
#pragma once
#include <optional>
#include <vector>

#include "exec/plan/step.h"

namespace onnxtool {

// out[dst_offset + i * dst] = in[src_offset + i * src] for every index i of `dims`, in elements.
struct StridedCopy {
  Dims dims;
  std::vector<int64_t> src, dst;
  int64_t src_offset = 0, dst_offset = 0;
  size_t in = 0, out = 0;  // operands of the step
};
inline constexpr const char* kCopyOps =
    "Transpose plan.Reorder Slice Concat Split Expand Tile DepthToSpace SpaceToDepth";

// nullopt: another op, elements that are not whole bytes, shapes that do not fit, or a parameter
// that is known only while running.
std::optional<std::vector<StridedCopy>> step_copies(const StepInfo& s);

// Pad, axis by axis; below 0: elements are cut off.
struct Padding {
  enum class Mode : uint8_t { kConstant, kEdge, kReflect, kWrap };
  Mode mode = Mode::kConstant;
  std::vector<int64_t> before, after;
};
// nullopt: pads or axes known only while running, or shapes that do not fit.
std::optional<Padding> step_padding(const StepInfo& s);

}  // namespace onnxtool
