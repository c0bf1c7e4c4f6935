// SPDX-License-Identifier: Apache-2.0
// Loads, stores and copies of elements of any type (eval_util.h).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

template <typename T>
const T* data_of(const Tensor& t) {
  return t.as<T>().data();
}

uint64_t sub_byte_code(const std::byte* data, int bits, int64_t i) {
  const int64_t bit = i * bits;
  uint64_t v = static_cast<uint64_t>(data[bit >> 3]);
  if ((bit & 7) + bits > 8) v |= static_cast<uint64_t>(data[(bit >> 3) + 1]) << 8;
  return v >> (bit & 7) & ((1u << bits) - 1);
}

void set_sub_byte_code(std::byte* data, int bits, int64_t i, unsigned code) {
  for (int b = 0; b < bits; ++b) {
    const int64_t bit = i * bits + b;
    const std::byte mask = std::byte(1u << (bit & 7));
    if (code >> b & 1)
      data[bit >> 3] |= mask;
    else
      data[bit >> 3] &= ~mask;
  }
}

int64_t sign_extend(uint64_t v, int bits) {
  return static_cast<int64_t>(v << (64 - bits)) >> (64 - bits);
}

uint8_t narrow_code(const Tensor& t, int64_t i) {
  const int bits = dtype_bits(t.dtype());
  if (bits == 8) return static_cast<uint8_t>(t.raw()[i]);
  return static_cast<uint8_t>(sub_byte_code(t.raw(), bits, i));
}

// Calls f(pointer to elements of the C++ type) for types that have one; false for the others.
template <typename F>
bool with_native(const Tensor& t, F&& f) {
  switch (t.dtype()) {
    case DType::kFloat: f(data_of<float>(t)); return true;
    case DType::kDouble: f(data_of<double>(t)); return true;
    case DType::kInt8: f(data_of<int8_t>(t)); return true;
    case DType::kUint8:
    case DType::kBool: f(data_of<uint8_t>(t)); return true;
    case DType::kInt16: f(data_of<int16_t>(t)); return true;
    case DType::kUint16: f(data_of<uint16_t>(t)); return true;
    case DType::kInt32: f(data_of<int32_t>(t)); return true;
    case DType::kUint32: f(data_of<uint32_t>(t)); return true;
    case DType::kInt64: f(data_of<int64_t>(t)); return true;
    case DType::kUint64: f(data_of<uint64_t>(t)); return true;
    default: return false;
  }
}

double slow_f64(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat16: return half_to_float(data_of<uint16_t>(t)[i]);
    case DType::kBfloat16: return bfloat16_to_float(data_of<uint16_t>(t)[i]);
    case DType::kUint4:
    case DType::kUint2: return static_cast<double>(narrow_code(t, i));
    case DType::kInt4:
    case DType::kInt2:
      return static_cast<double>(sign_extend(narrow_code(t, i), dtype_bits(t.dtype())));
    default: return is_float(t.dtype()) ? narrow_to_float(t.dtype(), narrow_code(t, i)) : 0.0;
  }
}

}  // namespace

int64_t to_int64(double d) {
  if (std::isnan(d)) return 0;
  if (d >= 0x1p63) return d < 0x1p64 ? static_cast<int64_t>(static_cast<uint64_t>(d)) : INT64_MAX;
  if (d <= -0x1p63) return INT64_MIN;
  return static_cast<int64_t>(d);
}

int64_t float_to_int(double d, DType to) {
  if (to == DType::kBool) return d != 0;
  d = std::trunc(d);
  const int bits = dtype_bits(to);
  if (to == DType::kUint64) return d < 0 ? to_int64(std::max(d, -0x1p63)) : to_int64(d);
  if (to == DType::kInt64 || to == DType::kUint32)
    return d >= -0x1p63 && d < 0x1p63 ? static_cast<int64_t>(d) : INT64_MIN;
  if (d >= -0x1p31 && d < 0x1p31) return static_cast<int64_t>(d);
  return bits == 32 ? INT32_MIN : 0;
}

float round_to_odd(double d) {
  const float f = static_cast<float>(d);
  if (!std::isfinite(f) || static_cast<double>(f) == d) {
    if (std::isinf(f) && std::isfinite(d))
      return std::copysign(3.4028234663852886e38f, f);  // odd mantissa: rounds on to infinity
    return f;
  }
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if (bits & 1) return f;
  // An even result was rounded; its odd neighbour on the side of d keeps the sticky bit.
  const bool larger = std::fabs(static_cast<double>(f)) > std::fabs(d);
  return std::bit_cast<float>(larger ? bits - 1 : bits + 1);
}

