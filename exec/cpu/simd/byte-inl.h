// SPDX-License-Identifier: Apache-2.0
// Per-target parts of the kernels on 8-bit integers: exact dot products of four bytes, and the end
// of a tile of sums (byte_gemm.h).
#if defined(ONNXTOOL_EXEC_CPU_SIMD_BYTE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONNXTOOL_EXEC_CPU_SIMD_BYTE_INL_H_
#undef ONNXTOOL_EXEC_CPU_SIMD_BYTE_INL_H_
#else
#define ONNXTOOL_EXEC_CPU_SIMD_BYTE_INL_H_
#endif

#include <algorithm>

#include "exec/cpu/simd/byte_gemm.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {

using VI = hn::Vec<DI>;
using DB = hn::Repartition<uint8_t, DF>;
using D16 = hn::Repartition<int16_t, DF>;
using V16 = hn::Vec<D16>;
inline constexpr int kIntLanes = static_cast<int>(hn::MaxLanes(DI()));

// acc + a0 b0 + a1 b1 + a2 b2 + a3 b3 in each lane, a unsigned and b signed bytes.
struct WideDot {  // by products of 16-bit pairs
  static constexpr int kRows = 4;
  struct A {
    V16 even, odd;
  };
  struct B {
    V16 even, odd;
  };
  static HWY_INLINE A a(VI v) {
    const hn::RebindToUnsigned<D16> du;
    const auto x = hn::BitCast(du, v);
    return {hn::BitCast(D16(), hn::And(x, hn::Set(du, 255))),
            hn::BitCast(D16(), hn::ShiftRight<8>(x))};
  }
  static HWY_INLINE B b(VI v) {
    const V16 x = hn::BitCast(D16(), v);
    return {hn::ShiftRight<8>(hn::ShiftLeft<8>(x)), hn::ShiftRight<8>(x)};
  }
  static HWY_INLINE VI dot(VI acc, const A& a, const B& b) {
    return hn::Add(acc, hn::Add(pairs(a.even, b.even), pairs(a.odd, b.odd)));
  }
  // x0 y0 + x1 y1 of neighbours.
  static HWY_INLINE VI pairs(V16 x, V16 y) {
#if HWY_TARGET == HWY_AVX3
    return VI{_mm512_madd_epi16(x.raw, y.raw)};
#elif HWY_TARGET == HWY_AVX2
    return VI{_mm256_madd_epi16(x.raw, y.raw)};
#else
    const VI a = hn::BitCast(DI(), x), b = hn::BitCast(DI(), y);
    return hn::Add(hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b)),
                   hn::Mul(hn::ShiftRight<16>(hn::ShiftLeft<16>(a)),
                           hn::ShiftRight<16>(hn::ShiftLeft<16>(b))));
#endif
  }
};

#if HWY_TARGET == HWY_AVX3
// AVX-512 VNNI. The assembler knows it whatever the target; callers have asked the machine.
struct VnniDot {
  static constexpr int kRows = 6;
  using A = VI;
  using B = VI;
  static HWY_INLINE A a(VI v) { return v; }
  static HWY_INLINE B b(VI v) { return v; }
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
};
#endif

// First n floats of bytes as numbers.
template <class T>
HWY_INLINE VF bytes_to_float(const T* p, size_t n) {
  const hn::Rebind<T, DF> d;
  if (HWY_LIKELY(n >= static_cast<size_t>(kIntLanes)))
    return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(d, p)));
  alignas(64) T buf[kIntLanes] = {};
  std::memcpy(buf, p, n * sizeof(T));
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::Load(d, buf)));
}

