// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

namespace onnxtool {
namespace {

enum Kind : uint8_t { kNone, kUnsigned, kSigned, kReal, kComplex };
struct Info {
  const char* name;
  uint8_t bits;
  Kind kind;
};
constexpr Info kInfo[kDTypeCount] = {
    {"undefined", 0, kNone},      {"float", 32, kReal},
    {"uint8", 8, kUnsigned},      {"int8", 8, kSigned},
    {"uint16", 16, kUnsigned},    {"int16", 16, kSigned},
    {"int32", 32, kSigned},       {"int64", 64, kSigned},
    {"string", 0, kNone},         {"bool", 8, kNone},
    {"float16", 16, kReal},       {"double", 64, kReal},
    {"uint32", 32, kUnsigned},    {"uint64", 64, kUnsigned},
    {"complex64", 64, kComplex},  {"complex128", 128, kComplex},
    {"bfloat16", 16, kReal},      {"float8e4m3fn", 8, kReal},
    {"float8e4m3fnuz", 8, kReal}, {"float8e5m2", 8, kReal},
    {"float8e5m2fnuz", 8, kReal}, {"uint4", 4, kUnsigned},
    {"int4", 4, kSigned},         {"float4e2m1", 4, kReal},
    {"float8e8m0", 8, kReal},     {"uint2", 2, kUnsigned},
    {"int2", 2, kSigned},         {"float6e2m3", 6, kReal},
    {"float6e3m2", 6, kReal},
};
const Info& info(DType t) {
  return kInfo[static_cast<size_t>(t) < kDTypeCount ? static_cast<size_t>(t) : 0];
}

// A small binary float: `exp` exponent bits, `man` mantissa bits, exponent bias, and which codes
// are special (OCP OFP8 and MX specifications; the fnuz variants have NaN at negative zero).
struct Format {
  int exp, man, bias;
  bool inf;       // all-ones exponent holds infinity and NaN as in IEEE
  bool fnuz;      // 0x80 is NaN, no negative zero
  bool nan_ones;  // all ones is NaN (e4m3fn)
};
constexpr Format format_of(DType t) {
  switch (t) {
    case DType::kFloat8e4m3fn: return {4, 3, 7, false, false, true};
    case DType::kFloat8e4m3fnuz: return {4, 3, 8, false, true, false};
    case DType::kFloat8e5m2: return {5, 2, 15, true, false, false};
    case DType::kFloat8e5m2fnuz: return {5, 2, 16, false, true, false};
    case DType::kFloat4e2m1: return {2, 1, 1, false, false, false};
    case DType::kFloat6e2m3: return {2, 3, 1, false, false, false};
    default: return {3, 2, 3, false, false, false};  // float6e3m2
  }
}

}  // namespace

int dtype_bits(DType t) { return info(t).bits; }
std::string_view dtype_name(DType t) { return info(t).name; }
std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 1; i < kDTypeCount; ++i)
    if (name == kInfo[i].name) return static_cast<DType>(i);
  return std::nullopt;
}
bool dtype_known(int32_t n) { return n >= 1 && n < kDTypeCount; }
bool is_float(DType t) { return info(t).kind == kReal; }
bool is_integer(DType t) { return info(t).kind == kUnsigned || info(t).kind == kSigned; }
bool is_signed_integer(DType t) { return info(t).kind == kSigned; }
bool is_complex(DType t) { return info(t).kind == kComplex; }
bool is_sub_byte(DType t) { return info(t).bits != 0 && info(t).bits < 8; }

std::optional<int64_t> raw_bytes(DType t, int64_t count) {
  const int bits = dtype_bits(t);
  if (bits == 0 || count < 0) return std::nullopt;
  int64_t total;
  if (bits >= 8) {
    if (__builtin_mul_overflow(count, static_cast<int64_t>(bits / 8), &total)) return std::nullopt;
    return total;
  }
  if (count > INT64_MAX / 8) return std::nullopt;
  return (count * bits + 7) / 8;  // 6-bit elements are one contiguous bit stream
}

int64_t int_min_of(DType t) {
  if (!is_signed_integer(t)) return 0;
  return dtype_bits(t) == 64 ? std::numeric_limits<int64_t>::min()
                             : -(int64_t{1} << (dtype_bits(t) - 1));
}
uint64_t int_max_of(DType t) {
  const int bits = t == DType::kBool ? 1 : dtype_bits(t) - (is_signed_integer(t) ? 1 : 0);
  return bits >= 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
}

float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exp = h >> 10 & 31, man = h & 0x3FF;
  if (exp == 31) return std::bit_cast<float>(sign | 0x7F800000 | man << 13);
  if (exp != 0) return std::bit_cast<float>(sign | (exp + 112) << 23 | man << 13);
  const float f = static_cast<float>(man) * 0x1p-24f;
  return sign ? -f : f;
}

