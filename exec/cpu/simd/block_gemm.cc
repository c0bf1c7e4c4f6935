// SPDX-License-Identifier: Apache-2.0
// GEMM with weights quantized in blocks (block_gemm.h).
#include "exec/cpu/simd/block_gemm.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/block_gemm.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kFewRows = 8;  // up to here a pass over k is short enough for L1
constexpr int64_t kShortK = 64;

HWY_INLINE VF to_float(hn::Vec<DI> code, VF zero, VF scale) {
  return hn::Mul(hn::Sub(hn::ConvertTo(DF(), code), zero), scale);
}

// Rows [k0, k0 + kc) of one panel as floats.
HWY_ATTR void unpack(const BlockWeights& w, int64_t panel, int64_t k0, int64_t kc, float* out) {
  const DF d;
  const DI di;
  const hn::Rebind<uint8_t, DF> db;
  const int64_t row = kNr * w.bits / 8;
  const uint8_t* codes = w.codes + (panel * w.k + k0) * row;
  int64_t k = 0;
  while (k < kc) {
    const int64_t group = (k0 + k) / w.block;
    const int64_t end = std::min(kc, (group + 1) * w.block - k0);
    VF scale[kNv], zero[kNv];
    ONNXTOOL_UNROLL for (int v = 0; v < kNv; ++v) {
      const int64_t at = (panel * w.groups() + group) * kNr + v * kLanes;
      scale[v] = hn::LoadU(d, w.scale + at);
      zero[v] = hn::LoadU(d, w.zero + at);
    }
    if (w.bits == 4) {
      const auto low = hn::Set(di, 15);
      for (; k < end; ++k, codes += row) {
        ONNXTOOL_UNROLL for (int v = 0; v < kNv / 2; ++v) {
          const auto b = hn::PromoteTo(di, hn::LoadU(db, codes + v * kLanes));
          const int h = v + kNv / 2;
          hn::Store(to_float(hn::And(b, low), zero[v], scale[v]), d, out + k * kNr + v * kLanes);
          hn::Store(to_float(hn::ShiftRight<4>(b), zero[h], scale[h]), d,
                    out + k * kNr + h * kLanes);
        }
      }
    } else {
      for (; k < end; ++k, codes += row) {
        ONNXTOOL_UNROLL for (int v = 0; v < kNv; ++v) {
          const auto b = hn::PromoteTo(di, hn::LoadU(db, codes + v * kLanes));
          hn::Store(to_float(b, zero[v], scale[v]), d, out + k * kNr + v * kLanes);
        }
      }
    }
  }
}

void block_gemm(const float* a, int64_t lda, const BlockWeights& w, float* c, int64_t ldc,
                int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e) {
  const UnaryFn act = unary_fn(e.act);
  const int64_t kb = m <= kFewRows ? kShortK : k_block(w.k);
  alignas(64) float panel[kMaxK * kNr];
  for (int64_t p = panel0; p < panel1; ++p) {
    const int64_t n = p * kNr, cols = std::min<int64_t>(kNr, w.n - n);
    for (int64_t k0 = 0; k0 < w.k; k0 += kb) {
      const int64_t kc = std::min(kb, w.k - k0);
      unpack(w, p, k0, kc, panel);
      panel_rows(a + k0, lda, panel, c, ldc, kc, k0 == 0, k0 + kc >= w.k, 0, m, n, cols, e, act,
                 nullptr, 0);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(block_gemm);

void block_gemm_f32(const float* a, int64_t lda, const BlockWeights& w, float* c, int64_t ldc,
                    int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(block_gemm)(a, lda, w, c, ldc, m, panel0, panel1, e);
}

}  // namespace onnxtool::simd
#endif
