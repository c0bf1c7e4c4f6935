// SPDX-License-Identifier: Apache-2.0
// Conversions, exhaustive where 16 bits allow, and linear quantization.
#include "exec/cpu/simd/convert.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

// binary16 to double by definition.
double half_value(uint16_t h) {
  const int e = h >> 10 & 31, m = h & 1023;
  const double v = e == 0    ? std::ldexp(m, -24)
                   : e == 31 ? (m != 0 ? kNan : kInf)
                             : std::ldexp(1024 + m, e - 25);
  return (h & 0x8000) != 0 ? -v : v;
}
float bits_float(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

template <class T>
T quantized(float x, float scale, T zero) {
  const float q = x / scale;
  if (std::isnan(q)) return zero;
  const double r = std::nearbyint(static_cast<double>(q)) + zero;
  return static_cast<T>(
      std::clamp<double>(r, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

}  // namespace

TEST_CASE("binary16: every value, every rounding") {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  each_target([&](double) {
    std::vector<float> f(all.size());
    std::vector<uint16_t> back(all.size());
    f16_to_f32(all.data(), f.data(), 65536);
    f32_to_f16(f.data(), back.data(), 65536);
    for (size_t i = 0; i < all.size(); ++i) {
      const double want = half_value(all[i]);
      if (std::isnan(want)) {
        REQUIRE(std::isnan(f[i]));
        REQUIRE(std::isnan(half_value(back[i])));
      } else {
        REQUIRE(same(f[i], static_cast<float>(want)));
        REQUIRE(back[i] == all[i]);
      }
    }
    // Between two neighbours: just below, at and just above the middle.
    std::vector<float> x;
    std::vector<uint16_t> want;
    for (uint32_t h = 0; h < 0x7c00; ++h) {
      const double lo = half_value(static_cast<uint16_t>(h));
      const double hi = h == 0x7bff ? 65536.0 : half_value(static_cast<uint16_t>(h + 1));
      const float mid = static_cast<float>((lo + hi) / 2);  // exact
      const uint16_t even = static_cast<uint16_t>(h + (h & 1));
      x.insert(x.end(), {std::nextafter(mid, 0.0f), mid, std::nextafter(mid, kInf)});
      want.insert(want.end(), {static_cast<uint16_t>(h), even, static_cast<uint16_t>(h + 1)});
    }
    for (float big : {65536.0f, 1e10f, 3e38f, kInf}) x.push_back(big), want.push_back(0x7c00);
    std::vector<uint16_t> y(x.size());
    f32_to_f16(x.data(), y.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      INFO(target_name() << " " << x[i]);
      REQUIRE(y[i] == want[i]);
    }
  });
}

TEST_CASE("bfloat16: rounding and special values") {
  each_target([&](double) {
    std::vector<float> x;
    for (uint64_t u = 0; u < (uint64_t{1} << 32); u += 32749)
      x.push_back(bits_float(static_cast<uint32_t>(u)));
    for (float e : edges()) x.push_back(e);
    const int64_t n = static_cast<int64_t>(x.size());
    std::vector<uint16_t> y(n);
    std::vector<float> back(n);
    f32_to_bf16(x.data(), y.data(), n);
    bf16_to_f32(y.data(), back.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      uint32_t u;
      std::memcpy(&u, &x[i], 4);
      if (std::isnan(x[i])) {
        REQUIRE(std::isnan(back[i]));
        continue;
      }
      const uint32_t low = u & 0xffff, up = low > 0x8000 || (low == 0x8000 && (u >> 16 & 1));
      REQUIRE(y[i] == static_cast<uint16_t>((u >> 16) + up));
      REQUIRE(same(back[i], bits_float(uint32_t{y[i]} << 16)));
    }
  });
}

TEST_CASE("integers to float and back") {
  each_target([&](double) {
    for (int64_t n : lengths()) {
      Random r(n + 1);
      std::vector<uint8_t> u(n);
      std::vector<int8_t> s(n);
      std::vector<int32_t> i(n);
      std::vector<int64_t> l(n);
      std::vector<float> x(n);
      for (int64_t k = 0; k < n; ++k) {
        i[k] = static_cast<int32_t>(r.bits());
        u[k] = static_cast<uint8_t>(i[k]);
        s[k] = static_cast<int8_t>(i[k]);
        l[k] = static_cast<int64_t>(i[k]) * 1234567;
        x[k] = k % 5 == 0 ? r.uniform(-3e9f, 3e9f) : r.uniform(-300, 300);
      }
      const std::vector<float> special = edges();
      for (int64_t k = 0; k < n && k < static_cast<int64_t>(special.size()); ++k) x[k] = special[k];
      std::vector<float> f(n + 1, 5.0f);
      u8_to_f32(u.data(), f.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(f[k] == u[k]);
      i8_to_f32(s.data(), f.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(f[k] == s[k]);
      i32_to_f32(i.data(), f.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(f[k] == static_cast<float>(i[k]));
      i64_to_f32(l.data(), f.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(f[k] == static_cast<float>(l[k]));
      bool_to_f32(u.data(), f.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(f[k] == (u[k] != 0 ? 1.0f : 0.0f));
      REQUIRE(f[n] == 5.0f);

      const auto truncated = [](float v, double lo, double hi) {
        return std::isnan(v) ? 0.0 : std::clamp(std::trunc(static_cast<double>(v)), lo, hi);
      };
      std::vector<uint8_t> u2(n);
      std::vector<int8_t> s2(n);
      std::vector<int32_t> i2(n);
      std::vector<int64_t> l2(n);
      f32_to_u8(x.data(), u2.data(), n);
      f32_to_i8(x.data(), s2.data(), n);
      f32_to_i32(x.data(), i2.data(), n);
      f32_to_i64(x.data(), l2.data(), n);
      for (int64_t k = 0; k < n; ++k) {
        INFO(target_name() << " " << x[k]);
        REQUIRE(u2[k] == truncated(x[k], 0, 255));
        REQUIRE(s2[k] == truncated(x[k], -128, 127));
        REQUIRE(i2[k] == truncated(x[k], INT32_MIN, INT32_MAX));
        REQUIRE(l2[k] == (x[k] >= 9.2e18f    ? INT64_MAX
                          : x[k] <= -9.2e18f ? INT64_MIN
                                             : static_cast<int64_t>(std::isnan(x[k]) ? 0 : x[k])));
      }
      f32_to_bool(x.data(), u2.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(u2[k] == (x[k] != 0));
      i32_to_i64(i.data(), l2.data(), n);
      for (int64_t k = 0; k < n; ++k) REQUIRE(l2[k] == i[k]);
      i64_to_i32(l.data(), i2.data(), n);
      for (int64_t k = 0; k < n; ++k)
        REQUIRE(i2[k] == static_cast<int32_t>(static_cast<uint32_t>(l[k])));
    }
  });
}

TEST_CASE("quantize and dequantize, per tensor and per axis") {
  struct Shape {
    int64_t outer, axis, inner;
  };
  each_target([&](double) {
    for (const Shape& p : {Shape{1, 1, 1000}, Shape{2, 3, 17}, Shape{3, 40, 1}, Shape{5, 3, 1},
                           Shape{2, 5, 64}, Shape{1, 1, 0}, Shape{7, 16, 1}}) {
      const int64_t n = p.outer * p.axis * p.inner;
      std::vector<float> x = Random(n).floats(n, -40, 40);
      const std::vector<float> special = edges(), scale = Random(2).floats(p.axis, 0.05f, 0.3f);
      for (int64_t i = 0; i < n / 2 && i < static_cast<int64_t>(special.size()); ++i)
        x[i] = special[i];
      for (int64_t i = n / 2; i < n; i += 3)  // ties
        x[i] = scale[i / p.inner % p.axis] * (static_cast<float>(i % 50) + 0.5f);
      std::vector<uint8_t> zu(p.axis), yu(n);
      std::vector<int8_t> zs(p.axis), ys(n);
      std::vector<int32_t> zi(p.axis), xi(n);
      for (int64_t a = 0; a < p.axis; ++a) {
        zu[a] = static_cast<uint8_t>(100 + a);
        zs[a] = static_cast<int8_t>(a - 2);
        zi[a] = static_cast<int32_t>(a * 1000);
      }
      for (int64_t i = 0; i < n; ++i) xi[i] = static_cast<int32_t>(i * 997 - 5000);
      std::vector<float> fu(n), fs(n), fi(n);
      for (int64_t b = 0; b < n; b += n / 3 + 1) {
        const int64_t e = std::min(n, b + n / 3 + 1);
        quantize_u8(x.data(), yu.data(), scale.data(), zu.data(), p.axis, p.inner, b, e);
        quantize_i8(x.data(), ys.data(), scale.data(), zs.data(), p.axis, p.inner, b, e);
        dequantize_u8(yu.data(), fu.data(), scale.data(), zu.data(), p.axis, p.inner, b, e);
        dequantize_i8(ys.data(), fs.data(), scale.data(), nullptr, p.axis, p.inner, b, e);
        dequantize_i32(xi.data(), fi.data(), scale.data(), zi.data(), p.axis, p.inner, b, e);
      }
      for (int64_t i = 0; i < n; ++i) {
        const int64_t a = i / p.inner % p.axis;
        INFO(target_name() << " x " << x[i] << " scale " << scale[a]);
        REQUIRE(yu[i] == quantized<uint8_t>(x[i], scale[a], zu[a]));
        REQUIRE(ys[i] == quantized<int8_t>(x[i], scale[a], zs[a]));
        REQUIRE(fu[i] == static_cast<float>(yu[i] - zu[a]) * scale[a]);
        REQUIRE(fs[i] == static_cast<float>(ys[i]) * scale[a]);
        REQUIRE(fi[i] == static_cast<float>(xi[i] - zi[a]) * scale[a]);
      }
    }
  });
}

TEST_CASE("min, max and the parameters of dynamic quantization") {
  each_target([&](double) {
    for (int64_t n : lengths()) {
      std::vector<float> x = Random(n).floats(n, -7, 3);
      if (n > 4) x[2] = kNan, x[n - 1] = -9;
      float lo = 0, hi = 0;
      min_max_f32(x.data(), n, &lo, &hi);
      float want_lo = kInf, want_hi = -kInf;
      for (float v : x) want_lo = std::fmin(want_lo, v), want_hi = std::fmax(want_hi, v);
      CHECK(lo == want_lo);
      CHECK(hi == want_hi);
    }
  });
  float scale;
  uint8_t zero;
  dynamic_quant_params(-1, 4, &scale, &zero);
  CHECK(scale == 5.0f / 255);
  CHECK(zero == 51);
  dynamic_quant_params(2, 4, &scale, &zero);
  CHECK(scale == 4.0f / 255);
  CHECK(zero == 0);
  dynamic_quant_params(0, 0, &scale, &zero);
  CHECK(scale == 1);
  CHECK(zero == 0);
}
