// SPDX-License-Identifier: Apache-2.0
// Index arithmetic: from the flat place of an output element to the places of its operands, by
// strides. Any mixture of layouts and broadcasting is just strides.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "exec/plan/step.h"

namespace onnxtool::cuda {

inline constexpr int kNdRank = 8;
inline constexpr int kNdOperands = 12;

// Dims merged where all operands allow it, slowest first.
struct Nd {
  int rank = 0;
  int64_t size = 1;
  int64_t dims[kNdRank] = {};
  int64_t strides[kNdOperands][kNdRank] = {};

  // Adds to at[k] the place of element i in operand k.
  template <int kOperands>
  __device__ void locate(int64_t i, int64_t (&at)[kOperands], int operands) const {
    for (int d = rank; d-- > 0;) {
      const int64_t c = i % dims[d];
      i /= dims[d];
      for (int k = 0; k < operands; ++k) at[k] += c * strides[k][d];
    }
  }
};

// Walks `dims` in the order given; one list of strides (elements) an operand. False where more than
// kNdRank dims remain after merging, or there are more than kNdOperands.
bool plan_nd(const Dims& dims, std::span<const std::vector<int64_t>> strides, Nd* nd);

// Operands that broadcast to `out`, walked in the order of out's memory. False also where one does
// not broadcast.
bool plan_broadcast(std::span<const Operand> in, const Operand& out, Nd* nd);

}  // namespace onnxtool::cuda
