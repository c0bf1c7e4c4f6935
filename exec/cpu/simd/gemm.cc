// SPDX-License-Identifier: Apache-2.0
// Packed and row-major fp32 GEMM (gemm.h).
#include "exec/cpu/simd/gemm.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/gemm.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kRowBlock = 192;  // rows of A that stay in L2 while all panels pass
int mr() { return kMr; }
int nr() { return kNr; }

void gemm(const float* a, int64_t lda, const float* packed, float* c, int64_t ldc, int64_t k,
          int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1, const Epilogue& e) {
  const UnaryFn act = unary_fn(e.act);
  const int64_t kb = k_block(k), count = std::max<int64_t>((k + kb - 1) / kb, 1);
  const bool stream = m1 - m0 <= kMr;  // one tile of rows: B is read once, in its own order
  const auto block = [&](int64_t mb, int64_t me, int64_t p, int64_t i) HWY_ATTR {
    const int64_t k0 = i * kb, kc = std::min(kb, k - k0);
    const float* b = packed + (p * k + k0) * kNr;
    // What comes after this block: next in memory, of the next panel, or of the first panel's next
    // pass.
    const float* next = stream           ? b + kc * kNr
                        : p + 1 < panel1 ? b + k * kNr
                        : i + 1 < count  ? packed + (panel0 * k + k0 + kc) * kNr
                                         : nullptr;
    if (next == packed + panel1 * k * kNr) next = nullptr;
    panel_rows(a + k0, lda, b, c, ldc, kc, i == 0, i + 1 == count, mb, me, p * kNr,
               std::min<int64_t>(kNr, n - p * kNr), e, act, next, kc * kNr);
  };
  for (int64_t p = panel0; stream && p < panel1; ++p)
    for (int64_t i = 0; i < count; ++i) block(m0, m1, p, i);
  for (int64_t mb = m0; !stream && mb < m1; mb += kRowBlock)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t p = panel0; p < panel1; ++p) block(mb, std::min(m1, mb + kRowBlock), p, i);
}

// Several short pieces make one pass over k, a long one several.
void gemm_pieces(const float* const* rows, int64_t stride, int64_t pieces, int64_t piece,
                 const float* packed, float* c, int64_t ldc, int64_t n, int64_t m, int64_t panel0,
                 int64_t panel1, const Epilogue& e) {
  const UnaryFn act = unary_fn(e.act);
  const int64_t k = pieces * piece, kb = k_block(piece);
  const int64_t together = kb < piece ? 1 : std::max<int64_t>(kMaxK / piece, 1);
  for (int64_t i = 0, at = 0; i < pieces; i += together)
    for (int64_t k0 = 0; k0 < piece; k0 += kb) {
      const int64_t kc = std::min(kb, piece - k0), count = std::min(together, pieces - i);
      for (int64_t p = panel0; p < panel1; ++p) {
        const float* b = packed + (p * k + at) * kNr;
        const float* next = p + 1 < panel1        ? b + k * kNr
                            : at + count * kc < k ? packed + (panel0 * k + at + count * kc) * kNr
                                                  : nullptr;
        const auto run = [&](int64_t r, int64_t) {
          return TileRows{rows + i * stride + r, k0, count, stride};
        };
        panel_tiles(run, b, c, ldc, kc, at == 0, at + count * kc == k, 0, m, p * kNr,
                    std::min<int64_t>(kNr, n - p * kNr), e, act, next, count * kc * kNr);
      }
      at += count * kc;
    }
}

void gemm_rowmajor(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
                   int64_t k, int64_t m0, int64_t m1, int64_t n0, int64_t n1, const Epilogue& e) {
  const UnaryFn act = unary_fn(e.act);
  const int64_t kb = k_block(k);
  alignas(64) float panel[kMaxK * kNr];
  for (int64_t n = n0; n < n1; n += kNr) {
    const int64_t cols = std::min<int64_t>(kNr, n1 - n);
    int64_t k0 = 0;
    do {
      const int64_t kc = std::min(kb, k - k0);
      pack_panel(b, ldb, false, k0, kc, n, cols, panel);
      panel_rows(a + k0, lda, panel, c, ldc, kc, k0 == 0, k0 + kc >= k, m0, m1, n, cols, e, act,
                 nullptr, 0);
      k0 += kc;
    } while (k0 < k);
  }
}

