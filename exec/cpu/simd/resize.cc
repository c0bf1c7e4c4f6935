// SPDX-License-Identifier: Apache-2.0
// Nearest and linear resizing by tables (resize.h).
#include "exec/cpu/simd/resize.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/resize.cc"
#include <hwy/foreach_target.h>

#include <algorithm>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

// a * wa + b * wb over n.
void blend(const float* a, float wa, const float* b, float wb, float* y, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF va = hn::Set(d, wa), vb = hn::Set(d, wb);
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(n - i);
    const VF t = hn::Mul(load_n(d, b + i, rest), vb);
    store_n(hn::MulAdd(load_n(d, a + i, rest), va, t), d, y + i, rest);
  }
}

void linear_nhwc(const float* x, int64_t w, int64_t c, float* y, const LinearTap* ty,
                 const LinearTap* tx, int64_t ow, int64_t oh0, int64_t oh1) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const float* top = x + ty[oy].i0 * w * c;
    const float* low = x + ty[oy].i1 * w * c;
    const VF w0 = hn::Set(d, ty[oy].w0), w1 = hn::Set(d, ty[oy].w1);
    for (int64_t ox = 0; ox < ow; ++ox) {
      const LinearTap& t = tx[ox];
      const VF u0 = hn::Set(d, t.w0), u1 = hn::Set(d, t.w1);
      float* to = y + (oy * ow + ox) * c;
      for (int64_t i = 0; i < c; i += lanes) {
        const size_t rest = static_cast<size_t>(c - i);
        const auto column = [&](int64_t at) HWY_ATTR {
          const VF b = hn::Mul(load_n(d, low + at * c + i, rest), w1);
          return hn::MulAdd(load_n(d, top + at * c + i, rest), w0, b);
        };
        store_n(hn::MulAdd(column(t.i0), u0, hn::Mul(column(t.i1), u1)), d, to + i, rest);
      }
    }
  }
}

// The two source rows are blended once into a line on the stack; wider images do it in place of
// use.
void linear_nchw(const float* x, int64_t w, float* y, const LinearTap* ty, const LinearTap* tx,
                 int64_t ow, int64_t oh0, int64_t oh1) {
  constexpr int64_t kLine = 4096;
  alignas(64) float line[kLine];
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const LinearTap& v = ty[oy];
    const float *top = x + v.i0 * w, *low = x + v.i1 * w;
    float* to = y + oy * ow;
    if (w <= kLine) {
      blend(top, v.w0, low, v.w1, line, w);
      for (int64_t ox = 0; ox < ow; ++ox) {  // gather instructions are slower than this loop
        const LinearTap& t = tx[ox];
        to[ox] = line[t.i0] * t.w0 + line[t.i1] * t.w1;
      }
      continue;
    }
    for (int64_t ox = 0; ox < ow; ++ox) {
      const LinearTap& t = tx[ox];
      const float a = top[t.i0] * v.w0 + low[t.i0] * v.w1, b = top[t.i1] * v.w0 + low[t.i1] * v.w1;
      to[ox] = a * t.w0 + b * t.w1;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(linear_nhwc);
HWY_EXPORT(linear_nchw);

namespace {

template <int64_t kBytes>
void nearest_row(const char* row, char* to, const int32_t* ix, int64_t ow, int64_t run) {
  const int64_t bytes = kBytes != 0 ? kBytes : run;
  for (int64_t ox = 0; ox < ow; ++ox)
    std::memcpy(to + ox * bytes, row + ix[ox] * bytes, static_cast<size_t>(bytes));
}

}  // namespace

void resize_nearest(const void* x, int64_t w, int64_t run_bytes, void* y, const int32_t* iy,
                    const int32_t* ix, int64_t ow, int64_t oh0, int64_t oh1) {
  const char* src = static_cast<const char*>(x);
  char* dst = static_cast<char*>(y);
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    char* to = dst + oy * ow * run_bytes;
    if (oy > oh0 && iy[oy] == iy[oy - 1]) {  // the row above is the same
      std::memcpy(to, to - ow * run_bytes, static_cast<size_t>(ow * run_bytes));
      continue;
    }
    const char* row = src + iy[oy] * w * run_bytes;
    switch (run_bytes) {
      case 1: nearest_row<1>(row, to, ix, ow, run_bytes); break;
      case 2: nearest_row<2>(row, to, ix, ow, run_bytes); break;
      case 4: nearest_row<4>(row, to, ix, ow, run_bytes); break;
      case 8: nearest_row<8>(row, to, ix, ow, run_bytes); break;
      default: nearest_row<0>(row, to, ix, ow, run_bytes); break;
    }
  }
}

void resize_linear_nhwc_f32(const float* x, int64_t w, int64_t c, float* y, const LinearTap* ty,
                            const LinearTap* tx, int64_t ow, int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(linear_nhwc)(x, w, c, y, ty, tx, ow, oh0, oh1);
}
void resize_linear_nchw_f32(const float* x, int64_t w, float* y, const LinearTap* ty,
                            const LinearTap* tx, int64_t ow, int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(linear_nchw)(x, w, y, ty, tx, ow, oh0, oh1);
}

}  // namespace onnxtool::simd
#endif
