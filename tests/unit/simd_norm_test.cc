// SPDX-License-Identifier: Apache-2.0
// Softmax and normalizations against double precision, for every instruction set of the machine.
#include "exec/cpu/simd/norm.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

// Softmax or log-softmax of one lane in double.
std::vector<double> softmax_of(const std::vector<double>& x, bool log) {
  double max = -kInf, sum = 0;
  for (double v : x) max = v > max || std::isnan(v) ? v : max;
  for (double v : x) sum += std::exp(v - max);
  std::vector<double> y;
  for (double v : x) y.push_back(log ? v - max - std::log(sum) : std::exp(v - max) / sum);
  return y;
}

void check_softmax(int64_t outer, int64_t n, int64_t inner, float range) {
  const int64_t total = outer * n * inner, lanes = outer * inner;
  const std::vector<float> x = Random(n + inner).floats(total, -range, range);
  std::vector<float> y(total, -1.0f), l = x;
  for (int64_t p = 0; p < lanes; p += lanes / 2 + 1)
    softmax_f32(x.data(), y.data(), n, inner, p, std::min(lanes, p + lanes / 2 + 1));
  log_softmax_f32(l.data(), l.data(), n, inner, 0, lanes);  // in place
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t base = lane / inner * n * inner + lane % inner;
    std::vector<double> v(n);
    for (int64_t k = 0; k < n; ++k) v[k] = x[base + k * inner];
    const std::vector<double> s = softmax_of(v, false), ls = softmax_of(v, true);
    const double max = *std::max_element(v.begin(), v.end());
    for (int64_t k = 0; k < n; ++k) {
      INFO(target_name() << " n " << n << " inner " << inner << " lane " << lane << " k " << k);
      // exp's argument x - max carries half an ulp of its own size.
      const double bound = s[k] * (4e-7 + std::fabs(v[k] - max) * 0x1p-24) + 0x1p-126;
      REQUIRE(std::fabs(y[base + k * inner] - s[k]) <= bound);
      REQUIRE(std::fabs(l[base + k * inner] - ls[k]) <=
              4 * ulp_of(std::max({std::fabs(ls[k]), max - v[k], 1.0})));
    }
  }
}

struct Stats {
  double mean = 0, var = 0;
};
template <class F>
Stats stats_of(int64_t n, F&& at) {
  Stats s;
  for (int64_t i = 0; i < n; ++i) s.mean += at(i);
  s.mean /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) s.var += (at(i) - s.mean) * (at(i) - s.mean);
  s.var /= static_cast<double>(n);
  return s;
}

}  // namespace

TEST_CASE("softmax over rows and over strided lanes") {
  each_target([&](double) {
    for (int64_t n : {1, 2, 7, 16, 17, 63, 64, 65, 200, 1000, 10000}) check_softmax(3, n, 1, 8);
    for (int64_t n : {1, 4, 16, 33})
      for (int64_t inner : {2, 5, 16, 17, 64, 100, 131}) check_softmax(2, n, inner, 30);
    check_softmax(2, 5, 3, 100);
  });
}

TEST_CASE("softmax of special values") {
  each_target([&](double) {
    for (int64_t n : {3, 40}) {
      std::vector<float> x(n, 1.0f), y(n);
      x[1] = -kInf;
      x[2] = -200;
      softmax_f32(x.data(), y.data(), n, 1, 0, 1);
      CHECK(y[1] == 0);
      CHECK(y[2] == 0);
      CHECK(y[0] == Approx(1.0 / static_cast<double>(n - 2)).epsilon(1e-6));
      log_softmax_f32(x.data(), y.data(), n, 1, 0, 1);
      CHECK(y[1] == -kInf);
      for (float special : {kNan, kInf}) {
        x[1] = special;
        softmax_f32(x.data(), y.data(), n, 1, 0, 1);
        CHECK(std::isnan(y[1]));
        softmax_f32(x.data(), y.data(), n / 2, 2, 0, 2);
        CHECK(std::isnan(y[1]));
      }
      std::fill(x.begin(), x.end(), -kInf);
      softmax_f32(x.data(), y.data(), n, 1, 0, 1);
      CHECK(std::isnan(y[0]));
    }
  });
}

