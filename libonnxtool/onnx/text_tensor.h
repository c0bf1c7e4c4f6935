// SPDX-License-Identifier: Apache-2.0
// How the text syntax writes the elements of tensors, for reader and writer: which data field of
// TensorProto they go to, and the numbers that int32_data holds (onnx.proto).
#pragma once
#include "libonnxtool/base/dtype.h"
#include "libonnxtool/ir/attribute.h"

namespace onnxtool {

// "ints" and so on; "" for undefined.
const char* text_attr_name(AttrType t);

// float_data 4, int32_data 5, string_data 6, int64_data 7, double_data 10, uint64_data 11.
inline uint32_t text_data_field(DType t) {
  switch (t) {
    case DType::kFloat:
    case DType::kComplex64: return 4;
    case DType::kString: return 6;
    case DType::kInt64: return 7;
    case DType::kDouble:
    case DType::kComplex128: return 10;
    case DType::kUint32:
    case DType::kUint64: return 11;
    default: return 5;
  }
}

// Elements in one number of int32_data.
inline int text_per_number(DType t) {
  const int bits = dtype_bits(t);
  return bits > 0 && bits < 6 ? 8 / bits : 1;  // strings have none
}

// A number of int32_data is one for this type: a value, or the code of a float or of several
// elements. Codes that were sign-extended are taken too.
inline bool text_number_fits(DType t, int32_t v) {
  if (t == DType::kInt32) return true;
  const int bits = dtype_bits(t);
  if (t == DType::kBool) return v >= 0 && v < 256;
  if (is_integer(t) && bits >= 8)
    return v >= int_min_of(t) && v <= static_cast<int64_t>(int_max_of(t));
  if (bits == 6) return v >= 0 && v < 64;
  const int width = bits < 8 ? 8 : bits;
  return v >= -(1 << (width - 1)) && v < 1 << width;
}

}  // namespace onnxtool
