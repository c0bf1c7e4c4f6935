// SPDX-License-Identifier: Apache-2.0
// Per-target GEMM micro-kernel: a tile of up to kMr rows by one packed panel of kNr columns, all
// accumulators in registers, sums in the order of k inside one chain. Shared by GEMM, Winograd and
// attention.
#if defined(ONNXTOOL_EXEC_CPU_SIMD_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONNXTOOL_EXEC_CPU_SIMD_GEMM_INL_H_
#undef ONNXTOOL_EXEC_CPU_SIMD_GEMM_INL_H_
#else
#define ONNXTOOL_EXEC_CPU_SIMD_GEMM_INL_H_
#endif

#include <algorithm>

#include "exec/cpu/simd/gemm.h"
#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/transpose.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3
inline constexpr int kMr = 6, kNv = 4;  // 24 accumulators, 4 of B, 1 of A: 29 of 32 registers
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kMr = 6, kNv = 2;  // 12 + 2 + 1 of 16
#else
inline constexpr int kMr = 4, kNv = 2;
#endif
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
inline constexpr int kNr = kNv * kLanes;

// Where a tile lies and what is done to it once k is complete (null: nothing, more k follows).
struct TileEnd {
  const Epilogue* e = nullptr;
  int64_t m = 0, n = 0;  // of the tile in C
  int64_t chain = kChain;
};

// The rows of A that a tile reads: `pieces` runs of floats each, that of row r and piece i at
// at[i * stride + r] + offset.
struct TileRows {
  const float* const* at;
  int64_t offset = 0, pieces = 1, stride = 0;
};

template <int V>
HWY_INLINE void store_tile_row(const VF (&acc)[V], float* row, size_t last) {
  const DF d;
  ONNXTOOL_UNROLL for (int v = 0; v + 1 < V; ++v) hn::StoreU(acc[v], d, row + v * kLanes);
  store_n(acc[V - 1], d, row + (V - 1) * kLanes, last);
}

// c[r][0..cols) (+)= sum_k a[r][k] * b[k * kNr + column], r < R; V vectors cover cols, kc is the
// length of a piece. first: c is not read. ahead, lines: cache lines to bring into L2 meanwhile.
template <int R, int V>
HWY_NOINLINE void tile_kernel(TileRows a, const float* b, float* c, int64_t ldc, int64_t kc,
                              bool first, size_t cols, TileEnd end, const char* ahead,
                              int64_t lines) {
  const DF d;
  VF acc[R][V];
  const size_t last = cols - static_cast<size_t>((V - 1) * kLanes);  // lanes of the last vector
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
    ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  const float* row[R];
  const auto rows = [&] {
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) row[r] = a.at[r] + a.offset;
  };
  rows();
  const auto step = [&](int64_t k) HWY_ATTR {
    VF bv[V];
    ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) bv[v] = hn::LoadU(d, b + v * kLanes);
    b += kNr;
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
      const VF av = hn::Set(d, row[r][k]);
      ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::MulAdd(av, bv[v], acc[r][v]);
    }
  };
  for (int64_t k = 0, summed = 0;;) {
    const int64_t stop = std::min(kc, k + end.chain);
    summed += stop - k;
    for (; k + 2 <= stop; k += 2) {
      if (lines > 0) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += 64;
        --lines;
      }
      step(k);
      step(k + 1);
    }
    if (k < stop) step(k++);
    if (k >= kc && --a.pieces > 0) {
      a.at += a.stride;
      rows();
      k = 0;
      if (summed < end.chain) continue;
    }
    if (!first) {
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        const float* row = c + r * ldc;
        ONNXTOOL_UNROLL for (int v = 0; v + 1 < V; ++v) {
          acc[r][v] = hn::Add(hn::LoadU(d, row + v * kLanes), acc[r][v]);
        }
        acc[r][V - 1] = hn::Add(load_n(d, row + (V - 1) * kLanes, last), acc[r][V - 1]);
      }
    }
    if (a.pieces == 0) break;
    summed = 0;
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
      store_tile_row<V>(acc[r], c + r * ldc, last);
      ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
    }
    first = false;
  }

  if (end.e != nullptr) {
    const Epilogue& e = *end.e;
    if (e.alpha != 1.0f) {
      const VF alpha = hn::Set(d, e.alpha);
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::Mul(acc[r][v], alpha);
      }
    }
    for (const float* row : {e.bias_n, e.shift_n}) {
      if (row == nullptr) continue;
      ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) {
        const size_t count = v + 1 < V ? static_cast<size_t>(kLanes) : last;
        const VF bias = load_n(d, row + end.n + v * kLanes, count);
        ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) acc[r][v] = hn::Add(acc[r][v], bias);
      }
    }
    if (e.bias_m != nullptr) {
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        const VF bias = hn::Set(d, e.bias_m[end.m + r]);
        ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = hn::Add(acc[r][v], bias);
      }
    }
    if (e.residual_use == Residual::kAddBeforeAct) {
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        const float* row = e.residual + (end.m + r) * e.ldr + end.n;
        ONNXTOOL_UNROLL for (int v = 0; v + 1 < V; ++v) {
          acc[r][v] = hn::Add(acc[r][v], hn::LoadU(d, row + v * kLanes));
        }
        acc[r][V - 1] = hn::Add(acc[r][V - 1], load_n(d, row + (V - 1) * kLanes, last));
      }
    }
    if (e.act == Unary::kRelu) {
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        ONNXTOOL_UNROLL for (int v = 0; v < V; ++v) {
          acc[r][v] = hn::IfThenZeroElse(hn::Lt(acc[r][v], hn::Zero(d)), acc[r][v]);
        }
      }
    }
  }
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) store_tile_row<V>(acc[r], c + r * ldc, last);
}

