// SPDX-License-Identifier: Apache-2.0
// The two-dimensional core of transposes (transpose.h): square tiles in registers, walked so that a
// strip of source lines is used whole and destination rows are written front to back.
#include "exec/cpu/simd/transpose.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/transpose.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// A tile kernel moves kSide x kSide elements: dst row r = source column r.
struct Tile1 {
  using T = uint8_t;
  static constexpr int64_t kSide = 8;
  static HWY_INLINE void move(const T* s, int64_t sc, T* d, int64_t dr) {
    const hn::Full64<T> d8;
    const hn::Full128<T> d16;
    const hn::Full128<uint16_t> w;
    const hn::Full128<uint32_t> q;
    const auto at = [&](int64_t c) HWY_ATTR { return hn::LoadU(d8, s + c * sc); };
    const auto zip = [&](int64_t a, int64_t b) HWY_ATTR {  // a0 b0 a1 b1 ...
      const auto x = hn::ZeroExtendVector(d16, at(a)), y = hn::ZeroExtendVector(d16, at(b));
      return hn::BitCast(w, hn::InterleaveLower(d16, x, y));
    };
    const auto p01 = zip(0, 1), p23 = zip(2, 3), p45 = zip(4, 5), p67 = zip(6, 7);
    const auto l0 = hn::BitCast(q, hn::InterleaveLower(w, p01, p23));  // rows 0-3, cols 0-3
    const auto h0 = hn::BitCast(q, hn::InterleaveUpper(w, p01, p23));  // rows 4-7
    const auto l1 = hn::BitCast(q, hn::InterleaveLower(w, p45, p67));
    const auto h1 = hn::BitCast(q, hn::InterleaveUpper(w, p45, p67));
    alignas(16) T out[64];
    hn::Store(hn::BitCast(d16, hn::InterleaveLower(q, l0, l1)), d16, out);
    hn::Store(hn::BitCast(d16, hn::InterleaveUpper(q, l0, l1)), d16, out + 16);
    hn::Store(hn::BitCast(d16, hn::InterleaveLower(q, h0, h1)), d16, out + 32);
    hn::Store(hn::BitCast(d16, hn::InterleaveUpper(q, h0, h1)), d16, out + 48);
    for (int64_t r = 0; r < 8; ++r) std::memcpy(d + r * dr, out + 8 * r, 8);
  }
};

struct Tile2 {
  using T = uint16_t;
  static constexpr int64_t kSide = 8;
  static HWY_INLINE void move(const T* s, int64_t sc, T* d, int64_t dr) {
    const hn::Full128<T> w;
    const hn::Full128<uint32_t> q;
    const hn::Full128<uint64_t> o;
    const auto at = [&](int64_t c) HWY_ATTR { return hn::LoadU(w, s + c * sc); };
    const auto a0 = at(0), a1 = at(1), a2 = at(2), a3 = at(3);
    const auto a4 = at(4), a5 = at(5), a6 = at(6), a7 = at(7);
    const auto l01 = hn::BitCast(q, hn::InterleaveLower(w, a0, a1));
    const auto u01 = hn::BitCast(q, hn::InterleaveUpper(w, a0, a1));
    const auto l23 = hn::BitCast(q, hn::InterleaveLower(w, a2, a3));
    const auto u23 = hn::BitCast(q, hn::InterleaveUpper(w, a2, a3));
    const auto l45 = hn::BitCast(q, hn::InterleaveLower(w, a4, a5));
    const auto u45 = hn::BitCast(q, hn::InterleaveUpper(w, a4, a5));
    const auto l67 = hn::BitCast(q, hn::InterleaveLower(w, a6, a7));
    const auto u67 = hn::BitCast(q, hn::InterleaveUpper(w, a6, a7));
    const auto put = [&](int64_t r, hn::Vec<hn::Full128<uint32_t>> x,
                         hn::Vec<hn::Full128<uint32_t>> y) HWY_ATTR {
      const auto p = hn::BitCast(o, x), t = hn::BitCast(o, y);
      hn::StoreU(hn::BitCast(w, hn::InterleaveLower(o, p, t)), w, d + r * dr);
      hn::StoreU(hn::BitCast(w, hn::InterleaveUpper(o, p, t)), w, d + (r + 1) * dr);
    };
    put(0, hn::InterleaveLower(q, l01, l23), hn::InterleaveLower(q, l45, l67));
    put(2, hn::InterleaveUpper(q, l01, l23), hn::InterleaveUpper(q, l45, l67));
    put(4, hn::InterleaveLower(q, u01, u23), hn::InterleaveLower(q, u45, u67));
    put(6, hn::InterleaveUpper(q, u01, u23), hn::InterleaveUpper(q, u45, u67));
  }
};

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
struct Tile4 {
  using T = uint32_t;
  static constexpr int64_t kSide = 8;
  static HWY_INLINE void move(const T* s, int64_t sc, T* d, int64_t dr) {
    const hn::Full128<T> h;
    const hn::Full256<T> w;
    const hn::Full256<uint64_t> o;
    // Columns c and c + 4 share a vector: four 4x4 transposes inside the 128-bit halves.
    const auto pair = [&](int64_t c, int64_t r) HWY_ATTR {
      return hn::Combine(w, hn::LoadU(h, s + (c + 4) * sc + r), hn::LoadU(h, s + c * sc + r));
    };
    for (int64_t r = 0; r < 8; r += 4) {
      const auto a = pair(0, r), b = pair(1, r), c = pair(2, r), e = pair(3, r);
      const auto l0 = hn::BitCast(o, hn::InterleaveLower(w, a, b));
      const auto u0 = hn::BitCast(o, hn::InterleaveUpper(w, a, b));
      const auto l1 = hn::BitCast(o, hn::InterleaveLower(w, c, e));
      const auto u1 = hn::BitCast(o, hn::InterleaveUpper(w, c, e));
      T* p = d + r * dr;
      hn::StoreU(hn::BitCast(w, hn::InterleaveLower(o, l0, l1)), w, p);
      hn::StoreU(hn::BitCast(w, hn::InterleaveUpper(o, l0, l1)), w, p + dr);
      hn::StoreU(hn::BitCast(w, hn::InterleaveLower(o, u0, u1)), w, p + 2 * dr);
      hn::StoreU(hn::BitCast(w, hn::InterleaveUpper(o, u0, u1)), w, p + 3 * dr);
    }
  }
};
#else
struct Tile4 {
  using T = uint32_t;
  static constexpr int64_t kSide = 4;
  static HWY_INLINE void move(const T* s, int64_t sc, T* d, int64_t dr) {
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t c = 0; c < 4; ++c) std::memcpy(d + r * dr + c, s + c * sc + r, sizeof(T));
  }
};
#endif