TEST_CASE("layer_norm and rms_norm") {
  each_target([&](double) {
    for (int64_t n : {1, 7, 15, 16, 17, 64, 100, 768, 1000, 5000})
      for (int variant = 0; variant < 6; ++variant) {
        const int64_t rows = 3;
        const float offset = variant == 5 ? 300.0f : 0.5f;
        const std::vector<float> x = Random(n).floats(rows * n, offset - 2, offset + 2),
                                 r = Random(n + 1).floats(rows * n), b = Random(n + 2).floats(n),
                                 g = Random(n + 3).floats(n, 0.5f, 2), s = Random(n + 4).floats(n);
        std::vector<float> y(rows * n), z = x, sum(rows * n), mean(rows), inv(rows);
        LayerNorm p;
        p.n = n;
        if (variant >= 1) p.gamma = g.data();
        if (variant >= 2) p.beta = s.data();
        if (variant >= 3) p.residual = r.data();
        if (variant >= 4) p.bias = b.data(), p.sum_out = sum.data();
        p.mean_out = mean.data();
        p.inv_std_out = inv.data();
        layer_norm_f32(p, x.data(), y.data(), 0, 1);
        layer_norm_f32(p, x.data(), y.data(), 1, rows);
        for (int64_t row = 0; row < rows; ++row) {
          const auto at = [&](int64_t i) {
            float t = x[row * n + i];
            if (variant >= 3) t += r[row * n + i];
            if (variant >= 4) t += b[i];
            return static_cast<double>(t);
          };
          const Stats st = stats_of(n, at);
          const double inv_std = 1 / std::sqrt(st.var + p.eps);
          INFO(target_name() << " n " << n << " variant " << variant);
          REQUIRE(mean[row] == Approx(st.mean).epsilon(3e-6).margin(2e-6));
          REQUIRE(inv[row] == Approx(inv_std).epsilon(4e-6));
          for (int64_t i = 0; i < n; ++i) {
            const double want =
                (at(i) - st.mean) * inv_std * (variant >= 1 ? g[i] : 1) + (variant >= 2 ? s[i] : 0);
            REQUIRE(std::fabs(y[row * n + i] - want) <= 4e-6 * (1 + std::fabs(offset) * inv_std));
            if (variant >= 4) REQUIRE(sum[row * n + i] == static_cast<float>(at(i)));
          }
        }
        rms_norm_f32(p, z.data(), z.data(), 0, rows);  // in place
        for (int64_t row = 0; row < rows; ++row) {
          double square = 0;
          const auto at = [&](int64_t i) {
            return static_cast<double>(x[row * n + i]) + (variant >= 3 ? r[row * n + i] : 0) +
                   (variant >= 4 ? b[i] : 0);
          };
          for (int64_t i = 0; i < n; ++i) square += at(i) * at(i);
          const double scale = 1 / std::sqrt(square / static_cast<double>(n) + p.eps);
          for (int64_t i = 0; i < n; ++i) {
            const double want =
                at(i) * scale * (variant >= 1 ? g[i] : 1) + (variant >= 2 ? s[i] : 0);
            REQUIRE(std::fabs(z[row * n + i] - want) <= 4e-6 * (1 + std::fabs(want)));
          }
        }
      }
  });
}

TEST_CASE("group_norm in both layouts") {
  struct Shape {
    int64_t batch, channels, spatial, groups;
  };
  each_target([&](double) {
    for (const Shape& s : {Shape{2, 6, 35, 3}, Shape{1, 4, 5000, 4}, Shape{2, 32, 49, 8},
                           Shape{1, 600, 7, 2}, Shape{1, 512, 3, 1}, Shape{2, 20, 130, 20}}) {
      const int64_t total = s.batch * s.channels * s.spatial, items = s.batch * s.groups;
      const std::vector<float> x = Random(s.channels).floats(total, 8, 12);
      const std::vector<float> gamma = Random(3).floats(s.channels),
                               beta = Random(4).floats(s.channels);
      for (bool last : {false, true})
        for (bool act : {false, true}) {
          GroupNorm p;
          p.channels = s.channels;
          p.spatial = s.spatial;
          p.groups = s.groups;
          p.channels_last = last;
          if (!act) p.gamma = gamma.data(), p.beta = beta.data();
          if (act) p.act = Unary::kRelu;
          std::vector<float> y(total), z = x;
          for (int64_t i = 0; i < items; i += items / 2 + 1)
            group_norm_f32(p, x.data(), y.data(), i, std::min(items, i + items / 2 + 1));
          group_norm_f32(p, z.data(), z.data(), 0, items);
          const int64_t per = s.channels / s.groups;
          for (int64_t item = 0; item < items; ++item) {
            const int64_t b = item / s.groups, g = item % s.groups;
            const auto index = [&](int64_t i) {
              const int64_t c = g * per + i / s.spatial, pixel = i % s.spatial;
              return b * s.channels * s.spatial +
                     (last ? pixel * s.channels + c : c * s.spatial + pixel);
            };
            const Stats st =
                stats_of(per * s.spatial, [&](int64_t i) -> double { return x[index(i)]; });
            for (int64_t i = 0; i < per * s.spatial; ++i) {
              const int64_t c = g * per + i / s.spatial;
              double want = (x[index(i)] - st.mean) / std::sqrt(st.var + p.eps);
              want = act ? std::fmax(want, 0) : want * gamma[c] + beta[c];
              INFO(target_name() << " " << s.channels << "x" << s.spatial << " last " << last);
              REQUIRE(std::fabs(y[index(i)] - want) <= 1e-5);
              REQUIRE(same(y[index(i)], z[index(i)]));
            }
          }
        }
    }
  });
}

TEST_CASE("folded batch normalization") {
  each_target([&](double) {
    for (int64_t c : {1, 3, 16, 37})
      for (int64_t spatial : {1, 49, 2500}) {
        const int64_t batch = 2, total = batch * c * spatial;
        const std::vector<float> x = Random(c).floats(total), g = Random(1).floats(c),
                                 b = Random(2).floats(c), m = Random(3).floats(c),
                                 v = Random(4).floats(c, 0.1f, 2);
        std::vector<float> scale(c), shift(c), y(total), z(total);
        bn_fold_f32(g.data(), b.data(), m.data(), v.data(), 1e-3f, scale.data(), shift.data(), c);
        scale_shift_nchw_f32(x.data(), y.data(), scale.data(), shift.data(), c, spatial, 0,
                             batch * c, Unary::kRelu);
        scale_shift_nhwc_f32(x.data(), z.data(), scale.data(), shift.data(), c, 0, batch * spatial);
        for (int64_t i = 0; i < total; ++i) {
          const auto bn = [&](int64_t k) {
            return (x[i] - m[k]) / std::sqrt(static_cast<double>(v[k]) + 1e-3f) * g[k] + b[k];
          };
          REQUIRE(std::fabs(y[i] - std::fmax(bn(i / spatial % c), 0)) <= 2e-6);
          REQUIRE(std::fabs(z[i] - bn(i % c)) <= 2e-6);
        }
      }
  });
}
