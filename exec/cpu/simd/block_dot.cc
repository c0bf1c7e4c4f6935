// SPDX-License-Identifier: Apache-2.0
// GEMM of weights in blocks on integers (block_dot.h).
#include "exec/cpu/simd/block_dot.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/block_dot.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/byte-inl.h"
#include "exec/cpu/simd/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

void quantize(const float* a, int64_t lda, int64_t k, int64_t block, int64_t groups, int64_t m0,
              int64_t m1, int8_t* q, float* factors) {
  const DF d;
  const hn::Rebind<int8_t, DF> db;
  for (int64_t m = m0; m < m1; ++m)
    for (int64_t g = 0; g < groups; ++g) {
      const float* x = a + m * lda + g * block;
      const int64_t n = std::min(block, k - g * block);
      VF most = hn::Zero(d);
      for (int64_t i = 0; i < n; i += kLanes)
        most = max_nan(d, hn::Abs(load_n(d, x + i, static_cast<size_t>(n - i))), most);
      float peak[kLanes], limit = 0;
      hn::StoreU(most, d, peak);
      for (float p : peak) limit = p > limit || p != p ? p : limit;
      const float scale = limit / 127;
      const VF inverse = hn::Set(d, limit > 0 ? 127 / limit : 0);
      int8_t* to = q + (m * groups + g) * block;
      VI sum = hn::Zero(DI());
      for (int64_t i = 0; i < block; i += kLanes) {
        const VF v = i < n ? load_n(d, x + i, static_cast<size_t>(n - i)) : hn::Zero(d);
        const VI code = hn::NearestInt(hn::Mul(v, inverse));
        sum = hn::Add(sum, code);
        const auto bytes = hn::DemoteTo(db, code);
        if (block - i >= kLanes) {
          hn::StoreU(bytes, db, to + i);
        } else {
          int8_t rest[kLanes];
          hn::StoreU(bytes, db, rest);
          std::memcpy(to + i, rest, static_cast<size_t>(block - i));
        }
      }
      float* f = factors + (m * groups + g) * 2;
      f[0] = scale;
      f[1] = scale * static_cast<float>(hn::GetLane(hn::SumOfLanes(DI(), sum)));
    }
}

#if HWY_TARGET == HWY_AVX3
constexpr int kRows = 4;

// R rows by one panel.
template <int R, int kBits>
HWY_NOINLINE HWY_ATTR void dot_tile(const int8_t* q, const float* factors, const uint8_t* codes,
                                    const float* scale, const float* shift, int64_t groups,
                                    int64_t block, float* c, int64_t ldc, int64_t cols) {
  const DF d;
  const DI di;
  const int64_t lda = groups * block;
  VF total[R][2];
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) { total[r][0] = total[r][1] = hn::Zero(d); }
  const VI low = hn::Set(di, 0x0F0F0F0F);
  for (int64_t g = 0; g < groups; ++g, q += block) {
    VI acc[R][2];
    ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) { acc[r][0] = acc[r][1] = hn::Zero(di); }
    for (int64_t i = 0; i < block; i += 8) {
      VI b[2][2];  // [k, k + 4][column / 16]
      const auto* p = reinterpret_cast<const int32_t*>(codes);
      if constexpr (kBits == 4) {
        ONNXTOOL_UNROLL for (int v = 0; v < 2; ++v) {
          const VI both = hn::LoadU(di, p + v * kLanes);
          b[0][v] = hn::And(both, low);
          b[1][v] = hn::And(hn::ShiftRight<4>(both), low);
        }
        codes += 4 * kDotColumns;
      } else {
        ONNXTOOL_UNROLL for (int v = 0; v < 2; ++v) {
          b[0][v] = hn::LoadU(di, p + v * kLanes);
          b[1][v] = hn::LoadU(di, p + (v + 2) * kLanes);
        }
        codes += 8 * kDotColumns;
      }
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        ONNXTOOL_UNROLL for (int h = 0; h < 2; ++h) {
          int32_t four;
          std::memcpy(&four, q + r * lda + i + 4 * h, sizeof(four));
          const VI a = hn::Set(di, four);
          acc[r][0] = VnniDot::dot(acc[r][0], b[h][0], a);
          acc[r][1] = VnniDot::dot(acc[r][1], b[h][1], a);
        }
      }
    }
    ONNXTOOL_UNROLL for (int v = 0; v < 2; ++v) {
      const int64_t at = g * kDotColumns + v * kLanes;
      const VF s = hn::LoadU(d, scale + at), z = hn::LoadU(d, shift + at);
      ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
        const float* f = factors + (r * groups + g) * 2;
        total[r][v] =
            hn::MulAdd(hn::Mul(hn::ConvertTo(d, acc[r][v]), s), hn::Set(d, f[0]), total[r][v]);
        total[r][v] = hn::NegMulAdd(z, hn::Set(d, f[1]), total[r][v]);
      }
    }
  }
  ONNXTOOL_UNROLL for (int r = 0; r < R; ++r) {
    store_n(total[r][0], d, c + r * ldc, static_cast<size_t>(cols));
    if (cols > kLanes)
      store_n(total[r][1], d, c + r * ldc + kLanes, static_cast<size_t>(cols - kLanes));
  }
}

