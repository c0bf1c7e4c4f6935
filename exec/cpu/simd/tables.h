// SPDX-License-Identifier: Apache-2.0
// Internal to exec/cpu/simd: the flat kernels of the target in use as function pointers, so that
// loops over rows and blocks (broadcasting, chains, epilogues) dispatch once and not per call.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/eltwise.h"

namespace onnxtool::simd {

// y[0..n) = op(x[0..n); a, b); in place allowed.
using UnaryFn = void (*)(const float* x, float* y, int64_t n, float a, float b);
UnaryFn unary_fn(Unary op);

// y[0..n) = op(a, b) for one element type. Forms: which operand is a single element.
enum Form : uint8_t { kVectorVector, kVectorScalar, kScalarVector, kForms };
using BinaryFn = void (*)(const void* a, const void* b, void* y, int64_t n);
enum class Elem : uint8_t { kF32, kI32, kI64 };
BinaryFn binary_fn(Elem elem, Binary op, Form form);    // null where the type lacks the op
BinaryFn compare_fn(Elem elem, Compare op, Form form);  // y: bytes
BinaryFn compare_f32_fn(Compare op, Form form);         // y: floats 0 and 1 (chains)

}  // namespace onnxtool::simd
