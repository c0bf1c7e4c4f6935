// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution, pooling and resizing against plain loops.
#include "exec/cpu/simd/window.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "exec/cpu/simd/resize.h"
#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

Window window(int64_t h, int64_t w, int64_t c, int64_t kh, int64_t kw, int64_t sh, int64_t sw,
              int64_t dh, int64_t dw, int64_t top, int64_t left, int64_t bottom, int64_t right) {
  Window p;
  p.h = h, p.w = w, p.c = c, p.kh = kh, p.kw = kw, p.sh = sh, p.sw = sw, p.dh = dh, p.dw = dw;
  p.top = top, p.left = left, p.bottom = bottom, p.right = right;
  p.oh = (h + top + bottom - (kh - 1) * dh - 1) / sh + 1;
  p.ow = (w + left + right - (kw - 1) * dw - 1) / sw + 1;
  return p;
}

const std::vector<Window>& windows() {
  static const std::vector<Window> list = {
      window(9, 11, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
      window(20, 37, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
      window(15, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1),
      window(12, 30, 7, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2),
      window(14, 14, 33, 5, 5, 2, 2, 1, 1, 1, 2, 2, 1),
      window(17, 19, 4, 7, 7, 1, 1, 1, 1, 3, 3, 3, 3),
      window(17, 40, 3, 3, 3, 1, 1, 4, 5, 4, 5, 4, 5),
      window(11, 13, 6, 2, 3, 3, 2, 1, 1, 0, 0, 0, 0),
      window(3, 2, 8, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2),
      window(6, 700, 2, 3, 3, 1, 2, 1, 1, 1, 1, 1, 1),
      window(5, 900, 1, 1, 9, 1, 1, 1, 1, 0, 4, 0, 4),
      window(4, 3000, 1, 2, 2, 1, 1, 1, 1500, 0, 0, 0, 0),
      window(40, 9, 2, 4, 1, 1, 1, 8, 1, 3, 0, 2, 0),
  };
  return list;
}

// f(iy, ix, tap) for the taps inside the image.
template <class F>
void taps(const Window& p, int64_t oy, int64_t ox, F&& f) {
  for (int64_t r = 0; r < p.kh; ++r)
    for (int64_t q = 0; q < p.kw; ++q) {
      const int64_t iy = oy * p.sh - p.top + r * p.dh, ix = ox * p.sw - p.left + q * p.dw;
      if (iy >= 0 && iy < p.h && ix >= 0 && ix < p.w) f(iy, ix, r * p.kw + q);
    }
}

template <class F>
void each_output(const Window& p, F&& f) {
  for (int64_t oy = 0; oy < p.oh; ++oy)
    for (int64_t ox = 0; ox < p.ow; ++ox)
      for (int64_t c = 0; c < p.c; ++c) f(oy, ox, c);
}

}  // namespace

TEST_CASE("depthwise convolution in both layouts") {
  each_target([&](double) {
    for (const Window& p : windows()) {
      const std::vector<float> x = Random(1).floats(p.h * p.w * p.c),
                               weight = Random(2).floats(p.kh * p.kw * p.c),
                               bias = Random(3).floats(p.c);
      const int64_t out = p.oh * p.ow;
      std::vector<float> y(out * p.c + 1, 9.0f), plain(out * p.c);
      const int64_t half = p.oh / 2;
      dwconv_nhwc_f32(p, x.data(), weight.data(), bias.data(), y.data(), 0, half, Unary::kRelu);
      dwconv_nhwc_f32(p, x.data(), weight.data(), bias.data(), y.data(), half, p.oh, Unary::kRelu);
      dwconv_nhwc_f32(p, x.data(), weight.data(), nullptr, plain.data(), 0, p.oh);
      CHECK(y.back() == 9.0f);
      // Channel by channel as planes.
      Window q = p;
      q.c = 1;
      std::vector<float> planes(out * p.c);
      for (int64_t c = 0; c < p.c; ++c) {
        std::vector<float> xp(p.h * p.w), wp(p.kh * p.kw);
        for (size_t i = 0; i < xp.size(); ++i) xp[i] = x[i * p.c + c];
        for (size_t i = 0; i < wp.size(); ++i) wp[i] = weight[i * p.c + c];
        float* to = planes.data() + c * out;
        dwconv_nchw_f32(q, xp.data(), wp.data(), bias[c], to, half, p.oh, Unary::kTanh);
        dwconv_nchw_f32(q, xp.data(), wp.data(), bias[c], to, 0, half, Unary::kTanh);
      }
      each_output(p, [&](int64_t oy, int64_t ox, int64_t c) {
        double sum = 0;
        taps(p, oy, ox, [&](int64_t iy, int64_t ix, int64_t tap) {
          sum += static_cast<double>(x[(iy * p.w + ix) * p.c + c]) * weight[tap * p.c + c];
        });
        const int64_t at = (oy * p.ow + ox) * p.c + c;
        INFO(target_name() << " kernel " << p.kh << "x" << p.kw << " at " << oy << "," << ox);
        REQUIRE(std::fabs(y[at] - std::fmax(sum + bias[c], 0)) <= 3e-6);
        REQUIRE(std::fabs(plain[at] - sum) <= 3e-6);
        REQUIRE(std::fabs(planes[c * out + oy * p.ow + ox] - std::tanh(sum + bias[c])) <= 3e-6);
      });
    }
  });
}

TEST_CASE("max and average pooling in both layouts") {
  each_target([&](double) {
    for (const Window& p : windows()) {
      std::vector<float> x = Random(4).floats(p.h * p.w * p.c);
      x[x.size() / 2] = kNan;
      const int64_t out = p.oh * p.ow;
      std::vector<float> max(out * p.c), avg(out * p.c), pad(out * p.c);
      max_pool_nhwc_f32(p, x.data(), max.data(), 0, p.oh);
      avg_pool_nhwc_f32(p, false, x.data(), avg.data(), 0, p.oh);
      avg_pool_nhwc_f32(p, true, x.data(), pad.data(), 0, p.oh);
      Window q = p;
      q.c = 1;
      std::vector<float> max1(out * p.c), avg1(out * p.c), pad1(out * p.c);
      for (int64_t c = 0; c < p.c; ++c) {
        std::vector<float> xp(p.h * p.w);
        for (size_t i = 0; i < xp.size(); ++i) xp[i] = x[i * p.c + c];
        max_pool_nchw_f32(q, xp.data(), max1.data() + c * out, 0, p.oh);
        avg_pool_nchw_f32(q, false, xp.data(), avg1.data() + c * out, 0, p.oh);
        avg_pool_nchw_f32(q, true, xp.data(), pad1.data() + c * out, 0, p.oh);
      }
      each_output(p, [&](int64_t oy, int64_t ox, int64_t c) {
        float best = -kInf;
        double sum = 0, count = 0;
        taps(p, oy, ox, [&](int64_t iy, int64_t ix, int64_t) {
          const float v = x[(iy * p.w + ix) * p.c + c];
          best = std::isnan(v) || v > best ? v : best;
          sum += v;
          count += 1;
        });
        int64_t padded = 0;
        for (int64_t r = 0; r < p.kh; ++r)
          for (int64_t k = 0; k < p.kw; ++k)
            padded += oy * p.sh - p.top + r * p.dh < p.h + p.bottom &&
                      ox * p.sw - p.left + k * p.dw < p.w + p.right;
        const int64_t a = (oy * p.ow + ox) * p.c + c, b = c * out + oy * p.ow + ox;
        REQUIRE(same(max[a], best));
        REQUIRE(same(max1[b], best));
        const auto near = [](float got, double want) {
          return std::isnan(want) ? std::isnan(got) : std::fabs(got - want) <= 1e-6;
        };
        REQUIRE(near(avg[a], sum / count));
        REQUIRE(near(avg1[b], sum / count));
        REQUIRE(near(pad[a], sum / static_cast<double>(padded)));
        REQUIRE(near(pad1[b], sum / static_cast<double>(padded)));
      });
    }
  });
}

TEST_CASE("a pooling window that ceil_mode pushes over the padding") {
  // 1x5, kernel 3, stride 2, ceil: the last window covers columns 4..6, of which 6 is no padding.
  Window p = window(1, 5, 1, 1, 3, 1, 2, 1, 1, 0, 0, 0, 1);
  p.ow = 3;
  const float x[] = {1, 2, 3, 4, 5};
  each_target([&](double) {
    float y[3];
    avg_pool_nhwc_f32(p, true, x, y, 0, 1);
    CHECK(y[2] == 2.5f);
    avg_pool_nchw_f32(p, true, x, y, 0, 1);
    CHECK(y[2] == 2.5f);
    avg_pool_nchw_f32(p, false, x, y, 0, 1);
    CHECK(y[2] == 5.0f);
  });
}

TEST_CASE("global average pooling") {
  each_target([&](double) {
    for (int64_t c : {1, 3, 16, 70, 1300})
      for (int64_t spatial : {1, 49, 200}) {
        const std::vector<float> x = Random(c).floats(c * spatial);
        std::vector<float> a(c), b(c);
        global_avg_pool_nhwc_f32(x.data(), a.data(), spatial, c, 0, c / 2);
        global_avg_pool_nhwc_f32(x.data(), a.data(), spatial, c, c / 2, c);
        global_avg_pool_nchw_f32(x.data(), b.data(), spatial, 0, c);
        for (int64_t k = 0; k < c; ++k) {
          double last = 0, first = 0;
          for (int64_t i = 0; i < spatial; ++i) last += x[i * c + k], first += x[k * spatial + i];
          REQUIRE(std::fabs(a[k] - last / static_cast<double>(spatial)) <= 1e-6);
          REQUIRE(std::fabs(b[k] - first / static_cast<double>(spatial)) <= 1e-6);
        }
      }
  });
}

TEST_CASE("resize by tables") {
  each_target([&](double) {
    for (int64_t c : {1, 2, 3, 20})
      for (const auto& [w, ow] :
           {std::pair<int64_t, int64_t>{7, 14}, {9, 4}, {5000, 600}, {1, 3}}) {
        const int64_t h = 4, oh = 7;
        Random r(w + c);
        const std::vector<float> x = r.floats(h * w * c);
        std::vector<int32_t> iy(oh), ix(ow);
        std::vector<LinearTap> ty(oh), tx(ow);
        const auto tap = [&](int64_t n) {
          const int32_t i = static_cast<int32_t>(r.below(n));
          const float f = r.uniform(0, 1);
          return LinearTap{i, static_cast<int32_t>(std::min<int64_t>(i + 1, n - 1)), 1 - f, f};
        };
        for (LinearTap& t : ty) t = tap(h);
        for (LinearTap& t : tx) t = tap(w);
        for (int64_t i = 0; i < oh; ++i) iy[i] = ty[i / 2].i0;
        for (int64_t i = 0; i < ow; ++i) ix[i] = tx[i].i0;
        std::vector<float> near(oh * ow * c), last(near.size()), first(oh * ow);
        resize_nearest(x.data(), w, c * 4, near.data(), iy.data(), ix.data(), ow, 0, 3);
        resize_nearest(x.data(), w, c * 4, near.data(), iy.data(), ix.data(), ow, 3, oh);
        resize_linear_nhwc_f32(x.data(), w, c, last.data(), ty.data(), tx.data(), ow, 0, 2);
        resize_linear_nhwc_f32(x.data(), w, c, last.data(), ty.data(), tx.data(), ow, 2, oh);
        if (c == 1)
          resize_linear_nchw_f32(x.data(), w, first.data(), ty.data(), tx.data(), ow, 0, oh);
        for (int64_t i = 0; i < oh; ++i)
          for (int64_t j = 0; j < ow; ++j)
            for (int64_t k = 0; k < c; ++k) {
              const auto at = [&, w = w, c = c](int64_t a, int64_t b) -> double {
                return x[(a * w + b) * c + k];
              };
              const int64_t o = (i * ow + j) * c + k;
              REQUIRE(near[o] == at(iy[i], ix[j]));
              const LinearTap &v = ty[i], &u = tx[j];
              const double want = (at(v.i0, u.i0) * v.w0 + at(v.i1, u.i0) * v.w1) * u.w0 +
                                  (at(v.i0, u.i1) * v.w0 + at(v.i1, u.i1) * v.w1) * u.w1;
              REQUIRE(std::fabs(last[o] - want) <= 4e-7);
              if (c == 1) REQUIRE(std::fabs(first[o] - want) <= 4e-7);
            }
      }
  });
}
