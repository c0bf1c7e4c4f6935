// SPDX-License-Identifier: Apache-2.0
// Winograd convolution (winograd.h).
#include "exec/cpu/simd/winograd.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/winograd.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cstring>

#include "exec/cpu/simd/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr double kA = 0.70710678118654752440, kB = 1.41421356237309504880;  // a b = 1

// One dimension of the transforms, of six values each.
HWY_INLINE void to_points(const VF* d, VF* out) {
  const DF f;
  const VF a = hn::Set(f, static_cast<float>(kA)), b = hn::Set(f, static_cast<float>(kB));
  const VF half = hn::Set(f, 0.5f), two = hn::Set(f, 2.0f), mid = hn::Set(f, 2.5f);
  const VF even_a = hn::NegMulAdd(two, d[2], d[4]), odd_a = hn::NegMulAdd(two, d[1], d[3]);
  const VF even_b = hn::NegMulAdd(half, d[2], d[4]), odd_b = hn::NegMulAdd(half, d[1], d[3]);
  out[0] = hn::NegMulAdd(mid, d[2], hn::Add(d[0], d[4]));
  out[1] = hn::MulAdd(a, odd_a, even_a);
  out[2] = hn::NegMulAdd(a, odd_a, even_a);
  out[3] = hn::MulAdd(b, odd_b, even_b);
  out[4] = hn::NegMulAdd(b, odd_b, even_b);
  out[5] = hn::NegMulAdd(mid, d[3], hn::Add(d[1], d[5]));
}

HWY_INLINE void from_points(const VF* m, VF* out) {
  const DF f;
  const VF sum_a = hn::Add(m[1], m[2]), diff_a = hn::Sub(m[1], m[2]);
  const VF sum_b = hn::Add(m[3], m[4]), diff_b = hn::Sub(m[3], m[4]);
  const VF a = hn::Set(f, static_cast<float>(kA)), b = hn::Set(f, static_cast<float>(kB));
  const VF a3 = hn::Set(f, static_cast<float>(kA / 2)), b3 = hn::Set(f, static_cast<float>(kB * 2));
  const VF half = hn::Set(f, 0.5f), two = hn::Set(f, 2.0f);
  out[0] = hn::Add(m[0], hn::Add(sum_a, sum_b));
  out[1] = hn::MulAdd(b, diff_b, hn::Mul(a, diff_a));
  out[2] = hn::MulAdd(two, sum_b, hn::Mul(half, sum_a));
  out[3] = hn::MulAdd(b3, diff_b, hn::MulAdd(a3, diff_a, m[5]));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void weight_points(D d, const V* g, V* out) {
  const V third = hn::Set(d, 1.0 / -1.5), sixth = hn::Set(d, 1.0 / 6);
  const V even_a = hn::Mul(third, hn::MulAdd(hn::Set(d, 0.5), g[2], g[0]));
  const V odd_a = hn::Mul(hn::Set(d, kA / -1.5), g[1]);
  const V even_b = hn::Mul(sixth, hn::MulAdd(hn::Set(d, 2.0), g[2], g[0]));
  const V odd_b = hn::Mul(hn::Set(d, kB / 6), g[1]);
  out[0] = g[0];
  out[1] = hn::Add(even_a, odd_a);
  out[2] = hn::Sub(even_a, odd_a);
  out[3] = hn::Add(even_b, odd_b);
  out[4] = hn::Sub(even_b, odd_b);
  out[5] = g[2];
}

void pack(const void* weights, int64_t c, int64_t k, float* packed, int64_t panel0,
          int64_t panel1) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int64_t kWide = static_cast<int64_t>(hn::MaxLanes(d));
  const auto* bytes = static_cast<const std::byte*>(weights);
  const int64_t point = gemm_panels(k, kNr) * kNr * c;
  for (int64_t panel = panel0; panel < panel1; ++panel) {
    const int64_t cols = std::min<int64_t>(kNr, k - panel * kNr);
    for (int64_t i = 0; i < c; ++i) {
      alignas(64) double taps[9][kNr] = {};
      for (int64_t j = 0; j < cols; ++j) {
        float g[9];
        std::memcpy(g, bytes + ((panel * kNr + j) * c + i) * 9 * sizeof(float), sizeof g);
        for (int t = 0; t < 9; ++t) taps[t][j] = g[t];
      }
      float* to = packed + (panel * c + i) * kNr;
      for (int64_t j = 0; j < kNr; j += kWide) {
        V rows[3][6];
        ONNXTOOL_UNROLL for (int y = 0; y < 3; ++y) {
          V g[3];
          ONNXTOOL_UNROLL for (int x = 0; x < 3; ++x) g[x] = hn::Load(d, taps[y * 3 + x] + j);
          weight_points(d, g, rows[y]);
        }
        ONNXTOOL_UNROLL for (int x = 0; x < 6; ++x) {
          const V g[3] = {rows[0][x], rows[1][x], rows[2][x]};
          V u[6];
          weight_points(d, g, u);
          ONNXTOOL_UNROLL for (int y = 0; y < 6; ++y) {
            alignas(64) double wide[kWide];
            hn::Store(u[y], d, wide);
            for (int64_t l = 0; l < kWide; ++l)
              to[(y * 6 + x) * point + j + l] = static_cast<float>(wide[l]);
          }
        }
      }
    }
  }
}

