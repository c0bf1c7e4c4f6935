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

  // The place of element i in operand k.
  __device__ int64_t place(int64_t i, int k) const {
    int64_t at[1] = {};
    if (rank == 1) return i * strides[k][0];
    locate(i, at, 1, k);
    return at[0];
  }
  // Adds to at[k] the place of element i in operand first + k.
  template <int kOperands>
  __device__ void locate(int64_t i, int64_t (&at)[kOperands], int operands, int first = 0) const {
    if (size <= UINT32_MAX) {  // divisions of 64 bits cost several times as much
      auto rest = static_cast<uint32_t>(i);
      for (int d = rank; d-- > 1;) {
        const auto n = static_cast<uint32_t>(dims[d]);
        const uint32_t next = rest / n;
        for (int k = 0; k < operands; ++k) at[k] += (rest - next * n) * strides[first + k][d];
        rest = next;
      }
      i = rest;
    } else {
      for (int d = rank; d-- > 1; i /= dims[d])
        for (int k = 0; k < operands; ++k) at[k] += i % dims[d] * strides[first + k][d];
    }
    if (rank > 0)
      for (int k = 0; k < operands; ++k) at[k] += i * strides[first + k][0];
  }
};

// Walks `dims` in the order given; one list of strides (elements) an operand. False where more than
// kNdRank dims remain after merging, or there are more than kNdOperands.
bool plan_nd(const Dims& dims, std::span<const std::vector<int64_t>> strides, Nd* nd);

// Operands that broadcast to `out`, walked in the order of out's memory. False also where one does
// not broadcast.
bool plan_broadcast(std::span<const Operand> in, const Operand& out, Nd* nd);

}  // namespace onnxtool::cuda
