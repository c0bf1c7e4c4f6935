// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution and pooling, channels last (window.h): channels lie along the vector; a
// tile of adjacent output pixels shares each weight.
#include "exec/cpu/simd/window.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/window_nhwc.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/taps.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// The taps of a window that lie inside the image.
struct Taps {
  int64_t ky0, ky1, kx0, kx1;
};

// Loads and stores of whole vectors, or of the first n lanes.
template <bool kWhole>
HWY_INLINE VF load(const float* p, size_t n) {
  return kWhole ? hn::LoadU(DF(), p) : load_n(DF(), p, n);
}

// One vector of channels of T adjacent output pixels; x, weight, bias, y at the first channel.
template <int T, int kK, bool kWhole>
HWY_INLINE void dw_channels(const Window& p, const Taps& taps, const float* x, const float* weight,
                            const float* bias, float* y, size_t rest) {
  const DF d;
  const int64_t c = p.c, pixel = p.sw * c, row = p.dh * p.w * c, column = p.dw * c;
  VF acc[T];
  const VF start = bias != nullptr ? load<kWhole>(bias, rest) : hn::Zero(d);
  ONNXTOOL_UNROLL for (int t = 0; t < T; ++t) acc[t] = start;
  const auto tap = [&](int64_t ky, int64_t kx, int64_t kw) HWY_ATTR {
    const VF w = load<kWhole>(weight + (ky * kw + kx) * c, rest);
    const float* from = x + ky * row + kx * column;
    ONNXTOOL_UNROLL for (int t = 0; t < T; ++t) {
      acc[t] = hn::MulAdd(w, load<kWhole>(from + t * pixel, rest), acc[t]);
    }
  };
  if constexpr (kK != 0) {
    for (int64_t ky = 0; ky < kK; ++ky) {
      ONNXTOOL_UNROLL for (int64_t kx = 0; kx < kK; ++kx) tap(ky, kx, kK);
    }
  } else {
    for (int64_t ky = taps.ky0; ky < taps.ky1; ++ky)
      for (int64_t kx = taps.kx0; kx < taps.kx1; ++kx) tap(ky, kx, p.kw);
  }
  ONNXTOOL_UNROLL for (int t = 0; t < T; ++t) {
    if (kWhole) {
      hn::StoreU(acc[t], d, y + t * c);
    } else {
      store_n(acc[t], d, y + t * c, rest);
    }
  }
}

// T adjacent output pixels; x at the first pixel's tap (0, 0), which may lie outside. kK: the
// kernel is kK x kK and whole (unrolled), or 0.
template <int T, int kK>
void dw_tile(const Window& p, const Taps& taps, const float* x, const float* weight,
             const float* bias, float* y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(DF()));
  int64_t i = 0;
  for (; i + lanes <= p.c; i += lanes)
    dw_channels<T, kK, true>(p, taps, x + i, weight + i, bias != nullptr ? bias + i : nullptr,
                             y + i, 0);
  if (i < p.c)
    dw_channels<T, 0, false>(p, taps, x + i, weight + i, bias != nullptr ? bias + i : nullptr,
                             y + i, static_cast<size_t>(p.c - i));
}

template <int kK>
void dw_row(const Window& p, const float* x, const float* weight, const float* bias, float* y,
            int64_t oy, UnaryFn act, float a, float b) {
  const TapRange ky = taps_inside(oy, p.sh, p.top, p.dh, p.kh, p.h);
  const TapRange inside = whole_windows(p.sw, p.left, p.dw, p.kw, p.w, p.ow);
  const bool whole_rows = ky.begin == 0 && ky.end == p.kh;
  for (int64_t ox = 0; ox < p.ow;) {
    Taps taps = {ky.begin, ky.end, 0, p.kw};
    const float* from = x + ((oy * p.sh - p.top) * p.w + ox * p.sw - p.left) * p.c;
    float* to = y + (oy * p.ow + ox) * p.c;
    int64_t count = 1;
    if (ox >= inside.begin && ox < inside.end && whole_rows) {
      if (inside.end - ox >= 8) {
        dw_tile<8, kK>(p, taps, from, weight, bias, to);
        count = 8;
      } else if (inside.end - ox >= 4) {
        dw_tile<4, kK>(p, taps, from, weight, bias, to);
        count = 4;
      } else {
        dw_tile<1, kK>(p, taps, from, weight, bias, to);
      }
    } else if (ox >= inside.begin && ox + 4 <= inside.end) {
      dw_tile<4, 0>(p, taps, from, weight, bias, to);
      count = 4;
    } else {
      const TapRange kx = taps_inside(ox, p.sw, p.left, p.dw, p.kw, p.w);
      taps.kx0 = kx.begin;
      taps.kx1 = kx.end;
      dw_tile<1, 0>(p, taps, from, weight, bias, to);
    }
    if (act != nullptr) act(to, to, count * p.c, a, b);
    ox += count;
  }
}

