// SPDX-License-Identifier: Apache-2.0
// Element types, numbered as in onnx.proto TensorProto.DataType, with their sizes and the
// conversions of the narrow floats (IEEE binary16, bfloat16, OCP 8-, 6- and 4-bit formats).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onnxtool {

enum class DType : uint8_t {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16,
  kFloat8e4m3fn = 17,
  kFloat8e4m3fnuz = 18,
  kFloat8e5m2 = 19,
  kFloat8e5m2fnuz = 20,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4e2m1 = 23,
  kFloat8e8m0 = 24,
  kUint2 = 25,
  kInt2 = 26,
  kFloat6e2m3 = 27,
  kFloat6e3m2 = 28,
};
inline constexpr int kDTypeCount = 29;

// Bits of one element in raw data; 0 for string and undefined.
int dtype_bits(DType t);
// "float", "int64": the names of the ONNX text syntax and of type strings.
std::string_view dtype_name(DType t);
std::optional<DType> dtype_from_name(std::string_view name);
bool dtype_known(int32_t number);  // 1..28

// float, double, float16, bfloat16 and the 8-, 6- and 4-bit floats
bool is_float(DType t);
bool is_integer(DType t);  // signed and unsigned, 2 to 64 bits; not bool
bool is_signed_integer(DType t);
bool is_complex(DType t);
bool is_sub_byte(DType t);  // packed several to a byte

// Bytes of `count` elements in raw data, sub-byte types packed low bits first; nullopt on overflow
// or for string and undefined.
std::optional<int64_t> raw_bytes(DType t, int64_t count);

// Smallest and largest value of an integer type, as int64 (uint64's largest is -1 as bits).
int64_t int_min_of(DType t);
uint64_t int_max_of(DType t);

float half_to_float(uint16_t h);
uint16_t float_to_half(float f);  // round to nearest even, overflow to infinity
uint16_t double_to_half(double d);
float bfloat16_to_float(uint16_t b);
uint16_t float_to_bfloat16(float f);  // round to nearest even
// The narrow formats by DType (8 bits and fewer): code in the low bits.
float narrow_to_float(DType t, uint8_t code);
// saturate as in ONNX Cast's `saturate`; round to nearest even; e8m0: see round_up/nearest below.
uint8_t float_to_narrow(DType t, float f, bool saturate = true);

}  // namespace onnxtool