struct Wide {  // 16 bytes moved as bits
  uint64_t lo, hi;
};
template <class E>
struct TileScalar {
  using T = E;
  static constexpr int64_t kSide = 4;
  static HWY_INLINE void move(const T* s, int64_t sc, T* d, int64_t dr) {
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t c = 0; c < 4; ++c) std::memcpy(d + r * dr + c, s + c * sc + r, sizeof(T));
  }
};

template <class Tile>
void run(const void* ps, int64_t sc, void* pd, int64_t dr, int64_t rows, int64_t cols) {
  using T = typename Tile::T;
  const T* s = static_cast<const T*>(ps);
  T* d = static_cast<T*>(pd);
  constexpr int64_t kSide = Tile::kSide;
  constexpr int64_t kLine = std::max<int64_t>(kSide, 64 / sizeof(T));  // a source line's elements
  constexpr int64_t kCols = 128;
  const int64_t full_rows = rows / kSide * kSide, full_cols = cols / kSide * kSide;
  for (int64_t cb = 0; cb < full_cols; cb += kCols) {
    const int64_t c_end = std::min(full_cols, cb + kCols);
    for (int64_t rb = 0; rb < full_rows; rb += kLine) {
      const int64_t r_end = std::min(full_rows, rb + kLine);
      for (int64_t c = cb; c < c_end; c += kSide)
        for (int64_t r = rb; r < r_end; r += kSide)
          Tile::move(s + c * sc + r, sc, d + r * dr + c, dr);
    }
  }
  const auto rest = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
    for (int64_t r = r0; r < r1; ++r)
      for (int64_t c = c0; c < c1; ++c) std::memcpy(d + r * dr + c, s + c * sc + r, sizeof(T));
  };
  rest(0, rows, full_cols, cols);
  rest(full_rows, rows, 0, full_cols);
}

void tile(const void* src, int64_t src_col, void* dst, int64_t dst_row, int64_t rows, int64_t cols,
          int elem_size) {
  switch (elem_size) {
    case 1: return run<Tile1>(src, src_col, dst, dst_row, rows, cols);
    case 2: return run<Tile2>(src, src_col, dst, dst_row, rows, cols);
    case 4: return run<Tile4>(src, src_col, dst, dst_row, rows, cols);
    case 8: return run<TileScalar<uint64_t>>(src, src_col, dst, dst_row, rows, cols);
    default: return run<TileScalar<Wide>>(src, src_col, dst, dst_row, rows, cols);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(tile);

void transpose_tile(const void* src, int64_t src_col, void* dst, int64_t dst_row, int64_t rows,
                    int64_t cols, int elem_size) {
  HWY_DYNAMIC_DISPATCH(tile)(src, src_col, dst, dst_row, rows, cols, elem_size);
}

}  // namespace onnxtool::simd
#endif