// Where a tile's outputs begin.
struct Corner {
  int64_t image, oy, ox;
  Corner(const Winograd& p, int64_t t)
      : image(t / (p.tiles_y() * p.tiles_x())),
        oy(t / p.tiles_x() % p.tiles_y() * 4),
        ox(t % p.tiles_x() * 4) {}
};

// Where its 6x6 pixels lie; padding reads zeros.
struct Tile {
  const float* pixel[kWinogradPoints];
  Tile(const Winograd& p, const Corner& at, const float* x, const float* zeros) {
    for (int64_t i = 0; i < 6; ++i) {
      const int64_t iy = at.oy - p.top + i;
      for (int64_t j = 0; j < 6; ++j) {
        const int64_t ix = at.ox - p.left + j;
        const bool inside = iy >= 0 && iy < p.h && ix >= 0 && ix < p.w;
        pixel[i * 6 + j] = inside ? x + ((at.image * p.h + iy) * p.w + ix) * p.c : zeros;
      }
    }
  }
};

void input(const Winograd& p, const float* x, const float* zeros, int64_t first, int64_t t0,
           int64_t t1, float* v) {
  const DF f;
  const int64_t plane = p.v_plane();
  for (int64_t t = t0; t < t1; ++t) {
    const Tile tile(p, Corner(p, first + t), x, zeros);
    for (int64_t c = 0; c < p.c; c += kLanes) {
      const size_t rest = static_cast<size_t>(p.c - c);
      VF rows[6][6];
      ONNXTOOL_UNROLL for (int i = 0; i < 6; ++i) {
        VF d[6];
        ONNXTOOL_UNROLL for (int j = 0; j < 6; ++j) {
          d[j] = load_n(f, tile.pixel[i * 6 + j] + c, rest);
        }
        to_points(d, rows[i]);
      }
      float* to = v + t * p.c + c;
      ONNXTOOL_UNROLL for (int j = 0; j < 6; ++j) {
        const VF d[6] = {rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]};
        VF out[6];
        to_points(d, out);
        ONNXTOOL_UNROLL for (int i = 0; i < 6; ++i) {
          store_n(out[i], f, to + (i * 6 + j) * plane, rest);
        }
      }
    }
  }
}

void products(const Winograd& p, const float* v, const float* packed, float* m, int64_t tiles,
              int64_t u0, int64_t u1) {
  const int64_t panels = gemm_panels(p.k, kNr), kb = k_block(p.c);
  Epilogue e;
  e.chain = p.c <= 128 ? 8 : p.c <= 512 ? 16 : 32;  // these sums make most of the error
  const float* b = packed + u0 * p.c * kNr;
  const float* end = packed + u1 * p.c * kNr;
  for (int64_t u = u0; u < u1; ++u) {
    const int64_t point = u / panels, n = u % panels * kNr;
    for (int64_t k0 = 0; k0 < p.c; k0 += kb) {
      const int64_t kc = std::min(kb, p.c - k0);
      const float* next = b + kc * kNr;
      panel_rows(v + point * p.v_plane() + k0, p.c, b, m + point * p.m_plane(), p.k, kc, k0 == 0,
                 false, 0, tiles, n, std::min<int64_t>(kNr, p.k - n), e, nullptr,
                 next < end ? next : nullptr, std::min(kb, (end - next) / kNr) * kNr);
      b = next;
    }
  }
}

// The 4x4 outputs of one tile by their definition, channels k .. k + rest.
HWY_NOINLINE void direct(const Winograd& p, const Tile& tile, const void* weights, int64_t k,
                         size_t rest, VF (&y)[4][4]) {
  const auto* bytes = static_cast<const std::byte*>(weights);
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 4; ++j) {
      alignas(64) float sum[kLanes] = {};
      for (size_t l = 0; l < std::min<size_t>(rest, kLanes); ++l)
        for (int64_t c = 0; c < p.c; ++c) {
          float g[9];
          std::memcpy(g, bytes + ((k + static_cast<int64_t>(l)) * p.c + c) * 9 * sizeof(float),
                      sizeof g);
          for (int64_t q = 0; q < 9; ++q)
            sum[l] += g[q] * tile.pixel[(i + q / 3) * 6 + j + q % 3][c];
        }
      y[i][j] = hn::Load(DF(), sum);
    }
}

