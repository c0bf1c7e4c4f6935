// SPDX-License-Identifier: Apache-2.0
// Products of 8-bit integers (byte_gemm.h).
#include "exec/cpu/simd/byte_gemm.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/byte_gemm.cc"
#include <hwy/foreach_target.h>

#include <array>
#include <utility>

#include "exec/cpu/simd/byte-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX3
constexpr int kNv = 4;
#else
constexpr int kNv = 2;
#endif
constexpr int kWidth = kNv * kIntLanes;

// Where a tile lies in C, for what ends in registers.
struct TileEnd {
  const ByteEnd* e = nullptr;  // null: sums are wanted
  int64_t m = 0, n = 0, cols = 0, ldc = 0;
  void* c = nullptr;
};

// sums[r][0..V vectors) = sum_k a[r, k] b[k, ...], r < R.
template <class Dot, int R, int V>
HWY_NOINLINE HWY_ATTR void byte_tile(const uint8_t* a, int64_t lda, const int8_t* b, int64_t groups,
                                     int32_t* sums, const TileEnd& end) {
  const DI di;
  VI acc[R][V];
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
    ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::Zero(di);
  }
  for (int64_t g = 0; g < groups; ++g, a += 4, b += kWidth * 4) {
    typename Dot::B bv[V];
    ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) {
      bv[v] = Dot::b(hn::LoadU(di, reinterpret_cast<const int32_t*>(b) + v * kIntLanes));
    }
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
      int32_t four;
      std::memcpy(&four, a + r * lda, sizeof(four));
      const auto av = Dot::a(hn::Set(di, four));
      ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = Dot::dot(acc[r][v], av, bv[v]);
    }
  }
#if HWY_TARGET == HWY_AVX3
  if (end.e != nullptr)
    return store_codes_of<R, V>(acc, end.m, end.n, end.cols, end.c, end.ldc, *end.e);
#endif
  (void)end;
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
    ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) {
      hn::Store(acc[r][v], di, sums + r * kWidth + v * kIntLanes);
    }
  }
}

using TileFn = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int32_t*, const TileEnd&);
template <class Dot, int R, size_t... V>
constexpr std::array<TileFn, kNv> tiles_of_row(std::index_sequence<V...>) {
  return {byte_tile<Dot, R, static_cast<int>(V) + 1>...};
}
template <class Dot, size_t... R>
constexpr std::array<std::array<TileFn, kNv>, Dot::kRows> tiles(std::index_sequence<R...>) {
  return {tiles_of_row<Dot, static_cast<int>(R) + 1>(std::make_index_sequence<kNv>())...};
}

HWY_INLINE void table_bytes(const uint8_t* x, const uint8_t* t, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = t[x[i]];
}
#if HWY_TARGET == HWY_AVX3
// Two permutations of 128 bytes (VBMI) cover the table.
HWY_ATTR void table_vbmi(const uint8_t* x, const uint8_t* t, uint8_t* y, int64_t n) {
  const DB d;
  const auto t0 = hn::LoadU(d, t), t1 = hn::LoadU(d, t + 64), t2 = hn::LoadU(d, t + 128),
             t3 = hn::LoadU(d, t + 192);
  for (int64_t i = 0; i < n; i += 64) {
    const auto rest = static_cast<size_t>(n - i);
    const auto v = load_n(d, x + i, rest);
    auto low = v.raw, high = v.raw;
    asm("vpermi2b %2, %1, %0" : "+v"(low) : "v"(t0.raw), "v"(t1.raw));
    asm("vpermi2b %2, %1, %0" : "+v"(high) : "v"(t2.raw), "v"(t3.raw));
    const auto r = hn::Vec<DB>{_mm512_mask_mov_epi8(low, _mm512_movepi8_mask(v.raw), high)};
    store_n(r, d, y + i, rest);
  }
}
#endif

template <class Dot>
HWY_ATTR void gemm(const uint8_t* a, int64_t lda, const int8_t* packed, void* c, int64_t ldc,
                   int64_t k, int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1,
                   const ByteEnd& e, bool vbmi) {
  static constexpr auto kTiles = tiles<Dot>(std::make_index_sequence<Dot::kRows>());
  alignas(64) int32_t sums[Dot::kRows * kWidth];
  const int64_t groups = byte_gemm_k(k) / 4;
  auto* table = table_bytes;
  bool codes = false;
#if HWY_TARGET == HWY_AVX3
  if (vbmi) table = table_vbmi;
  codes = only_codes(e);
#else
  (void)vbmi;
#endif
  for (int64_t p = panel0; p < panel1; ++p) {
    const int64_t at = p * kWidth, cols = std::min<int64_t>(kWidth, n - at);
    const int8_t* b = packed + p * groups * kWidth * 4;
    for (int64_t m = m0; m < m1; m += Dot::kRows) {
      const int64_t rows = std::min<int64_t>(Dot::kRows, m1 - m);
      kTiles[static_cast<size_t>(rows - 1)][static_cast<size_t>((cols - 1) / kIntLanes)](
          a + m * lda, lda, b, groups, sums, TileEnd{codes ? &e : nullptr, m, at, cols, ldc, c});
      if (!codes) end_tile<kWidth>(sums, rows, m, at, cols, c, ldc, e, table);
    }
  }
}