using TileFn = void (*)(TileRows, const float*, float*, int64_t, int64_t, bool, size_t, TileEnd,
                        const char*, int64_t);

// The kernel for `rows` (1..kMr) rows and `cols` (1..kNr) columns.
HWY_INLINE TileFn tile_fn(int64_t rows, int64_t cols) {
#if HWY_TARGET == HWY_AVX3
#define ONNXTOOL_TILES(r) \
  { tile_kernel<r, 1>, tile_kernel<r, 2>, tile_kernel<r, 3>, tile_kernel<r, 4> }
#else
#define ONNXTOOL_TILES(r) \
  { tile_kernel<r, 1>, tile_kernel<r, 2> }
#endif
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  static constexpr TileFn table[kMr][kNv] = {ONNXTOOL_TILES(1), ONNXTOOL_TILES(2),
                                             ONNXTOOL_TILES(3), ONNXTOOL_TILES(4),
                                             ONNXTOOL_TILES(5), ONNXTOOL_TILES(6)};
#else
  static constexpr TileFn table[kMr][kNv] = {ONNXTOOL_TILES(1), ONNXTOOL_TILES(2),
                                             ONNXTOOL_TILES(3), ONNXTOOL_TILES(4)};
#endif
#undef ONNXTOOL_TILES
  return table[rows - 1][(cols - 1) / kLanes];
}

// One packed panel: out[k * kNr + j] = B[k, n0 + j], zero beyond cols.
HWY_INLINE void pack_panel(const float* b, int64_t ldb, bool transposed, int64_t k0, int64_t kc,
                           int64_t n0, int64_t cols, float* out) {
  const DF d;
  if (!transposed) {
    for (int64_t k = 0; k < kc; ++k) {
      const float* row = b + (k0 + k) * ldb + n0;
      for (int64_t j = 0; j < kNr; j += kLanes) {
        const int64_t n = cols - j;
        const VF v = n > 0 ? load_n(d, row + j, static_cast<size_t>(n)) : hn::Zero(d);
        hn::StoreU(v, d, out + k * kNr + j);
      }
    }
    return;
  }
  transpose_tile(b + n0 * ldb + k0, ldb, out, kNr, kc, cols, 4);
  for (int64_t k = 0; k < kc && cols < kNr; ++k)
    for (int64_t j = cols; j < kNr; ++j) out[k * kNr + j] = 0.0f;
}

