// SPDX-License-Identifier: Apache-2.0
// Elementwise operations on one element (Elt of exec/plan/step.h), and post operations of a step as
// data that a kernel applies to what it is about to write.
#pragma once
#include <cuda_runtime.h>

#include <cmath>

#include "exec/cuda/gpu.h"
#include "exec/cuda/nd.h"
#include "exec/cuda/types.h"

namespace onnxtool::cuda {

__device__ inline float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }
__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
// NaN if either is NaN.
__device__ inline float min_nan(float a, float b) {
  return a != a ? a : b != b ? b : a < b ? a : b;
}
__device__ inline float max_nan(float a, float b) {
  return a != a ? a : b != b ? b : a > b ? a : b;
}

__device__ inline float apply_unary(Elt op, float x, float a, float b) {
  switch (op) {
    case Elt::kNeg: return -x;
    case Elt::kAbs: return fabsf(x);
    case Elt::kSign: return x > 0 ? 1.f : x < 0 ? -1.f : x;
    case Elt::kFloor: return floorf(x);
    case Elt::kCeil: return ceilf(x);
    case Elt::kRound: return rintf(x);
    case Elt::kTrunc: return truncf(x);
    case Elt::kReciprocal: return 1 / x;
    case Elt::kSqrt: return sqrtf(x);
    case Elt::kRsqrt: return 1 / sqrtf(x);
    case Elt::kSquare: return x * x;
    case Elt::kCube: return x * x * x;
    case Elt::kExp: return expf(x);
    case Elt::kExpm1: return expm1f(x);
    case Elt::kLog: return logf(x);
    case Elt::kLog1p: return log1pf(x);
    case Elt::kSin: return sinf(x);
    case Elt::kCos: return cosf(x);
    case Elt::kTanh: return tanhf(x);
    case Elt::kErf: return erff(x);
    case Elt::kSigmoid: return sigmoid(x);
    case Elt::kLogSigmoid: return -softplus(-x);
    case Elt::kSoftplus: return softplus(x);
    case Elt::kSoftsign: return x / (1 + fabsf(x));
    case Elt::kRelu: return x < 0 ? 0.f : x;
    case Elt::kLeakyRelu: return x < 0 ? a * x : x;
    case Elt::kThresholdedRelu: return x > a ? x : 0.f;
    case Elt::kElu: return x < 0 ? a * expm1f(x) : x;
    case Elt::kSelu: return x > 0 ? b * x : b * a * expm1f(x);
    case Elt::kCelu: return x < 0 ? a * expm1f(x / a) : x;
    case Elt::kHardSigmoid: return max_nan(0.f, min_nan(1.f, a * x + b));
    case Elt::kHardSwish: return x * max_nan(0.f, min_nan(1.f, x / 6 + 0.5f));
    case Elt::kSilu: return x * sigmoid(a * x);
    case Elt::kMish: return x * tanhf(softplus(x));
    case Elt::kGelu: return 0.5f * x * (1 + erff(x * 0.70710678f));
    case Elt::kGeluTanh: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Elt::kClip: return min_nan(max_nan(x, a), b);
    case Elt::kAffine: return a * x + b;
    case Elt::kPowImm: return powf(x, a);
    case Elt::kShrink: return x < -a ? x + b : x > a ? x - b : 0.f;
    default: return x;
  }
}

__device__ inline float apply_binary(Elt op, float x, float y) {
  switch (op) {
    case Elt::kAdd: return x + y;
    case Elt::kSub: return x - y;
    case Elt::kMul: return x * y;
    case Elt::kDiv: return x / y;
    case Elt::kMin: return min_nan(x, y);
    case Elt::kMax: return max_nan(x, y);
    case Elt::kPow: return powf(x, y);
    case Elt::kPRelu: return x < 0 ? x * y : x;
    case Elt::kFmod: return fmodf(x, y);
    case Elt::kEq: return x == y;
    case Elt::kNe: return x != y;
    case Elt::kLt: return x < y;
    case Elt::kLe: return x <= y;
    case Elt::kGt: return x > y;
    case Elt::kGe: return x >= y;
    default: return x;
  }
}

// The post operations of a step. `nd` walks output 0; its operands are those that lie in memory,
// in order of their operations. An 8-bit operand of an addition stands for operand * a + b
// (plan/quantize.h).
inline constexpr int kPostOps = 40, kPostOperands = 6;
struct Post {
  struct Op {
    Elt op;
    bool binary, swapped, linear;
    int operand;  // of nd; -1: imm
    float imm, a, b;
  };
  int count = 0, operands = 0;
  Op ops[kPostOps] = {};
  int input[kPostOperands] = {};  // of the step
  DType type[kPostOperands] = {};
  Nd nd;
};
struct PostPointers {
  const void* p[kPostOperands] = {};
};

// Why the post operations cannot be applied; nullptr: they are in *post.
const char* plan_post(const StepInfo& s, Post* post);
PostPointers bind_post(const Post& post, const RunArgs& args);

// x after all operations; i: flat place of the element in the memory of output 0.
__device__ inline float apply_post(const Post& post, const PostPointers& from, int64_t i, float x) {
  if (post.count == 0) return x;
  int64_t at[kPostOperands] = {};
  if (post.operands > 0) post.nd.locate(i, at, post.operands);
  for (int k = 0; k < post.count; ++k) {
    const Post::Op& op = post.ops[k];
    if (!op.binary) {
      x = apply_unary(op.op, x, op.a, op.b);
      continue;
    }
    float y = op.imm;
    if (op.operand >= 0) {
      y = load_as_float(from.p[op.operand], at[op.operand], post.type[op.operand]);
      if (op.linear) y = y * op.a + op.b;
    }
    x = op.swapped ? apply_binary(op.op, y, x) : apply_binary(op.op, x, y);
  }
  return x;
}

}  // namespace onnxtool::cuda