// What the float kernel does in registers: everything up to the activation.
HWY_ATTR void first(const Epilogue& e, float* c, int64_t ldc, int64_t m, int64_t rows, int64_t n,
                    int64_t cols) {
  const DF d;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < cols; j += kLanes) {
      const auto rest = static_cast<size_t>(cols - j);
      float* to = c + r * ldc + j;
      VF x = hn::Mul(load_n(d, to, rest), hn::Set(d, e.alpha));
      for (const float* row : {e.bias_n, e.shift_n})
        if (row != nullptr) x = hn::Add(x, load_n(d, row + n + j, rest));
      if (e.bias_m != nullptr) x = hn::Add(x, hn::Set(d, e.bias_m[m + r]));
      if (e.residual_use == Residual::kAddBeforeAct)
        x = hn::Add(x, load_n(d, e.residual + (m + r) * e.ldr + n + j, rest));
      if (e.act == Unary::kRelu) x = hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
      store_n(x, d, to, rest);
    }
}

template <int kBits>
HWY_ATTR void panels(const int8_t* q, const float* factors, const DotWeights& w, float* c,
                     int64_t ldc, int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e) {
  static constexpr decltype(&dot_tile<1, kBits>) kTiles[kRows] = {
      dot_tile<1, kBits>, dot_tile<2, kBits>, dot_tile<3, kBits>, dot_tile<4, kBits>};
  const UnaryFn act = unary_fn(e.act);
  const int64_t k = w.groups * w.block;
  for (int64_t p = panel0; p < panel1; ++p) {
    const int64_t n = p * kDotColumns, cols = std::min<int64_t>(kDotColumns, w.n - n);
    const uint8_t* codes = w.codes + p * k * kDotColumns * kBits / 8;
    const int64_t at = p * w.groups * kDotColumns;
    for (int64_t i = 0; i < m; i += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, m - i);
      float* to = c + i * ldc + n;
      kTiles[rows - 1](q + i * k, factors + i * w.groups * 2, codes, w.scale + at, w.shift + at,
                       w.groups, w.block, to, ldc, cols);
      first(e, to, ldc, i, rows, n, cols);
      if (needs_second(e)) second(e, act, to, ldc, i, rows, n, cols);
    }
  }
}
#endif

void gemm(const int8_t* q, const float* factors, const DotWeights& w, float* c, int64_t ldc,
          int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e) {
#if HWY_TARGET == HWY_AVX3
  if (w.bits == 4)
    panels<4>(q, factors, w, c, ldc, m, panel0, panel1, e);
  else
    panels<8>(q, factors, w, c, ldc, m, panel0, panel1, e);
#else
  (void)q, (void)factors, (void)w, (void)c, (void)ldc, (void)m, (void)panel0, (void)panel1, (void)e;
  HWY_ABORT("block_dot_gemm needs AVX-512 VNNI");
#endif
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(quantize);
HWY_EXPORT(gemm);

void quantize_blocks(const float* a, int64_t lda, int64_t k, int64_t block, int64_t groups,
                     int64_t m0, int64_t m1, int8_t* q, float* factors) {
  HWY_DYNAMIC_DISPATCH(quantize)(a, lda, k, block, groups, m0, m1, q, factors);
}

void block_dot_gemm(const int8_t* q, const float* factors, const DotWeights& w, float* c,
                    int64_t ldc, int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(gemm)(q, factors, w, c, ldc, m, panel0, panel1, e);
}

}  // namespace onnxtool::simd
#endif