// One operation on x[rows][kWidth]; m, n: of the tile in C.
template <int kWidth>
HWY_ATTR void tile_op(const TileOp& op, float* x, int64_t rows, int64_t m, int64_t n,
                      int64_t cols) {
  const DF d;
  if (op.kind == TileOp::kUnary) {
    op.fn(x, x, rows * kWidth, op.a, op.b);
    return;
  }
  const VF a = hn::Set(d, op.a), b = hn::Set(d, op.b), by = hn::Set(d, op.c);
  const auto each = [&](auto f) HWY_ATTR {  // f(x, index into data, lanes that exist)
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = (m + r) * op.ld + n;
      for (int64_t j = 0; j < cols; j += kIntLanes) {
        float* to = x + r * kWidth + j;
        hn::Store(f(hn::Load(d, to), at + j, static_cast<size_t>(cols - j)), d, to);
      }
    }
  };
  const auto* floats = static_cast<const float*>(op.data);
  switch (op.kind) {
    case TileOp::kClamp:
      each([&](VF v, int64_t, size_t) HWY_ATTR { return clamp_keep_nan(d, v, a, b); });
      break;
    case TileOp::kAffine:
      each([&](VF v, int64_t, size_t) HWY_ATTR { return hn::MulAdd(v, a, b); });
      break;
    case TileOp::kRound:
      each([&](VF v, int64_t, size_t)
               HWY_ATTR { return hn::Mul(clamp_keep_nan(d, hn::Round(v), a, b), by); });
      break;
    case TileOp::kAddF32:
      each([&](VF v, int64_t at, size_t rest)
               HWY_ATTR { return hn::MulAdd(v, by, hn::Mul(load_n(d, floats + at, rest), a)); });
      break;
    case TileOp::kMulF32:
      each([&](VF v, int64_t at, size_t rest)
               HWY_ATTR { return hn::Mul(v, hn::Mul(load_n(d, floats + at, rest), a)); });
      break;
    case TileOp::kAddU8:
      each([&](VF v, int64_t at, size_t rest) HWY_ATTR {
        const auto* codes = static_cast<const uint8_t*>(op.data);
        return hn::MulAdd(v, by, hn::MulAdd(bytes_to_float(codes + at, rest), a, b));
      });
      break;
    default:
      each([&](VF v, int64_t at, size_t rest) HWY_ATTR {
        const auto* codes = static_cast<const int8_t*>(op.data);
        return hn::MulAdd(v, by, hn::MulAdd(bytes_to_float(codes + at, rest), a, b));
      });
  }
}

HWY_INLINE VF sums_to_float(VI acc, const ByteEnd& e, int32_t row_sum, int64_t n) {
  const DF d;
  const DI di;
  acc = hn::Add(acc, hn::LoadU(di, e.offset + n));
  if (e.weight_zero != nullptr)
    acc = hn::Sub(acc, hn::Mul(hn::Set(di, row_sum), hn::LoadU(di, e.weight_zero + n)));
  return hn::MulAdd(hn::ConvertTo(d, acc), hn::LoadU(d, e.scale + n), hn::LoadU(d, e.bias + n));
}

// Codes of x, one byte in the low part of each lane.
HWY_INLINE VI quantized(VF x, const ByteEnd& e) {
  const DF d;
  const VF v = hn::Min(hn::Max(x, hn::Set(d, e.low)), hn::Set(d, e.high));
  return hn::Add(hn::NearestInt(v), hn::Set(DI(), e.zero));
}
HWY_INLINE void store_codes(VI code, ByteOut out, uint8_t* to) {
  const hn::Rebind<uint8_t, DF> du;
  const hn::Rebind<int8_t, DF> ds;
  if (out == ByteOut::kU8)
    hn::StoreU(hn::DemoteTo(du, code), du, to);
  else
    hn::StoreU(hn::DemoteTo(ds, code), ds, reinterpret_cast<int8_t*>(to));
}

#if HWY_TARGET == HWY_AVX3
// Ends that stay in registers: to codes, at once or after a first rounding and the addition of
// other codes (a convolution, quantized, added to the values of another branch).
inline bool only_codes(const ByteEnd& e) {
  if (e.out == ByteOut::kF32 || e.table != nullptr || e.out_scale != 1) return false;
  if (e.count == 0) return true;
  return e.count == 2 && e.ops[0].kind == TileOp::kRound &&
         (e.ops[1].kind == TileOp::kAddU8 || e.ops[1].kind == TileOp::kAddS8);
}

// The two operations of such an end on 16 columns, the first `rest` of which exist.
HWY_INLINE VF add_codes(VF x, const ByteEnd& e, int64_t m, int64_t n, int64_t rest) {
  const DF d;
  const TileOp &first = e.ops[0], &other = e.ops[1];
  const VF r = hn::Min(hn::Max(hn::Round(x), hn::Set(d, first.a)), hn::Set(d, first.b));
  const __mmask16 mask = rest >= 16 ? 0xFFFF : static_cast<__mmask16>((1 << rest) - 1);
  const __m128i bytes =
      _mm_maskz_loadu_epi8(mask, static_cast<const uint8_t*>(other.data) + m * other.ld + n);
  const VI codes = other.kind == TileOp::kAddU8 ? VI{_mm512_cvtepu8_epi32(bytes)}
                                                : VI{_mm512_cvtepi8_epi32(bytes)};
  const VF y = hn::MulAdd(hn::ConvertTo(d, codes), hn::Set(d, other.a), hn::Set(d, other.b));
  return hn::MulAdd(hn::Mul(r, hn::Set(d, first.c)), hn::Set(d, other.c), y);
}