void gemm_wide(const uint8_t* a, int64_t lda, const int8_t* packed, void* c, int64_t ldc, int64_t k,
               int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1, const ByteEnd& e,
               bool vnni, bool vbmi) {
#if HWY_TARGET == HWY_AVX3
  if (vnni) return gemm<VnniDot>(a, lda, packed, c, ldc, k, n, m0, m1, panel0, panel1, e, vbmi);
#endif
  (void)vnni;
  gemm<WideDot>(a, lda, packed, c, ldc, k, n, m0, m1, panel0, panel1, e, vbmi);
}

void row_sums(const uint8_t* a, int64_t lda, int64_t k, int64_t m0, int64_t m1, int32_t* sum) {
  const DB d;
  const hn::Repartition<uint64_t, DF> d64;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t m = m0; m < m1; ++m) {
    auto s = hn::Zero(d64);
    for (int64_t i = 0; i < k; i += lanes)
      s = hn::Add(s, hn::SumsOf8(load_n(d, a + m * lda + i, static_cast<size_t>(k - i))));
    sum[m] = static_cast<int32_t>(hn::GetLane(hn::SumOfLanes(d64, s)));
  }
}

void table_u8(const uint8_t* x, const uint8_t* t, uint8_t* y, int64_t n, bool vbmi) {
#if HWY_TARGET == HWY_AVX3
  if (vbmi) return table_vbmi(x, t, y, n);
#endif
  (void)vbmi;
  table_bytes(x, t, y, n);
}
void table_f32(const uint8_t* x, const float* t, float* y, int64_t n) {
  const DF d;
  const hn::Rebind<uint8_t, DF> db;
  int64_t i = 0;
  for (; i + kIntLanes <= n; i += kIntLanes)
    hn::StoreU(hn::GatherIndex(d, t, hn::PromoteTo(DI(), hn::LoadU(db, x + i))), d, y + i);
  for (; i < n; ++i) y[i] = t[x[i]];
}
void flip(const uint8_t* x, uint8_t* y, int64_t n) {
  const DB d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto top = hn::Set(d, 0x80);
  for (int64_t i = 0; i < n; i += lanes) {
    const auto rest = static_cast<size_t>(n - i);
    store_n(hn::Xor(load_n(d, x + i, rest), top), d, y + i, rest);
  }
}

int width() { return kWidth; }
int rows(bool vnni) {
#if HWY_TARGET == HWY_AVX3
  if (vnni) return VnniDot::kRows;
#endif
  (void)vnni;
  return WideDot::kRows;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(gemm_wide);
HWY_EXPORT(row_sums);
HWY_EXPORT(table_u8);
HWY_EXPORT(table_f32);
HWY_EXPORT(flip);
HWY_EXPORT(width);
HWY_EXPORT(rows);

namespace {

bool without_vnni = false;
[[maybe_unused]] bool has(bool feature) { return feature && !without_vnni; }
bool vbmi() {
#if HWY_ARCH_X86
  static const bool found = __builtin_cpu_supports("avx512vbmi");
  return has(found);
#else
  return false;
#endif
}

}  // namespace

bool have_vnni() {
#if HWY_ARCH_X86
  static const bool found = __builtin_cpu_supports("avx512vnni");
  return has(found);
#else
  return false;
#endif
}
void use_vnni_for_test(bool use) { without_vnni = !use; }

int byte_gemm_mr() { return HWY_DYNAMIC_DISPATCH(rows)(have_vnni()); }
int byte_gemm_nr() { return HWY_DYNAMIC_DISPATCH(width)(); }

int64_t packed_bytes(int64_t k, int64_t n) {
  const int64_t nr = byte_gemm_nr();
  return (n + nr - 1) / nr * nr * byte_gemm_k(k);
}

void pack_bytes(const int8_t* b, int64_t k_stride, int64_t n_stride, uint8_t flip, int64_t k,
                int64_t n, int8_t* packed, int64_t panel0, int64_t panel1) {
  const int64_t nr = byte_gemm_nr(), groups = byte_gemm_k(k) / 4;
  for (int64_t p = panel0; p < panel1; ++p) {
    int8_t* to = packed + p * groups * nr * 4;
    const int64_t cols = std::min(nr, n - p * nr);
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t j = 0; j < nr; ++j)
        for (int64_t i = g * 4; i < g * 4 + 4; ++i)
          *to++ = i < k && j < cols
                      ? static_cast<int8_t>(
                            static_cast<uint8_t>(b[i * k_stride + (p * nr + j) * n_stride]) ^ flip)
                      : int8_t{0};
  }
}

void byte_gemm(const uint8_t* a, int64_t lda, const int8_t* packed, void* c, int64_t ldc, int64_t k,
               int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1,
               const ByteEnd& e) {
  HWY_DYNAMIC_DISPATCH(gemm_wide)
  (a, lda, packed, c, ldc, k, n, m0, m1, panel0, panel1, e, have_vnni(), vbmi());
}
void byte_row_sums(const uint8_t* a, int64_t lda, int64_t k, int64_t m0, int64_t m1, int32_t* sum) {
  HWY_DYNAMIC_DISPATCH(row_sums)(a, lda, k, m0, m1, sum);
}
void byte_table(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(table_u8)(x, table, y, n, vbmi());
}
void byte_table_f32(const uint8_t* x, const float* table, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(table_f32)(x, table, y, n);
}
void flip_bytes(const uint8_t* x, uint8_t* y, int64_t n) { HWY_DYNAMIC_DISPATCH(flip)(x, y, n); }

}  // namespace onnxtool::simd
#endif
