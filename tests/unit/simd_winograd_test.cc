// SPDX-License-Identifier: Apache-2.0
// Winograd convolution against double precision: error budget by channels, edges of the image,
// epilogues, any split, values of very different size, and values that are not finite.
#include "exec/cpu/simd/winograd.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

struct Problem {
  Winograd p;
  std::vector<float> x, w, bias, res, y;
  Problem(int64_t n, int64_t h, int64_t width, int64_t c, int64_t k, int64_t pad = 1) {
    p.n = n, p.h = h, p.w = width, p.c = c, p.k = k;
    p.top = p.left = pad;
    p.oh = h + 2 * pad - 2, p.ow = width + 2 * pad - 2;
    x = Random(1).floats(n * h * width * c);
    w = Random(2).floats(k * c * 9);
    bias = Random(3).floats(k);
    res = Random(4).floats(n * p.oh * p.ow * k);
  }
  void run(int64_t block, const Epilogue& e) {
    p.block = block;
    const int64_t panels = gemm_panels(p.k, gemm_nr()), units = kWinogradPoints * panels;
    std::vector<float> packed(winograd_packed_floats(p.c, p.k)), zeros(p.c);
    winograd_pack_f32(w.data(), p.c, p.k, packed.data(), 0, panels / 2);
    winograd_pack_f32(w.data(), p.c, p.k, packed.data(), panels / 2, panels);
    std::vector<float> v(kWinogradPoints * p.v_plane()), m(kWinogradPoints * p.m_plane());
    y.assign(p.n * p.oh * p.ow * p.k, 55.0f);
    for (int64_t first = 0; first < p.tiles(); first += block) {
      const int64_t count = std::min(block, p.tiles() - first), half = count / 2;
      winograd_input_f32(p, x.data(), zeros.data(), first, 0, half, v.data());
      winograd_input_f32(p, x.data(), zeros.data(), first, half, count, v.data());
      winograd_products_f32(p, v.data(), packed.data(), m.data(), count, 0, units / 3);
      winograd_products_f32(p, v.data(), packed.data(), m.data(), count, units / 3, units);
      winograd_output_f32(p, m.data(), x.data(), zeros.data(), w.data(), first, 0, half, y.data(),
                          e);
      winograd_output_f32(p, m.data(), x.data(), zeros.data(), w.data(), first, half, count,
                          y.data(), e);
    }
  }
  // Sum over the window, before the epilogue; output pixel in [0, n * oh * ow).
  double at(int64_t pixel, int64_t k) const {
    const int64_t ox = pixel % p.ow, oy = pixel / p.ow % p.oh, image = pixel / p.ow / p.oh;
    double sum = 0;
    for (int64_t t = 0; t < 9; ++t) {
      const int64_t iy = oy - p.top + t / 3, ix = ox - p.left + t % 3;
      if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
      for (int64_t c = 0; c < p.c; ++c)
        sum += static_cast<double>(x[((image * p.h + iy) * p.w + ix) * p.c + c]) *
               w[(k * p.c + c) * 9 + t];
    }
    return sum;
  }
  // Largest error, in units of the largest output.
  double error() const {
    double worst = 0, scale = 0;
    for (int64_t pixel = 0; pixel < p.n * p.oh * p.ow; ++pixel)
      for (int64_t k = 0; k < p.k; ++k) {
        const double want = at(pixel, k);
        scale = std::max(scale, std::fabs(want));
        worst = std::max(worst, std::fabs(y[pixel * p.k + k] - want));
      }
    return worst / scale;
  }
};

}  // namespace

TEST_CASE("Winograd convolution of awkward shapes") {
  each_target([&](double) {
    for (int64_t pad : {0, 1, 2})
      for (auto [h, w] : {std::pair<int64_t, int64_t>{3, 3}, {4, 9}, {7, 5}, {8, 8}, {10, 3}})
        for (auto [c, k] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {16, 8}, {33, 65}}) {
          Problem q(2, h, w, c, k, pad);
          q.run(q.p.tiles(), {});
          const std::vector<float> whole = q.y;
          INFO(target_name() << " " << h << "x" << w << " " << c << "->" << k << " pad " << pad);
          REQUIRE(q.error() < 2e-6);
          q.run(5, {});
          REQUIRE((q.y == whole));
        }
  });
}