// R rows of V vectors of sums in registers to codes.
template <int R, int V>
HWY_INLINE void store_codes_of(VI (&acc)[R][V], int64_t m, int64_t n, int64_t cols, void* c,
                               int64_t ldc, const ByteEnd& e) {
  const DF d;
  const DI di;
  const VF low = hn::Set(d, e.low), high = hn::Set(d, e.high);
  ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) {
    const int64_t at = n + v * kIntLanes;
    const VI offset = hn::LoadU(di, e.offset + at);
    const VF scale = hn::LoadU(d, e.scale + at), bias = hn::LoadU(d, e.bias + at);
    if (e.weight_zero != nullptr) {
      const VI zero = hn::LoadU(di, e.weight_zero + at);
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        acc[r][v] = hn::Sub(acc[r][v], hn::Mul(hn::Set(di, e.row_sum[m + r]), zero));
      }
    }
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
      VF x = hn::MulAdd(hn::ConvertTo(d, hn::Add(acc[r][v], offset)), scale, bias);
      if (e.count != 0) x = add_codes(x, e, m + r, at, cols - v * kIntLanes);
      acc[r][v] = hn::NearestInt(hn::Min(hn::Max(x, low), high));
    }
  }
  const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(e.zero));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __mmask64 mask = cols >= 64 ? ~uint64_t{0} : (uint64_t{1} << cols) - 1;
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
    const auto of = [&](int v) HWY_ATTR { return acc[r][v < V ? v : 0].raw; };
    const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(of(0), of(1)), zero);
    const __m512i b = V > 2 ? _mm512_adds_epi16(_mm512_packs_epi32(of(2), of(3)), zero) : a;
    const __m512i x = _mm512_permutexvar_epi32(
        order, e.out == ByteOut::kU8 ? _mm512_packus_epi16(a, b) : _mm512_packs_epi16(a, b));
    _mm512_mask_storeu_epi8(static_cast<uint8_t*>(c) + (m + r) * ldc + n, mask, x);
  }
}
#endif

// The sums acc[rows][kWidth] of a tile at (m, n) of C to their end.
inline constexpr int kTileRows = 8;  // at most
template <int kWidth>
HWY_ATTR void end_tile(const int32_t* acc, int64_t rows, int64_t m, int64_t n, int64_t cols,
                       void* c, int64_t ldc, const ByteEnd& e,
                       void (*table)(const uint8_t*, const uint8_t*, uint8_t*, int64_t)) {
  const DF d;
  alignas(64) float x[kTileRows * kWidth];
  const bool bytes = e.out != ByteOut::kF32;
  if (e.count > 0) {
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t sum = e.row_sum != nullptr ? e.row_sum[m + r] : 0;
      for (int64_t j = 0; j < cols; j += kIntLanes) {
        const int64_t i = r * kWidth + j;
        hn::Store(sums_to_float(hn::Load(DI(), acc + i), e, sum, n + j), d, x + i);
      }
    }
    for (int i = 0; i < e.count; ++i) tile_op<kWidth>(e.ops[i], x, rows, m, n, cols);
  }
  const VF scale = hn::Set(d, e.out_scale);
  alignas(64) uint8_t staged[kWidth + 64];
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t sum = e.row_sum != nullptr ? e.row_sum[m + r] : 0;
    uint8_t* to = static_cast<uint8_t*>(c) + (m + r) * ldc + n;
    uint8_t* codes = cols == kWidth ? to : staged;
    for (int64_t j = 0; j < cols; j += kIntLanes) {
      const auto rest = static_cast<size_t>(cols - j);
      VF v;
      if (e.count > 0) {
        v = hn::Load(d, x + r * kWidth + j);
        if (bytes) v = hn::Mul(v, scale);
      } else {
        v = sums_to_float(hn::Load(DI(), acc + r * kWidth + j), e, sum, n + j);
      }
      if (bytes)
        store_codes(quantized(v, e), e.out, codes + j);
      else
        store_n(v, d, static_cast<float*>(c) + (m + r) * ldc + n + j, rest);
    }
    if (!bytes) continue;
    if (e.table != nullptr)
      table(codes, e.table, to, cols);
    else if (codes != to)
      std::memcpy(to, codes, static_cast<size_t>(cols));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();
#endif
