// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels: one input (unary), two with broadcasting (binary, compare), and where.
// Flat functions take n elements; functions with an NdPlan produce output elements [begin, end) of
// the flat output index (any boundaries). In place is allowed where the operand is not broadcast.
// NaN propagates everywhere unless a line says otherwise. Semantics: ONNX Operators.md; what its
// formulas make of infinities holds too (Silu, Gelu and Mish of -inf, Softsign of inf: NaN).
#pragma once

#include <cstdint>

#include "exec/cpu/simd/nd.h"

namespace onnxtool::simd {

// a and b are the parameters of unary_f32. Error bounds in ulp stand in brackets; none = correctly
// rounded. "rel x" bounds |error| by that many ulp of x instead of ulp of the result.
enum class Unary : uint8_t {
  kCopy,
  kNeg,
  kAbs,
  kSign,  // -1, 0, 1 (sign of zero is kept)
  kFloor,
  kCeil,
  kRound,  // half to even
  kTrunc,
  kReciprocal,
  kSqrt,
  kRsqrt,  // 1 / sqrt(x) [1.5]
  kSquare,
  kCube,        // x * x * x [1.5]
  kExp,         // [1.1]
  kExpm1,       // [2]
  kLog,         // [1]
  kLog1p,       // [2]
  kSin,         // [2]; also beyond 2^17 (slower)
  kCos,         // [2]
  kTanh,        // [2.5]
  kErf,         // [2]
  kSigmoid,     // [2.5]
  kLogSigmoid,  // -softplus(-x) [3]
  kSoftplus,    // log(1 + exp(x)) [3]
  kSoftsign,    // x / (1 + |x|) [2]
  kRelu,
  kLeakyRelu,        // a = alpha
  kThresholdedRelu,  // a = alpha; x where x > a, else 0 (also NaN)
  kElu,              // a = alpha [3]
  kSelu,             // a = alpha, b = gamma [3]
  kCelu,             // a = alpha [4]
  kHardSigmoid,      // a = alpha, b = beta [1 of max(|a x|, |b|)]
  kHardSwish,        // x * hard_sigmoid(x; 1/6, 1/2) [rel x 1]
  kSilu,  // x * sigmoid(a * x), a = 1: Silu, 1.702: QuickGelu [4 + |(a - 1) x|; 2^-140 for x < -87]
  kMish,  // x * tanh(softplus(x)) [4; 2^-140 for x < -87]
  kGelu,  // a / 2 x (1 + erf(x / sqrt 2)), a = 1: Gelu [4 for x > -1, else rel x 1]
  kGeluTanh,  // its tanh approximation, a as there [4 for x > -1, else rel x 1]
  kClip,      // min(max(x, a), b): b wins where a > b
  kAffine,    // a * x + b [1]
  kPow,       // x ^ a, exponent constant [1.5]
  kShrink,    // x < -a: x + b; x > a: x - b; else 0 (also NaN)
  kCount
};

// Number of parameters (0..2) that an op reads.
int unary_params(Unary op);

// y = op(x), n elements. In place allowed.
void unary_f32(Unary op, const float* x, float* y, int64_t n, float a = 0, float b = 0);

enum class Binary : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,    // NaN if either is NaN
  kMax,    // NaN if either is NaN
  kPow,    // [1]; C99 rules for special values
  kPRelu,  // x < 0 ? x * slope : x (b = slope)
  kFmod,   // C fmod (Mod with fmod = 1); exact; float only
  kMod,    // Python's sign rule (result has b's sign); integers only (0 where b is 0)
  kCount
};

// y[i] = op(a[i], b[i]) over the plan (operand 0 = a, 1 = b). In place on a non-broadcast operand.
// Integers wrap; division truncates, x / 0 is 0 and min / -1 is min. kPow, kPRelu and kFmod are
// float only, kMod integer only: binary_supports tells.
void binary_f32(Binary op, const NdPlan& plan, const float* a, const float* b, float* y,
                int64_t begin, int64_t end);
void binary_i32(Binary op, const NdPlan& plan, const int32_t* a, const int32_t* b, int32_t* y,
                int64_t begin, int64_t end);
void binary_i64(Binary op, const NdPlan& plan, const int64_t* a, const int64_t* b, int64_t* y,
                int64_t begin, int64_t end);
bool binary_supports(Binary op, bool is_float);

enum class Compare : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kCount };

// y[i] = 0 or 1. Comparisons with NaN are false, except kNe.
void compare_f32(Compare op, const NdPlan& plan, const float* a, const float* b, uint8_t* y,
                 int64_t begin, int64_t end);
void compare_i32(Compare op, const NdPlan& plan, const int32_t* a, const int32_t* b, uint8_t* y,
                 int64_t begin, int64_t end);
void compare_i64(Compare op, const NdPlan& plan, const int64_t* a, const int64_t* b, uint8_t* y,
                 int64_t begin, int64_t end);

enum class Logical : uint8_t { kAnd, kOr, kXor, kCount };

// Booleans are bytes; any non-zero byte counts as true, results are 0 or 1.
void logical_u8(Logical op, const NdPlan& plan, const uint8_t* a, const uint8_t* b, uint8_t* y,
                int64_t begin, int64_t end);
void not_u8(const uint8_t* x, uint8_t* y, int64_t n);
void is_nan_f32(const float* x, uint8_t* y, int64_t n);
void is_inf_f32(const float* x, uint8_t* y, int64_t n, bool positive, bool negative);

// y = cond ? a : b, elements of elem_size bytes (1, 2, 4 or 8) moved as bits. Plan operands:
// 0 = cond (bytes), 1 = a, 2 = b.
void where(int elem_size, const NdPlan& plan, const uint8_t* cond, const void* a, const void* b,
           void* y, int64_t begin, int64_t end);

}  // namespace onnxtool::simd