inline constexpr int64_t kMaxK = 384;  // k of one pass: a panel block of it fills a tenth of L2

// Depends on k alone, so that any split of M and N gives the same sums.
HWY_INLINE int64_t k_block(int64_t k) {
  const int64_t passes = std::max<int64_t>((k + kMaxK - 1) / kMaxK, 1);
  return std::max<int64_t>((k + passes - 1) / passes, 1);
}

// What the kernel's own epilogue does not do: other activations, and residuals after them.
HWY_INLINE bool needs_second(const Epilogue& e) {
  return (e.act != Unary::kCopy && e.act != Unary::kRelu) ||
         e.residual_use == Residual::kAddAfterAct || e.residual_use == Residual::kMulAfterAct;
}

inline HWY_ATTR void second(const Epilogue& e, UnaryFn act, float* c, int64_t ldc, int64_t m,
                            int64_t rows, int64_t n, int64_t cols) {
  const DF d;
  for (int64_t r = 0; r < rows; ++r) {
    float* row = c + r * ldc;
    if (e.act != Unary::kCopy && e.act != Unary::kRelu) act(row, row, cols, e.act_a, e.act_b);
    if (e.residual_use != Residual::kAddAfterAct && e.residual_use != Residual::kMulAfterAct)
      continue;
    const float* res = e.residual + (m + r) * e.ldr + n;
    for (int64_t j = 0; j < cols; j += kLanes) {
      const size_t rest = static_cast<size_t>(cols - j);
      const VF x = load_n(d, row + j, rest), y = load_n(d, res + j, rest);
      store_n(e.residual_use == Residual::kAddAfterAct ? hn::Add(x, y) : hn::Mul(x, y), d, row + j,
              rest);
    }
  }
}

// Rows [m0, m1) against one panel block, columns n0 .. n0 + cols of C. rows(m, count): those of A.
template <class Rows>
HWY_ATTR void panel_tiles(const Rows& rows, const float* b, float* c, int64_t ldc, int64_t kc,
                          bool first, bool last, int64_t m0, int64_t m1, int64_t n0, int64_t cols,
                          const Epilogue& e, UnaryFn act, const float* next, int64_t next_floats) {
  const bool more = last && needs_second(e);
  const int64_t tiles = (m1 - m0 + kMr - 1) / kMr;
  const int64_t lines = next == nullptr ? 0 : (next_floats / 16 + tiles - 1) / tiles;
  const char* ahead = reinterpret_cast<const char*>(next);
  for (int64_t m = m0; m < m1; m += kMr) {
    const int64_t count = std::min<int64_t>(kMr, m1 - m);
    float* to = c + m * ldc + n0;
    tile_fn(count, cols)(rows(m, count), b, to, ldc, kc, first, static_cast<size_t>(cols),
                         TileEnd{last ? &e : nullptr, m, n0, e.chain}, ahead, lines);
    ahead += lines * 64;
    if (more) second(e, act, to, ldc, m, count, n0, cols);
  }
}

// Rows of a matrix.
class MatrixRows {
 public:
  MatrixRows(const float* a, int64_t lda) : a_(a), lda_(lda) {}
  TileRows operator()(int64_t m, int64_t count) const {
    for (int64_t r = 0; r < count; ++r) at_[r] = a_ + (m + r) * lda_;
    return {at_};
  }

 private:
  const float* a_;
  int64_t lda_;
  mutable const float* at_[kMr];
};

inline HWY_ATTR void panel_rows(const float* a, int64_t lda, const float* b, float* c, int64_t ldc,
                                int64_t kc, bool first, bool last, int64_t m0, int64_t m1,
                                int64_t n0, int64_t cols, const Epilogue& e, UnaryFn act,
                                const float* next, int64_t next_floats) {
  panel_tiles(MatrixRows(a, lda), b, c, ldc, kc, first, last, m0, m1, n0, cols, e, act, next,
              next_floats);
}

}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();
#endif
