// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic in plans: products of 8-bit numbers with 32-bit sums. `out` is float
// (a number, scaled), or 8-bit where the last post operations quantize it.
#pragma once
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "exec/plan/plan.h"

namespace onnxtool {

namespace step_kind {
// Post operations may end in a quantization, and go on with the codes after one. An addition whose
// operand is 8-bit takes operand * a + b.
// Inputs: x (uint8 or int8), w (int8 or uint8, constant), bias (float [M], constant, may be left
// out), scale (float [M], constant), and where w has zero points they (int32 [M], constant). out =
// (x - x_zero) * (w - w_zero) * scale + bias. Attribute x_zero, and Conv's own.
inline constexpr std::string_view kQConv = "plan.QConv";
// Inputs: a [..., K], b (int8 or uint8 [K, N], constant), bias (float [N]), scale (float [N]), the
// zero point of a where it is known only while running (one element of a's type), and those of b if
// it has any (int32 [N], constant); attribute x_zero.
inline constexpr std::string_view kQMatMul = "plan.QMatMul";
// Inputs: a (float [..., K]), codes (constant [K, N], 4 or 8 bits), scale (float, constant
// [K / block_size, N]), zero points (like the codes; may be left out). out = a ((codes - zero)
// scale).
inline constexpr std::string_view kBlockMatMul = "plan.BlockMatMul";
}  // namespace step_kind

// A constant that was made by dequantizing: (q - zero) * scale, per tensor or along an axis.
struct QuantizedConstant {
  Tensor q;
  Tensor scale, zero;  // zero may be undefined: 0
  int64_t axis = 0;
};
using QuantizedConstants = std::unordered_map<int, QuantizedConstant>;  // by value of the plan

// q - zero as int8 where all of it fits, else the codes and their zero points; scales and zero
// points one for each index of `axis`.
struct IntegerWeights {
  Tensor w;
  std::vector<float> scale;
  std::vector<int32_t> zero;  // empty: 0
};
std::optional<IntegerWeights> integer_weights(const QuantizedConstant& c, int64_t axis);

// Quantization as the last operations of a program or of post operations: /scale, round, +zero,
// clip to the whole range of `t`.
EltProgram quantize_program(float scale, int64_t zero, DType t);
EltProgram dequantize_program(float scale, int64_t zero);

// Operators on quantized tensors (QLinearConv, QLinearAdd, ...) as dequantize, operator, quantize.
// Constants among their inputs are told of in `constants`.
void expand_quantized(Plan& plan, const Model& model, const KernelIndex& kernels,
                      QuantizedConstants& constants);

// The last `count` of the post operations quantize to `t`: x -> x * scale + zero, rounded.
struct QuantizeTail {
  size_t count = 0;
  float scale = 1, zero = 0;
};
std::optional<QuantizeTail> quantize_tail(std::span<const PostOp> post, DType t);

}  // namespace onnxtool
