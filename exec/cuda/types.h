// SPDX-License-Identifier: Apache-2.0
// Element types on the device, and the choice of one by DType.
#pragma once
#include <cuda_runtime.h>
#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif

#include <cstdint>
#include <cstring>

#include "libonnxtool/base/dtype.h"

namespace onnxtool::cuda {

struct half_t {
  uint16_t bits;
};
struct bfloat_t {
  uint16_t bits;
};

__host__ __device__ inline float from_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
__host__ __device__ inline uint32_t to_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

template <typename T>
__device__ inline float to_float(T x) {
  return static_cast<float>(x);
}
template <>
__device__ inline float to_float(half_t x) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(x.bits));
#elif !defined(__CUDACC__)
  return half_to_float(x.bits);
#else
  return 0;  // never compiled for the host
#endif
}
template <>
__device__ inline float to_float(bfloat_t x) {
  return from_bits(uint32_t{x.bits} << 16);
}

// Round to nearest even. Integers: toward zero, saturated, NaN gives 0 (as the CPU's chains).
template <typename T>
struct FromFloat {
  static __device__ T of(float x) {
    constexpr bool is_signed = T(-1) < T(0);
    const double low = is_signed ? -static_cast<double>(uint64_t{1} << (8 * sizeof(T) - 1)) : 0;
    const double high =
        is_signed ? -low : 2 * static_cast<double>(uint64_t{1} << (8 * sizeof(T) - 1));
    if (x != x) return 0;
    if (x <= low) return static_cast<T>(is_signed ? uint64_t{1} << (8 * sizeof(T) - 1) : 0);
    if (x >= high)
      return static_cast<T>(is_signed ? ~(uint64_t{1} << (8 * sizeof(T) - 1)) : ~uint64_t{0});
    return static_cast<T>(x);
  }
};
template <>
struct FromFloat<float> {
  static __device__ float of(float x) { return x; }
};
template <>
struct FromFloat<double> {
  static __device__ double of(float x) { return x; }
};
template <>
struct FromFloat<bool> {
  static __device__ bool of(float x) { return x != 0; }
};
template <>
struct FromFloat<half_t> {
  static __device__ half_t of(float x) {
#ifdef __CUDA_ARCH__
    return {__half_as_ushort(__float2half_rn(x))};
#elif !defined(__CUDACC__)
    return {float_to_half(x)};
#else
    return {};
#endif
  }
};
template <>
struct FromFloat<bfloat_t> {
  static __device__ bfloat_t of(float x) {
    const uint32_t u = to_bits(x);
    if (x != x) return {static_cast<uint16_t>(u >> 16 | 0x40)};
    return {static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16)};
  }
};
template <typename T>
__device__ inline T from_float(float x) {
  return FromFloat<T>::of(x);
}

// An element of a type known only when running. Types: those of edge_type().
__device__ inline float load_as_float(const void* p, int64_t i, DType t) {
  switch (t) {
    case DType::kFloat: return static_cast<const float*>(p)[i];
    case DType::kFloat16: return to_float(static_cast<const half_t*>(p)[i]);
    case DType::kBfloat16: return to_float(static_cast<const bfloat_t*>(p)[i]);
    case DType::kBool: return static_cast<const uint8_t*>(p)[i] != 0 ? 1.f : 0.f;
    case DType::kUint8: return to_float(static_cast<const uint8_t*>(p)[i]);
    case DType::kInt8: return to_float(static_cast<const int8_t*>(p)[i]);
    case DType::kInt32: return to_float(static_cast<const int32_t*>(p)[i]);
    default: return to_float(static_cast<const int64_t*>(p)[i]);
  }
}
__device__ inline void store_float(void* p, int64_t i, DType t, float x) {
  switch (t) {
    case DType::kFloat: static_cast<float*>(p)[i] = x; break;
    case DType::kFloat16: static_cast<half_t*>(p)[i] = from_float<half_t>(x); break;
    case DType::kBfloat16: static_cast<bfloat_t*>(p)[i] = from_float<bfloat_t>(x); break;
    case DType::kBool: static_cast<bool*>(p)[i] = x != 0; break;
    case DType::kUint8: static_cast<uint8_t*>(p)[i] = from_float<uint8_t>(x); break;
    case DType::kInt8: static_cast<int8_t*>(p)[i] = from_float<int8_t>(x); break;
    case DType::kInt32: static_cast<int32_t*>(p)[i] = from_float<int32_t>(x); break;
    default: static_cast<int64_t*>(p)[i] = from_float<int64_t>(x);
  }
}
inline bool edge_type(DType t) {
  switch (t) {
    case DType::kFloat:
    case DType::kFloat16:
    case DType::kBfloat16:
    case DType::kBool:
    case DType::kUint8:
    case DType::kInt8:
    case DType::kInt32:
    case DType::kInt64: return true;
    default: return false;
  }
}

// Calls f(T{}) with the type for t and says so; false: not one of float, float16, bfloat16.
template <typename F>
bool with_float_type(DType t, F&& f) {
  switch (t) {
    case DType::kFloat: f(float{}); return true;
    case DType::kFloat16: f(half_t{}); return true;
    case DType::kBfloat16: f(bfloat_t{}); return true;
    default: return false;
  }
}
// The same for unsigned types of 1, 2, 4, 8 and 16 bytes: data that is only moved.
struct alignas(16) uint128_t {
  uint64_t a, b;
};
template <typename F>
bool with_bytes(int size, F&& f) {
  switch (size) {
    case 1: f(uint8_t{}); return true;
    case 2: f(uint16_t{}); return true;
    case 4: f(uint32_t{}); return true;
    case 8: f(uint64_t{}); return true;
    case 16: f(uint128_t{}); return true;
    default: return false;
  }
}

}  // namespace onnxtool::cuda