TEST_CASE("Winograd's error by channels stays within 1e-5 of the largest output") {
  // Half of the budget is left for other data; the error grows with the root of the channels.
  for (auto [c, limit] : {std::pair<int64_t, double>{32, 1.5e-6}, {256, 3.5e-6}, {2048, 5e-6}}) {
    Problem q(1, 12, 12, c, 16);
    q.run(q.p.tiles(), {});
    INFO(c << " channels");
    CHECK(q.error() < limit);
    for (float& f : q.x) f = f * f;  // no cancellation in x, as after Relu
    q.run(q.p.tiles(), {});
    CHECK(q.error() < limit);
    // Sizes that differ by up to 1e6 from pixel to pixel and from channel to channel.
    Random r(9);
    for (float& f : q.x) f *= std::pow(10.0f, r.uniform(-6, 0));
    for (float& f : q.w) f *= std::pow(10.0f, r.uniform(-3, 0));
    q.run(q.p.tiles(), {});
    CHECK(q.error() < limit);
  }
}

TEST_CASE("Winograd where outputs cancel: within four times of a direct sum") {
  Problem q(1, 13, 13, 64, 16);
  for (float& f : q.x) f += 1000;  // a large mean, and filters that remove it
  for (int64_t i = 0; i < 16 * 64; ++i) {
    float* g = q.w.data() + i * 9;
    float sum = 0;
    for (int t = 0; t < 8; ++t) sum += g[t] = std::round(g[t] * 256) / 256;
    g[8] = -sum;
  }
  q.p.top = q.p.left = 0, q.p.oh = q.p.ow = 11;
  q.run(q.p.tiles(), {});
  double direct = 0, scale = 0;
  for (int64_t pixel = 0; pixel < 121; ++pixel)
    for (int64_t k = 0; k < 16; ++k) {
      float sum = 0;
      for (int64_t t = 0; t < 9; ++t)
        for (int64_t c = 0; c < 64; ++c)
          sum += q.x[((pixel / 11 + t / 3) * 13 + pixel % 11 + t % 3) * 64 + c] *
                 q.w[(k * 64 + c) * 9 + t];
      const double want = q.at(pixel, k);
      direct = std::max(direct, std::fabs(sum - want));
      scale = std::max(scale, std::fabs(want));
    }
  CHECK(q.error() < 4 * direct / scale);
}

TEST_CASE("Winograd's epilogue") {
  each_target([&](double) {
    Problem q(1, 9, 6, 8, 21);
    Epilogue e;
    e.alpha = 0.5f;
    e.bias_n = q.bias.data();
    e.residual = q.res.data();
    e.ldr = 21;
    for (const Residual use : {Residual::kAddBeforeAct, Residual::kAddAfterAct})
      for (const Unary act : {Unary::kRelu, Unary::kTanh}) {
        e.residual_use = use, e.act = act;
        q.run(4, e);
        for (int64_t pixel = 0; pixel < 54; ++pixel)
          for (int64_t k = 0; k < 21; ++k) {
            const double r = q.res[pixel * 21 + k];
            double want = 0.5 * q.at(pixel, k) + q.bias[k];
            if (use == Residual::kAddBeforeAct) want += r;
            want = act == Unary::kRelu ? std::fmax(want, 0) : std::tanh(want);
            if (use == Residual::kAddAfterAct) want += r;
            REQUIRE(std::fabs(q.y[pixel * 21 + k] - want) < 2e-5);
          }
      }
  });
}

TEST_CASE("Winograd: infinities and NaN reach only the outputs whose window holds them") {
  each_target([&](double) {
    for (const float bad : {kInf, -kInf, kNan, 3e38f}) {
      Problem q(1, 8, 8, 5, 18);
      q.x[(3 * 8 + 4) * 5 + 2] = bad;
      q.run(q.p.tiles(), {});
      double largest = 1;  // of the finite outputs: the error's unit
      for (int64_t pixel = 0; pixel < 64; ++pixel)
        for (int64_t k = 0; k < 18; ++k) {
          const double want = std::fabs(q.at(pixel, k));
          if (std::isfinite(want)) largest = std::max(largest, want);
        }
      for (int64_t pixel = 0; pixel < 64; ++pixel)
        for (int64_t k = 0; k < 18; ++k) {
          const double want = q.at(pixel, k);
          const float got = q.y[pixel * 18 + k];
          if (!std::isfinite(want))
            REQUIRE(same(got, static_cast<float>(want)));
          else if (std::fabs(want) < 3e38)
            REQUIRE(std::fabs(got - want) < 1e-5 * largest);
        }
    }
  });
}
