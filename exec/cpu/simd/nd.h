// SPDX-License-Identifier: Apache-2.0
// A broadcast iteration space: dims merged as far as all operands allow, then walked as rows x
// cols. Made once per compiled shape (plain data, no allocation), used by every kernel that
// broadcasts. Source of the broadcast rule: ONNX docs/Broadcasting.md (multidirectional).
#pragma once

#include <cstdint>
#include <span>

namespace onnxtool::simd {

inline constexpr int kMaxRank = 8;       // after merging; the rank before merging is free
inline constexpr int kMaxOperands = 12;  // inputs only; the output is always dense row-major

struct NdPlan {
  int rank = 0;  // outer dims
  int operands = 0;
  int64_t dims[kMaxRank] = {};                  // outer dims, slowest first
  int64_t rows = 1;                             // product of dims
  int64_t cols = 1;                             // inner extent
  int64_t stride[kMaxOperands][kMaxRank] = {};  // elements; 0 = broadcast
  uint8_t inner[kMaxOperands] = {};             // step along cols: 0 or 1
  int64_t size() const { return rows * cols; }  // output elements
};

// Plans inputs of the given shapes (dense, row-major) broadcast to `out`. False where a shape does
// not broadcast to `out`, there are more than kMaxOperands, or more than kMaxRank outer dims
// remain.
bool plan_broadcast(std::span<const std::span<const int64_t>> shapes, std::span<const int64_t> out,
                    NdPlan* plan);

// The same for operands given by strides (elements, one span of out.size() each; 0 = broadcast,
// negative allowed on outer dims). False also where an innermost merged stride is not 0 or 1.
bool plan_strided(std::span<const std::span<const int64_t>> strides, std::span<const int64_t> out,
                  NdPlan* plan);

// Plan for `operands` inputs of n elements each, no broadcasting.
NdPlan plan_flat(int operands, int64_t n);

}  // namespace onnxtool::simd
