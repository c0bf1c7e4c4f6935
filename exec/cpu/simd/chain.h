// SPDX-License-Identifier: Apache-2.0
// Fused elementwise chains: a small program over registers, run on blocks of kChainBlock elements
// that stay in L1, so that a chain of up to 32 ops costs one sweep over memory. Arithmetic is fp32;
// inputs and outputs may have other types and are converted at the edge (so chains also serve fp16
// and bf16 models and the float part between DequantizeLinear and QuantizeLinear).
// Results equal those of the single kernels (eltwise.h) run one after the other, bit for bit.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/eltwise.h"
#include "exec/cpu/simd/nd.h"

namespace onnxtool::simd {

inline constexpr int kChainBlock = 512;
inline constexpr int kChainInstr = 32;
inline constexpr int kChainRegs = 8;
inline constexpr int kChainInputs = kMaxOperands;
inline constexpr int kChainOutputs = 4;

// Storage of an input or output. kBool reads any non-zero byte as 1 and writes x != 0.
// kU8, kI8, kI32 outputs truncate toward zero and saturate (put Unary::kRound before to quantize);
// NaN becomes 0. kI64 is input only, rounded to the nearest float.
enum class ChainType : uint8_t { kF32, kF16, kBF16, kBool, kU8, kI8, kI32, kI64 };

// What an instruction reads or writes.
struct ChainRef {
  enum Kind : uint8_t { kNone, kReg, kInput, kOutput } kind = kNone;
  uint8_t index = 0;
  static constexpr ChainRef reg(int i) { return {kReg, static_cast<uint8_t>(i)}; }
  static constexpr ChainRef input(int i) { return {kInput, static_cast<uint8_t>(i)}; }
  static constexpr ChainRef output(int i) { return {kOutput, static_cast<uint8_t>(i)}; }
};

enum class ChainForm : uint8_t {
  kUnary,       // dst = unary(src0; a, b)
  kBinary,      // dst = binary(src0, src1)
  kBinaryImm,   // dst = binary(src0, a)
  kImmBinary,   // dst = binary(a, src0)
  kCompare,     // dst = compare(src0, src1) ? 1 : 0
  kCompareImm,  // dst = compare(src0, a) ? 1 : 0
  kWhere,       // dst = src0 != 0 ? src1 : src2
  kMulAdd,      // dst = src0 * src1 + src2, fused (one rounding; two on the baseline target)
};

struct ChainInstr {
  ChainForm form = ChainForm::kUnary;
  Unary unary = Unary::kCopy;
  Binary binary = Binary::kAdd;
  Compare compare = Compare::kEq;
  ChainRef dst;     // register or output; an output is written by exactly one instruction
  ChainRef src[3];  // registers written before, or inputs
  float a = 0, b = 0;
};

struct Chain {
  int instrs = 0, inputs = 0, outputs = 0;
  ChainInstr instr[kChainInstr];
  ChainType in_type[kChainInputs] = {};
  ChainType out_type[kChainOutputs] = {};
};

// Is the program well formed (indices in range, registers written before use, each output written
// once, every op float-capable)? chain_run requires it.
bool chain_valid(const Chain& chain);

// Runs flat output elements [begin, end) of the plan, whose operand i is chain input i. Every
// output is dense with the plan's shape. An output may be in place with a non-broadcast input of
// the same element size if no later instruction reads that input.
void chain_run(const Chain& chain, const NdPlan& plan, const void* const* in, void* const* out,
               int64_t begin, int64_t end);

}  // namespace onnxtool::simd