void load_f64(const Tensor& t, int64_t first, std::span<double> out, int64_t stride) {
  const int64_t n = static_cast<int64_t>(out.size());
  if (n == 0) return;
  const int64_t m = stride == 0 ? 1 : n;
  ONNXTOOL_CHECK(first >= 0 && m <= t.size() && first <= t.size() - m);
  const bool native = with_native(t, [&](const auto* p) {
    for (int64_t i = 0; i < m; ++i) out[i] = static_cast<double>(p[first + i]);
  });
  if (!native)
    for (int64_t i = 0; i < m; ++i) out[i] = slow_f64(t, first + i);
  std::fill(out.begin() + m, out.end(), out[0]);
}

void load_i64(const Tensor& t, int64_t first, std::span<int64_t> out, int64_t stride) {
  const int64_t n = static_cast<int64_t>(out.size());
  if (n == 0) return;
  const int64_t m = stride == 0 ? 1 : n;
  ONNXTOOL_CHECK(first >= 0 && m <= t.size() && first <= t.size() - m);
  const bool native = with_native(t, [&](const auto* p) {
    for (int64_t i = 0; i < m; ++i) {
      if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(*p)>>)
        out[i] = to_int64(p[first + i]);
      else
        out[i] = static_cast<int64_t>(p[first + i]);
    }
  });
  if (!native)
    for (int64_t i = 0; i < m; ++i) out[i] = to_int64(slow_f64(t, first + i));
  std::fill(out.begin() + m, out.end(), out[0]);
}

void store_f64(Tensor& t, int64_t first, std::span<const double> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  if (n == 0) return;
  ONNXTOOL_CHECK(first >= 0 && n <= t.size() && first <= t.size() - n);
  const DType type = t.dtype();
  switch (type) {
    case DType::kFloat: {
      const std::span<float> to = t.mut<float>();
      for (int64_t i = 0; i < n; ++i) to[first + i] = static_cast<float>(values[i]);
      return;
    }
    case DType::kDouble: std::copy_n(values.data(), n, t.mut<double>().data() + first); return;
    case DType::kFloat16:
    case DType::kBfloat16: {
      const std::span<uint16_t> to = t.mut<uint16_t>();
      for (int64_t i = 0; i < n; ++i)
        to[first + i] = type == DType::kFloat16 ? double_to_half(values[i])
                                                : float_to_bfloat16(round_to_odd(values[i]));
      return;
    }
    default: break;
  }
  if (is_float(type)) {
    std::byte* p = t.mutable_raw();
    const int bits = dtype_bits(type);
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t code = float_to_narrow(type, round_to_odd(values[i]));
      if (bits == 8)
        p[first + i] = std::byte(code);
      else
        set_sub_byte_code(p, bits, first + i, code);
    }
    return;
  }
  std::vector<int64_t> ints(values.size());
  for (int64_t i = 0; i < n; ++i) ints[i] = float_to_int(values[i], type);
  store_i64(t, first, ints);
}

void store_i64(Tensor& t, int64_t first, std::span<const int64_t> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  if (n == 0) return;
  ONNXTOOL_CHECK(first >= 0 && n <= t.size() && first <= t.size() - n);
  const DType type = t.dtype();
  if (is_float(type)) {
    if (type == DType::kFloat) {
      const std::span<float> to = t.mut<float>();
      for (int64_t i = 0; i < n; ++i) to[first + i] = static_cast<float>(values[i]);
      return;
    }
    std::vector<double> f(values.begin(), values.end());
    return store_f64(t, first, f);
  }
  std::byte* p = t.mutable_raw();
  const int bits = dtype_bits(type);
  for (int64_t i = 0; i < n; ++i) {
    if (type == DType::kBool) {
      p[first + i] = std::byte(values[i] != 0);
    } else if (bits >= 8) {
      std::memcpy(p + (first + i) * (bits / 8), &values[i], static_cast<size_t>(bits / 8));
    } else {
      set_sub_byte_code(p, bits, first + i, static_cast<unsigned>(values[i]) & ((1u << bits) - 1));
    }
  }
}

void copy_element(Tensor& dst, int64_t to, const Tensor& src, int64_t from) {
  copy_elements(dst, to, src, from, 1);
}

void copy_elements(Tensor& dst, int64_t to, const Tensor& src, int64_t from, int64_t count) {
  if (count <= 0) return;
  ONNXTOOL_CHECK(dst.dtype() == src.dtype() && to >= 0 && from >= 0);
  ONNXTOOL_CHECK(count <= dst.size() && to <= dst.size() - count);
  ONNXTOOL_CHECK(count <= src.size() && from <= src.size() - count);
  if (src.is_string()) {
    auto& d = dst.mut_strings();
    const auto& s = src.string_data();
    std::copy_n(s.begin() + from, count, d.begin() + to);
    return;
  }
  const int bits = dtype_bits(src.dtype());
  std::byte* d = dst.mutable_raw();
  if (bits >= 8) {
    const int64_t size = bits / 8;
    std::memcpy(d + to * size, src.raw() + from * size, static_cast<size_t>(count * size));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    set_sub_byte_code(d, bits, to + i,
                      static_cast<unsigned>(sub_byte_code(src.raw(), bits, from + i)));
}

}  // namespace onnxtool