void pack(const float* b, int64_t ldb, bool transposed, int64_t k, int64_t n, float* packed,
          int64_t panel0, int64_t panel1) {
  for (int64_t p = panel0; p < panel1; ++p)
    pack_panel(b, ldb, transposed, 0, k, p * kNr, std::min<int64_t>(kNr, n - p * kNr),
               packed + p * k * kNr);
}

// Four rows of B against one a at a time: eight vectors of a and B in flight.
void gemv_t(const float* a, const float* bt, int64_t ldb, float* y, int64_t k, int64_t n0,
            int64_t n1, const Epilogue& e) {
  const DF d;
  constexpr int kRows = 4;
  for (int64_t n = n0; n < n1; n += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, n1 - n);
    const float* row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = bt + (n + std::min<int64_t>(r, rows - 1)) * ldb;
    VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = 0; i < k; i += kLanes) {
      const size_t rest = static_cast<size_t>(k - i);
      const VF v = load_n(d, a + i, rest);
      s0 = hn::MulAdd(v, load_n(d, row[0] + i, rest), s0);
      s1 = hn::MulAdd(v, load_n(d, row[1] + i, rest), s1);
      s2 = hn::MulAdd(v, load_n(d, row[2] + i, rest), s2);
      s3 = hn::MulAdd(v, load_n(d, row[3] + i, rest), s3);
    }
    const float sums[kRows] = {hsum(s0), hsum(s1), hsum(s2), hsum(s3)};
    for (int64_t r = 0; r < rows; ++r) {
      float v = e.alpha * sums[r];
      if (e.bias_n != nullptr) v += e.bias_n[n + r];
      if (e.shift_n != nullptr) v += e.shift_n[n + r];
      if (e.bias_m != nullptr) v += e.bias_m[0];
      if (e.residual_use == Residual::kAddBeforeAct) v += e.residual[n + r];
      y[n + r] = v;
    }
  }
  if (e.act != Unary::kCopy) unary_fn(e.act)(y + n0, y + n0, n1 - n0, e.act_a, e.act_b);
  for (int64_t n = n0; n < n1; ++n) {
    if (e.residual_use == Residual::kAddAfterAct) y[n] += e.residual[n];
    if (e.residual_use == Residual::kMulAfterAct) y[n] *= e.residual[n];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(mr);
HWY_EXPORT(nr);
HWY_EXPORT(pack);
HWY_EXPORT(gemm);
HWY_EXPORT(gemm_pieces);
HWY_EXPORT(gemm_rowmajor);
HWY_EXPORT(gemv_t);

int gemm_mr() { return HWY_DYNAMIC_DISPATCH(mr)(); }
int gemm_nr() { return HWY_DYNAMIC_DISPATCH(nr)(); }

int64_t packed_b_floats(int64_t k, int64_t n) {
  const int64_t width = gemm_nr();
  return gemm_panels(n, width) * width * k;
}

void pack_b_f32(const float* b, int64_t ldb, bool transposed, int64_t k, int64_t n, float* packed,
                int64_t panel0, int64_t panel1) {
  HWY_DYNAMIC_DISPATCH(pack)(b, ldb, transposed, k, n, packed, panel0, panel1);
}

void gemm_f32(const float* a, int64_t lda, const float* packed, float* c, int64_t ldc, int64_t k,
              int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1,
              const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(gemm)(a, lda, packed, c, ldc, k, n, m0, m1, panel0, panel1, e);
}

void gemm_pieces_f32(const float* const* rows, int64_t stride, int64_t pieces, int64_t piece,
                     const float* packed, float* c, int64_t ldc, int64_t n, int64_t m,
                     int64_t panel0, int64_t panel1, const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(gemm_pieces)
  (rows, stride, pieces, piece, packed, c, ldc, n, m, panel0, panel1, e);
}

void gemm_rowmajor_f32(const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                       int64_t ldc, int64_t k, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(gemm_rowmajor)(a, lda, b, ldb, c, ldc, k, m0, m1, n0, n1, e);
}

void gemv_t_f32(const float* a, const float* bt, int64_t ldb, float* y, int64_t k, int64_t n0,
                int64_t n1, const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(gemv_t)(a, bt, ldb, y, k, n0, n1, e);
}

}  // namespace onnxtool::simd
#endif
