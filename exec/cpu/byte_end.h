// SPDX-License-Identifier: Apache-2.0
// What follows the sums of kernels on 8-bit integers, from a step's scales, bias and post
// operations (plan/quantize.h).
#pragma once
#include <optional>
#include <vector>

#include "exec/cpu/simd/byte_gemm.h"
#include "exec/plan/kernel.h"
#include "exec/plan/step.h"

namespace onnxtool::cpu {

inline constexpr int kByteOps = 24;

struct ByteForm {
  struct Op {
    simd::TileOp op;
    int operand = -1;     // input that op.data points into
    bool scalar = false;  // one number: op.a
  };
  std::vector<float> scale, bias;  // [N] and kByteSlack more
  std::vector<Op> ops;
  simd::ByteOut out = simd::ByteOut::kF32;
  float out_scale = 1, low = 0, high = 255;
  int32_t zero = 0;
};

// nullopt: post operations of another form. Channels (N) are the given axis of the output; rows
// (M) are all else in memory order. Inputs 2 and 3 of the step are its bias and scales.
std::optional<ByteForm> byte_form(const StepInfo& s, size_t channel_axis);

// The end with this run's pointers; `ops` has room for kByteOps.
simd::ByteEnd bind_end(const ByteForm& f, const RunArgs& args, simd::TileOp* ops);

// Weights [N, K] as bytes around zero: what kernels add to the sums for the zero points.
struct ByteWeights {
  std::vector<int32_t> sums;  // [N] of the bytes as packed
  std::vector<int32_t> zero;  // [N] and kByteSlack more: their zero points; empty: all 0
  uint8_t flip = 0;
  // ByteEnd::offset for a zero point of the (unsigned) other operand: [N] and kByteSlack more.
  void offsets(int32_t a_zero, int64_t k, int32_t* to) const;
  std::vector<int32_t> offsets(int32_t a_zero, int64_t k) const;
};
// Weights are input 1; zero points, if any, input `zero_at`. Element (k, n) lies at
// k * k_stride + n * n_stride.
ByteWeights byte_weights(const StepInfo& s, size_t zero_at, int64_t k, int64_t n, int64_t k_stride,
                         int64_t n_stride);

// Inputs that are not read any more: weights and what belongs to them, not those of post
// operations.
inline uint64_t packed_inputs(const StepInfo& s) {
  return ((uint64_t{1} << s.main_inputs) - 1) & ~uint64_t{1};
}

// Are the bytes of weights, bias, scales and zero points of the forms that the kernels know?
const char* check_byte_operands(const StepInfo& s, size_t zero_at, int64_t k, int64_t n);

}  // namespace onnxtool::cpu