void output(const Winograd& p, const float* m, const float* x, const float* zeros,
            const void* weights, int64_t first, int64_t t0, int64_t t1, float* y, UnaryFn act,
            const Epilogue& e) {
  const DF f;
  const int64_t plane = p.m_plane();
  const VF alpha = hn::Set(f, e.alpha), zero = hn::Zero(f);
  for (int64_t t = t0; t < t1; ++t) {
    const Corner at(p, first + t);
    const int64_t rows = std::min<int64_t>(4, p.oh - at.oy),
                  columns = std::min<int64_t>(4, p.ow - at.ox);
    const int64_t corner = (at.image * p.oh + at.oy) * p.ow + at.ox;  // pixel of the output
    for (int64_t k = 0; k < p.k; k += kLanes) {
      const size_t rest = static_cast<size_t>(p.k - k);
      const float* from = m + t * p.k + k;
      VF part[4][6], out[4][4], unsafe = zero;
      ONNXTOOL_UNROLL for (int j = 0; j < 6; ++j) {
        VF d[6], r[4];
        ONNXTOOL_UNROLL for (int i = 0; i < 6; ++i) {
          d[i] = load_n(f, from + (i * 6 + j) * plane, rest);
        }
        from_points(d, r);
        ONNXTOOL_UNROLL for (int i = 0; i < 4; ++i) part[i][j] = r[i];
      }
      ONNXTOOL_UNROLL for (int i = 0; i < 4; ++i) {
        from_points(part[i], out[i]);
        ONNXTOOL_UNROLL for (int j = 0; j < 4; ++j) unsafe = hn::MulAdd(out[i][j], zero, unsafe);
      }
      if (HWY_UNLIKELY(!hn::AllFalse(f, hn::IsNaN(unsafe))))
        direct(p, Tile(p, at, x, zeros), weights, k, rest, out);
      VF bias = e.bias_n != nullptr ? load_n(f, e.bias_n + k, rest) : zero;
      if (e.shift_n != nullptr) bias = hn::Add(bias, load_n(f, e.shift_n + k, rest));
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t pixel = corner + i * p.ow + j;
          VF r = hn::MulAdd(out[i][j], alpha, bias);
          if (e.residual_use == Residual::kAddBeforeAct)
            r = hn::Add(r, load_n(f, e.residual + pixel * e.ldr + k, rest));
          if (e.act == Unary::kRelu) r = hn::IfThenZeroElse(hn::Lt(r, zero), r);
          store_n(r, f, y + pixel * p.k + k, rest);
        }
    }
    for (int64_t i = 0; i < rows && needs_second(e); ++i) {
      const int64_t pixel = corner + i * p.ow;
      second(e, act, y + pixel * p.k, p.k, pixel, columns, 0, p.k);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(pack);
HWY_EXPORT(input);
HWY_EXPORT(products);
HWY_EXPORT(output);

int64_t winograd_packed_floats(int64_t c, int64_t k) {
  return kWinogradPoints * packed_b_floats(c, k);
}
void winograd_pack_f32(const void* weights, int64_t c, int64_t k, float* packed, int64_t panel0,
                       int64_t panel1) {
  HWY_DYNAMIC_DISPATCH(pack)(weights, c, k, packed, panel0, panel1);
}
void winograd_input_f32(const Winograd& p, const float* x, const float* zeros, int64_t first,
                        int64_t t0, int64_t t1, float* v) {
  HWY_DYNAMIC_DISPATCH(input)(p, x, zeros, first, t0, t1, v);
}
void winograd_products_f32(const Winograd& p, const float* v, const float* packed, float* m,
                           int64_t tiles, int64_t u0, int64_t u1) {
  HWY_DYNAMIC_DISPATCH(products)(p, v, packed, m, tiles, u0, u1);
}
void winograd_output_f32(const Winograd& p, const float* m, const float* x, const float* zeros,
                         const void* weights, int64_t first, int64_t t0, int64_t t1, float* y,
                         const Epilogue& e) {
  HWY_DYNAMIC_DISPATCH(output)(p, m, x, zeros, weights, first, t0, t1, y, unary_fn(e.act), e);
}

}  // namespace onnxtool::simd
#endif
