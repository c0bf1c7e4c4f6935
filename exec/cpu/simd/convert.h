// SPDX-License-Identifier: Apache-2.0
// Conversions between element types, and linear quantization. n elements each; source and
// destination do not overlap. Sources: IEEE 754 (binary16), ONNX Operators.md (Cast,
// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear).
#pragma once

#include <cstdint>

namespace onnxtool::simd {

// Round to nearest even; overflow gives inf, denormals are kept, NaN stays (quiet) NaN.
void f32_to_f16(const float* x, uint16_t* y, int64_t n);
void f16_to_f32(const uint16_t* x, float* y, int64_t n);
void f32_to_bf16(const float* x, uint16_t* y, int64_t n);
void bf16_to_f32(const uint16_t* x, float* y, int64_t n);

// Integers to float: round to nearest even. (u8, i8 exact.)
void u8_to_f32(const uint8_t* x, float* y, int64_t n);
void i8_to_f32(const int8_t* x, float* y, int64_t n);
void i32_to_f32(const int32_t* x, float* y, int64_t n);
void i64_to_f32(const int64_t* x, float* y, int64_t n);
void bool_to_f32(const uint8_t* x, float* y, int64_t n);

// Float to integer: toward zero. Out of range saturates and NaN gives 0 (ONNX leaves both open).
void f32_to_u8(const float* x, uint8_t* y, int64_t n);
void f32_to_i8(const float* x, int8_t* y, int64_t n);
void f32_to_i32(const float* x, int32_t* y, int64_t n);
void f32_to_i64(const float* x, int64_t* y, int64_t n);
void f32_to_bool(const float* x, uint8_t* y, int64_t n);

// i64 -> i32 keeps the low 32 bits.
void i32_to_i64(const int32_t* x, int64_t* y, int64_t n);
void i64_to_i32(const int64_t* x, int32_t* y, int64_t n);

// y = saturate(round_half_even(x / scale) + zero). The division is a real division (bit-equal to
// the spec's formula). x is [outer, axis, inner] dense: scale and zero have `axis` elements; per
// tensor: axis = 1. Elements [begin, end) of the flat index. zero may be null (0).
void quantize_u8(const float* x, uint8_t* y, const float* scale, const uint8_t* zero, int64_t axis,
                 int64_t inner, int64_t begin, int64_t end);
void quantize_i8(const float* x, int8_t* y, const float* scale, const int8_t* zero, int64_t axis,
                 int64_t inner, int64_t begin, int64_t end);
// y = (x - zero) * scale.
void dequantize_u8(const uint8_t* x, float* y, const float* scale, const uint8_t* zero,
                   int64_t axis, int64_t inner, int64_t begin, int64_t end);
void dequantize_i8(const int8_t* x, float* y, const float* scale, const int8_t* zero, int64_t axis,
                   int64_t inner, int64_t begin, int64_t end);
void dequantize_i32(const int32_t* x, float* y, const float* scale, const int32_t* zero,
                    int64_t axis, int64_t inner, int64_t begin, int64_t end);

// Least and greatest of n elements (NaN is skipped; n = 0 or all NaN: min = +inf, max = -inf).
void min_max_f32(const float* x, int64_t n, float* min, float* max);
// scale and zero point of DynamicQuantizeLinear from the data's min and max.
void dynamic_quant_params(float min, float max, float* scale, uint8_t* zero);

}  // namespace onnxtool::simd