void dwconv(const Window& p, const float* x, const float* weight, const float* bias, float* y,
            int64_t oh0, int64_t oh1, UnaryFn act, float a, float b) {
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    if (p.kh == 3 && p.kw == 3) {
      dw_row<3>(p, x, weight, bias, y, oy, act, a, b);
    } else if (p.kh == 5 && p.kw == 5) {
      dw_row<5>(p, x, weight, bias, y, oy, act, a, b);
    } else {
      dw_row<0>(p, x, weight, bias, y, oy, act, a, b);
    }
  }
}

template <bool kMax>
void pool(const Window& p, bool include_pad, const float* x, float* y, int64_t oh0, int64_t oh1) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), c = p.c;
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const TapRange ky = taps_inside(oy, p.sh, p.top, p.dh, p.kh, p.h);
    const int64_t rows =
        include_pad ? taps_padded(oy, p.sh, p.top, p.dh, p.kh, p.h, p.bottom) : ky.end - ky.begin;
    for (int64_t ox = 0; ox < p.ow; ++ox) {
      const TapRange kx = taps_inside(ox, p.sw, p.left, p.dw, p.kw, p.w);
      const int64_t columns =
          include_pad ? taps_padded(ox, p.sw, p.left, p.dw, p.kw, p.w, p.right) : kx.end - kx.begin;
      const VF count = hn::Set(d, static_cast<float>(rows * columns));
      const float* from = x + ((oy * p.sh - p.top) * p.w + ox * p.sw - p.left) * c;
      float* to = y + (oy * p.ow + ox) * c;
      const auto channels = [&](int64_t i, auto whole) HWY_ATTR {
        constexpr bool kWhole = decltype(whole)::value;
        const size_t rest = static_cast<size_t>(c - i);
        VF acc = kMax ? hn::Set(d, -std::numeric_limits<float>::infinity()) : hn::Zero(d);
        for (int64_t r = ky.begin; r < ky.end; ++r)
          for (int64_t q = kx.begin; q < kx.end; ++q) {
            const VF v = load<kWhole>(from + (r * p.dh * p.w + q * p.dw) * c + i, rest);
            acc = kMax ? max_nan(d, acc, v) : hn::Add(acc, v);
          }
        store_n(kMax ? acc : hn::Div(acc, count), d, to + i, rest);
      };
      int64_t i = 0;
      for (; i + lanes <= c; i += lanes) channels(i, std::true_type());
      if (i < c) channels(i, std::false_type());
    }
  }
}

void max_pool(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1) {
  pool<true>(p, false, x, y, oh0, oh1);
}
void avg_pool(const Window& p, bool include_pad, const float* x, float* y, int64_t oh0,
              int64_t oh1) {
  pool<false>(p, include_pad, x, y, oh0, oh1);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "exec/cpu/simd/reduce.h"

namespace onnxtool::simd {

HWY_EXPORT(dwconv);
HWY_EXPORT(max_pool);
HWY_EXPORT(avg_pool);

void dwconv_nhwc_f32(const Window& p, const float* x, const float* weight, const float* bias,
                     float* y, int64_t oh0, int64_t oh1, Unary act, float a, float b) {
  const UnaryFn fn = act == Unary::kCopy ? nullptr : unary_fn(act);
  HWY_DYNAMIC_DISPATCH(dwconv)(p, x, weight, bias, y, oh0, oh1, fn, a, b);
}
void max_pool_nhwc_f32(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(max_pool)(p, x, y, oh0, oh1);
}
void avg_pool_nhwc_f32(const Window& p, bool count_include_pad, const float* x, float* y,
                       int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(avg_pool)(p, count_include_pad, x, y, oh0, oh1);
}

void global_avg_pool_nhwc_f32(const float* x, float* y, int64_t spatial, int64_t c, int64_t c0,
                              int64_t c1) {
  reduce_f32(Reduce::kMean, x, y, spatial, c, c0, c1);
}
void global_avg_pool_nchw_f32(const float* x, float* y, int64_t spatial, int64_t begin,
                              int64_t end) {
  reduce_f32(Reduce::kMean, x, y, spatial, 1, begin, end);
}

}  // namespace onnxtool::simd
#endif