uint16_t double_to_half(double d) {
  const uint16_t sign = std::signbit(d) ? 0x8000 : 0;
  if (std::isnan(d)) return sign | 0x7E00;
  const double a = std::fabs(d);
  if (a >= 65520.0) return sign | 0x7C00;
  if (a < 0x1p-14) return sign | static_cast<uint16_t>(std::nearbyint(a * 0x1p24));
  int e;
  std::frexp(a, &e);  // a = m * 2^e, m in [0.5, 1)
  const auto m = static_cast<uint32_t>(std::nearbyint(std::ldexp(a, 11 - e)));  // 1024..2048
  return static_cast<uint16_t>(sign | ((static_cast<uint32_t>(e + 14) << 10) + (m - 1024)));
}
uint16_t float_to_half(float f) { return double_to_half(f); }

float bfloat16_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }
uint16_t float_to_bfloat16(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f);
  if (std::isnan(f)) return static_cast<uint16_t>(u >> 16 | 0x40);
  u += 0x7FFF + (u >> 16 & 1);
  return static_cast<uint16_t>(u >> 16);
}

float narrow_to_float(DType t, uint8_t code) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (t == DType::kFloat8e8m0) return code == 255 ? kNan : std::ldexp(1.0f, code - 127);
  const Format f = format_of(t);
  const int bits = 1 + f.exp + f.man;
  code &= static_cast<uint8_t>((1 << bits) - 1);
  const bool neg = code >> (bits - 1) & 1;
  const int exp = code >> f.man & ((1 << f.exp) - 1), man = code & ((1 << f.man) - 1);
  const int ones = (1 << f.exp) - 1;
  if (f.fnuz && neg && exp == 0 && man == 0) return kNan;
  if (f.inf && exp == ones) {
    if (man) return kNan;
    return neg ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
  }
  if (f.nan_ones && exp == ones && man == (1 << f.man) - 1) return kNan;
  const float m = exp ? static_cast<float>((1 << f.man) + man) : static_cast<float>(man);
  const float v = std::ldexp(m, (exp ? exp : 1) - f.bias - f.man);
  return neg ? -v : v;
}

uint8_t float_to_narrow(DType t, float x, bool saturate) {
  if (t == DType::kFloat8e8m0) {  // a power of two, nearest with ties away from zero in value
    if (std::isnan(x)) return 255;
    const float a = std::fabs(x);
    if (std::isinf(a)) return saturate ? 254 : 255;
    if (a < 0x1p-127f) return 0;
    int e;
    const float m = std::frexp(a, &e);  // a = m * 2^e
    const int code = e - 1 + 127 + (m >= 0.75f ? 1 : 0);
    return static_cast<uint8_t>(code < 0 ? 0 : code > 254 ? (saturate ? 254 : 255) : code);
  }
  const Format f = format_of(t);
  const int bits = 1 + f.exp + f.man;
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 1 << (bits - 1) : 0);
  const int ones = (1 << f.exp) - 1, top = (1 << (bits - 1)) - 1;
  const int nan = f.fnuz       ? 1 << (bits - 1)
                  : f.inf      ? ones << f.man | 1 << (f.man - 1)
                  : f.nan_ones ? top
                               : -1;
  const int largest = f.inf ? (ones << f.man) - 1 : f.nan_ones ? top - 1 : top;
  if (std::isnan(x)) {
    if (nan < 0) return static_cast<uint8_t>(top + 1);  // no NaN in 4 and 6 bits: -0, as ml_dtypes
    return f.fnuz ? static_cast<uint8_t>(nan) : static_cast<uint8_t>(sign | nan);
  }
  const auto overflow = [&]() -> uint8_t {
    if (saturate || nan < 0) return static_cast<uint8_t>(sign | largest);
    if (f.inf) return static_cast<uint8_t>(sign | ones << f.man);
    return f.fnuz ? static_cast<uint8_t>(nan) : static_cast<uint8_t>(sign | nan);
  };
  const double a = std::fabs(static_cast<double>(x));
  if (std::isinf(a)) {
    if (f.inf && !saturate) return static_cast<uint8_t>(sign | ones << f.man);
    return overflow();
  }
  if (a == 0) return f.fnuz ? 0 : sign;
  int e;
  std::frexp(a, &e);
  const int exp = e - 1 < 1 - f.bias ? 1 - f.bias : e - 1;  // unbiased exponent of the grid
  const double scaled = std::nearbyint(std::ldexp(a, f.man - exp));
  const double code = scaled + (static_cast<double>(exp + f.bias - 1) * (1 << f.man));
  if (code > largest) return overflow();
  const auto c = static_cast<uint8_t>(code);
  if (c == 0 && f.fnuz) return 0;
  return static_cast<uint8_t>(sign | c);
}

}  // namespace onnxtool
