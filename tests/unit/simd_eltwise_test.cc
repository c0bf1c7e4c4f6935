// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels against double precision, for every instruction set of the machine.
#include "exec/cpu/simd/eltwise.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double hard(double x, double a, double b) { return std::fmax(0, std::fmin(1, a * x + b)); }

struct Case {
  Unary op;
  double bound;  // ulp of the result
  std::function<double(double)> f;
  float a = 0, b = 0;
  double rel_x = 0;  // or this many ulp of x
};

const std::vector<Case>& cases() {
  const double s2 = std::sqrt(2.0), pi = 3.14159265358979323846;
  static const std::vector<Case> list = {
      {Unary::kCopy, 0, [](double x) { return x; }},
      {Unary::kNeg, 0, [](double x) { return -x; }},
      {Unary::kAbs, 0, [](double x) { return std::fabs(x); }},
      {Unary::kSign, 0, [](double x) { return x > 0   ? 1
                                              : x < 0 ? -1
                                                      : x; }},
      {Unary::kFloor, 0, [](double x) { return std::floor(x); }},
      {Unary::kCeil, 0, [](double x) { return std::ceil(x); }},
      {Unary::kRound, 0, [](double x) { return std::nearbyint(x); }},
      {Unary::kTrunc, 0, [](double x) { return std::trunc(x); }},
      {Unary::kReciprocal, 0.51, [](double x) { return 1 / x; }},
      {Unary::kSqrt, 0.51, [](double x) { return std::sqrt(x); }},
      {Unary::kRsqrt, 1.5, [](double x) { return 1 / std::sqrt(x); }},
      {Unary::kSquare, 0.51, [](double x) { return x * x; }},
      {Unary::kCube, 1.5, [](double x) { return x * x * x; }},
      {Unary::kExp, 1.1, [](double x) { return std::exp(x); }},
      {Unary::kExpm1, 2, [](double x) { return std::expm1(x); }},
      {Unary::kLog, 1, [](double x) { return std::log(x); }},
      {Unary::kLog1p, 2, [](double x) { return std::log1p(x); }},
      {Unary::kSin, 2, [](double x) { return std::sin(x); }},
      {Unary::kCos, 2, [](double x) { return std::cos(x); }},
      {Unary::kTanh, 2.5, [](double x) { return std::tanh(x); }},
      {Unary::kErf, 2, [](double x) { return std::erf(x); }},
      {Unary::kSigmoid, 2.5, sigmoid},
      {Unary::kLogSigmoid, 3, [](double x) { return -softplus(-x); }},
      {Unary::kSoftplus, 3, softplus},
      {Unary::kSoftsign, 2, [](double x) { return x / (1 + std::fabs(x)); }},
      {Unary::kRelu, 0, [](double x) { return x < 0 ? 0 : x; }},
      {Unary::kLeakyRelu, 0.51, [](double x) { return x < 0 ? 0.25 * x : x; }, 0.25f},
      {Unary::kThresholdedRelu, 0, [](double x) { return x > 0.5 ? x : 0; }, 0.5f},
      {Unary::kElu, 3, [](double x) { return x < 0 ? 1.5 * std::expm1(x) : x; }, 1.5f},
      {Unary::kSelu, 3, [](double x) { return 1.0625 * (x < 0 ? 1.625 * std::expm1(x) : x); },
       1.625f, 1.0625f},
      {Unary::kCelu, 4, [](double x) { return x < 0 ? 2 * std::expm1(x / 2) : x; }, 2.0f},
      {Unary::kHardSigmoid, 1, [](double x) { return std::isnan(x) ? x : hard(x, 0.25, 0.5); },
       0.25f, 0.5f, 1},
      {Unary::kHardSwish, 2,
       [](double x) { return x * (std::isnan(x) ? x : hard(x, 1 / 6.0, 0.5)); }, 0, 0, 1},
      {Unary::kSilu, 4, [](double x) { return x * sigmoid(x); }, 1.0f, 0, 1e-30},
      {Unary::kSilu, 4, [](double x) { return x * sigmoid(2 * x); }, 2.0f, 0, 1e-30},
      {Unary::kMish, 4, [](double x) { return x * std::tanh(softplus(x)); }, 0, 0, 1e-30},
      {Unary::kGelu, 4, [s2](double x) { return 0.5 * x * (1 + std::erf(x / s2)); }, 1.0f, 0, 1},
      {Unary::kGelu, 4, [s2](double x) { return x * (1 + std::erf(x / s2)); }, 2.0f, 0, 2},
      {Unary::kGeluTanh, 4,
       [pi](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
       },
       1.0f, 0, 1},
      {Unary::kClip, 0,
       [](double x) { return std::isnan(x) ? x : std::fmin(std::fmax(x, -0.5), 2.0); }, -0.5f,
       2.0f},
      {Unary::kAffine, 0.51, [](double x) { return 2.5 * x + 0.375; }, 2.5f, 0.375f, 1},
      {Unary::kPow, 1, [](double x) { return std::pow(x, 2.5); }, 2.5f},
      {Unary::kPow, 1.5, [](double x) { return std::pow(x, 3); }, 3},
      {Unary::kPow, 1, [](double x) { return std::pow(x, 2); }, 2},
      {Unary::kPow, 1, [](double x) { return std::pow(x, 0.5); }, 0.5f},
      {Unary::kPow, 1, [](double x) { return std::pow(x, -1); }, -1},
      {Unary::kPow, 1, [](double x) { return std::pow(x, -1.25); }, -1.25f},
      {Unary::kPow, 1, [](double x) { return std::pow(x, 7); }, 7},
      {Unary::kPow, 1, [](double x) { return std::pow(x, 0); }, 0},
      {Unary::kShrink, 0.51, [](double x) { return x < -0.5  ? x + 0.25
                                                   : x > 0.5 ? x - 0.25
                                                             : 0; },
       0.5f, 0.25f},
  };
  return list;
}

std::vector<float> samples() {
  std::vector<float> x = edges();
  for (uint64_t i = 0; i < (uint64_t{1} << 32); i += 600011) {
    const uint32_t u = static_cast<uint32_t>(i);
    float f;
    std::memcpy(&f, &u, 4);
    x.push_back(f);
  }
  for (int i = -12000; i < 12000; ++i) x.push_back(static_cast<float>(i) * 1.5e-3f);
  return x;
}

std::span<const int64_t> shape(const std::vector<int64_t>& v) { return v; }

// Flat index into an operand of `own` shape broadcast to `out`.
int64_t index_of(int64_t flat, const std::vector<int64_t>& own, const std::vector<int64_t>& out) {
  int64_t at = 0, step = 1;
  for (size_t d = 0; d < out.size(); ++d) {
    const int64_t extent = out[out.size() - 1 - d], i = flat % extent;
    flat /= extent;
    if (d >= own.size()) continue;
    const int64_t e = own[own.size() - 1 - d];
    if (e != 1) at += i * step;
    step *= e;
  }
  return at;
}
int64_t count(const std::vector<int64_t>& v) {
  int64_t n = 1;
  for (int64_t d : v) n *= d;
  return n;
}

struct Shapes {
  std::vector<int64_t> a, b, out;
};
const std::vector<Shapes>& broadcasts() {
  static const std::vector<Shapes> list = {
      {{1000}, {1000}, {1000}},
      {{7, 200}, {}, {7, 200}},
      {{1}, {5, 3}, {5, 3}},
      {{4, 300}, {300}, {4, 300}},
      {{4, 17}, {17}, {4, 17}},
      {{300, 3}, {3}, {300, 3}},
      {{300, 3}, {300, 1}, {300, 3}},
      {{5, 200}, {5, 1}, {5, 200}},
      {{2, 3, 49}, {3, 1}, {2, 3, 49}},
      {{2, 3, 7, 9}, {2, 1, 7, 1}, {2, 3, 7, 9}},
      {{3, 1, 5}, {1, 4, 1}, {3, 4, 5}},
      {{2, 1}, {2, 1}, {2, 6}},
      {{1, 1}, {1}, {3, 200}},
      {{0, 4}, {4}, {0, 4}},
      {{2, 1, 2, 1, 2, 1, 2, 1, 3}, {1, 2, 1, 2, 1, 2, 1, 2, 1}, {2, 2, 2, 2, 2, 2, 2, 2, 3}},
  };
  return list;
}

}  // namespace

TEST_CASE("unary kernels stay within their stated error") {
  const std::vector<float> x = samples();
  std::vector<float> y(x.size());
  each_target([&](double slack) {
    for (const Case& c : cases()) {
      unary_f32(c.op, x.data(), y.data(), static_cast<int64_t>(x.size()), c.a, c.b);
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = c.f(x[i]);
        if (ulp_error(y[i], want) <= c.bound + (c.bound > 0 ? slack : 0)) continue;
        const double near = std::isfinite(y[i]) ? std::fabs(y[i] - want) : kInf;
        const double floor = std::fmax(c.rel_x * ulp_of(x[i]) * (1 + slack), 0x1p-140);
        if (c.rel_x > 0 && near <= floor + (c.rel_x == 1 ? 1.2e-7 * (std::fabs(x[i]) < 8) : 0))
          continue;
        FAIL_CHECK(target_name() << ": op " << static_cast<int>(c.op) << " a " << c.a << " of "
                                 << x[i] << " is " << y[i] << ", not " << want);
        break;
      }
    }
  });
}

TEST_CASE("sin and cos of large arguments") {
  const std::vector<float> x = {1048576.0f, 1048577.0f,  1e10f,       -3e20f,      3e38f,
                                1e6f,       3.14159274f, 6.28318548f, 1.57079637f, 411774.84f};
  std::vector<float> s(x.size()), c(x.size());
  each_target([&](double) {
    unary_f32(Unary::kSin, x.data(), s.data(), static_cast<int64_t>(x.size()));
    unary_f32(Unary::kCos, x.data(), c.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK(ulp_error(s[i], std::sin(static_cast<double>(x[i]))) <= 2);
      CHECK(ulp_error(c[i], std::cos(static_cast<double>(x[i]))) <= 2);
    }
  });
}

TEST_CASE("unary: every length, in place, nothing written outside") {
  each_target([&](double) {
    for (int64_t n : lengths()) {
      std::vector<float> x = Random(7).floats(n + 2, -3, 3), y(x.size(), 99.0f), z = x;
      unary_f32(Unary::kTanh, x.data() + 1, y.data() + 1, n);
      unary_f32(Unary::kTanh, z.data() + 1, z.data() + 1, n);
      CHECK(y.front() == 99.0f);
      CHECK(y.back() == 99.0f);
      CHECK(same(z.front(), x.front()));
      CHECK(same(z.back(), x.back()));
      for (int64_t i = 1; i <= n; ++i) {
        CHECK(same(y[i], z[i]));
        CHECK(ulp_error(y[i], std::tanh(static_cast<double>(x[i]))) <= 3.5);
      }
    }
  });
}

TEST_CASE("binary kernels on edge values") {
  struct Op {
    Binary op;
    double bound;
    std::function<double(float, float)> f;
  };
  const auto max = [](float a, float b) {
    return std::isnan(a) || std::isnan(b) ? kNan : std::fmax(a, b);
  };
  const auto min = [](float a, float b) {
    return std::isnan(a) || std::isnan(b) ? kNan : std::fmin(a, b);
  };
  const std::vector<Op> ops = {
      {Binary::kAdd, 0, [](float a, float b) { return a + b; }},
      {Binary::kSub, 0, [](float a, float b) { return a - b; }},
      {Binary::kMul, 0, [](float a, float b) { return a * b; }},
      {Binary::kDiv, 0, [](float a, float b) { return a / b; }},
      {Binary::kMin, 0, min},
      {Binary::kMax, 0, max},
      {Binary::kPow, 1, [](float a, float b) { return std::pow(double{a}, double{b}); }},
      {Binary::kPRelu, 0, [](float a, float b) { return a < 0 ? a * b : a; }},
      {Binary::kFmod, 0, [](float a, float b) { return std::fmod(a, b); }},
  };
  std::vector<float> a, b;
  for (float x : edges())
    for (float y : edges()) a.push_back(x), b.push_back(y);
  std::vector<float> y(a.size());
  const int64_t n = static_cast<int64_t>(a.size());
  each_target([&](double) {
    for (const Op& op : ops) {
      REQUIRE(binary_supports(op.op, true));
      binary_f32(op.op, plan_flat(2, n), a.data(), b.data(), y.data(), 0, n);
      for (int64_t i = 0; i < n; ++i) {
        INFO(target_name() << " op " << static_cast<int>(op.op) << " " << a[i] << ", " << b[i]);
        CHECK(ulp_error(y[i], op.f(a[i], b[i])) <= op.bound);
      }
    }
  });
  CHECK_FALSE(binary_supports(Binary::kMod, true));
  CHECK_FALSE(binary_supports(Binary::kPow, false));
}

TEST_CASE("broadcasting: every pattern, any split") {
  each_target([&](double) {
    for (const Shapes& s : broadcasts()) {
      const int64_t n = count(s.out);
      const std::vector<float> a = Random(1).floats(count(s.a)), b = Random(2).floats(count(s.b));
      NdPlan plan;
      const std::span<const int64_t> shapes[] = {shape(s.a), shape(s.b)};
      REQUIRE(plan_broadcast(shapes, s.out, &plan));
      REQUIRE(plan.size() == n);
      for (int64_t step : {n + 1, int64_t{1} + n / 2, int64_t{37}}) {
        std::vector<float> y(n, -9.0f);
        std::vector<uint8_t> less(n, 9);
        for (int64_t p = 0; p < n; p += step) {
          const int64_t end = std::min(n, p + step);
          binary_f32(Binary::kSub, plan, a.data(), b.data(), y.data(), p, end);
          compare_f32(Compare::kLt, plan, a.data(), b.data(), less.data(), p, end);
        }
        for (int64_t i = 0; i < n; ++i) {
          const float p = a[index_of(i, s.a, s.out)], q = b[index_of(i, s.b, s.out)];
          REQUIRE(y[i] == p - q);
          REQUIRE(less[i] == (p < q));
        }
      }
      if (s.a == s.out) {  // in place
        std::vector<float> z = a;
        binary_f32(Binary::kMul, plan, z.data(), b.data(), z.data(), 0, n);
        for (int64_t i = 0; i < n; ++i) REQUIRE(z[i] == a[i] * b[index_of(i, s.b, s.out)]);
      }
    }
  });
}

TEST_CASE("plans that cannot be") {
  NdPlan plan;
  const std::vector<int64_t> a = {3}, b = {2, 3}, out = {2, 4}, big = {1, 2, 3};
  const std::span<const int64_t> one[] = {a}, two[] = {big};
  CHECK_FALSE(plan_broadcast(one, out, &plan));
  CHECK_FALSE(plan_broadcast(two, out, &plan));
  const std::vector<int64_t> column = {1, 2};
  const std::span<const int64_t> strided[] = {column};
  CHECK_FALSE(plan_strided(strided, out, &plan));
  const std::vector<int64_t> row = {4, 1};
  const std::span<const int64_t> dense[] = {row};
  CHECK(plan_strided(dense, out, &plan));
  CHECK(plan.rank == 0);
  CHECK(plan.cols == 8);
}

TEST_CASE("integer kernels") {
  const std::vector<int64_t> v = {0, 1, -1, 2, -2, 7, -7, 3, INT32_MAX, INT32_MIN, 1000000, 46341};
  std::vector<int64_t> a, b;
  for (int64_t x : v)
    for (int64_t y : v) a.push_back(x), b.push_back(y);
  a.push_back(INT64_MIN), b.push_back(-1);
  a.push_back(INT64_MAX), b.push_back(INT64_MAX);
  const int64_t n = static_cast<int64_t>(a.size());
  const std::vector<int32_t> a32(a.begin(), a.end()), b32(b.begin(), b.end());
  const auto wide = [](Binary op, int64_t x, int64_t y) -> int64_t {
    const uint64_t p = static_cast<uint64_t>(x), q = static_cast<uint64_t>(y);
    switch (op) {
      case Binary::kAdd: return static_cast<int64_t>(p + q);
      case Binary::kSub: return static_cast<int64_t>(p - q);
      case Binary::kMul: return static_cast<int64_t>(p * q);
      case Binary::kDiv: return y == 0 ? 0 : y == -1 ? static_cast<int64_t>(-p) : x / y;
      case Binary::kMin: return std::min(x, y);
      case Binary::kMax: return std::max(x, y);
      default: return y == 0 || y == -1 ? 0 : ((x % y) + y) % y;
    }
  };
  each_target([&](double) {
    std::vector<int64_t> y(n);
    std::vector<int32_t> y32(n);
    std::vector<uint8_t> c(n), c32(n);
    const NdPlan plan = plan_flat(2, n);
    for (Binary op : {Binary::kAdd, Binary::kSub, Binary::kMul, Binary::kDiv, Binary::kMin,
                      Binary::kMax, Binary::kMod}) {
      binary_i64(op, plan, a.data(), b.data(), y.data(), 0, n);
      binary_i32(op, plan, a32.data(), b32.data(), y32.data(), 0, n);
      for (int64_t i = 0; i < n; ++i) {
        INFO(static_cast<int>(op) << ": " << a[i] << ", " << b[i]);
        CHECK(y[i] == wide(op, a[i], b[i]));
        CHECK(y32[i] == static_cast<int32_t>(wide(op, a32[i], b32[i])));
      }
    }
    for (int k = 0; k < static_cast<int>(Compare::kCount); ++k) {
      const Compare op = static_cast<Compare>(k);
      const auto want = [&](int64_t p, int64_t q) {
        const bool r[] = {p == q, p != q, p<q, p <= q, p> q, p >= q};
        return r[k];
      };
      compare_i64(op, plan, a.data(), b.data(), c.data(), 0, n);
      compare_i32(op, plan, a32.data(), b32.data(), c32.data(), 0, n);
      for (int64_t i = 0; i < n; ++i) {
        CHECK(c[i] == want(a[i], b[i]));
        CHECK(c32[i] == want(a32[i], b32[i]));
      }
    }
  });
}

TEST_CASE("comparisons with NaN, booleans, where") {
  each_target([&](double) {
    std::vector<float> a, b;
    for (float x : edges())
      for (float y : edges()) a.push_back(x), b.push_back(y);
    const int64_t n = static_cast<int64_t>(a.size());
    std::vector<uint8_t> y(n), z(n);
    for (int k = 0; k < static_cast<int>(Compare::kCount); ++k) {
      compare_f32(static_cast<Compare>(k), plan_flat(2, n), a.data(), b.data(), y.data(), 0, n);
      for (int64_t i = 0; i < n; ++i) {
        const bool r[] = {a[i] == b[i], a[i] != b[i], a[i]<b[i], a[i] <= b[i], a[i]> b[i],
                          a[i] >= b[i]};
        CHECK(y[i] == r[k]);
      }
    }
    is_nan_f32(a.data(), y.data(), n);
    for (int64_t i = 0; i < n; ++i) CHECK(y[i] == std::isnan(a[i]));
    is_inf_f32(a.data(), y.data(), n, true, false);
    is_inf_f32(a.data(), z.data(), n, false, true);
    for (int64_t i = 0; i < n; ++i) {
      CHECK(y[i] == (a[i] == kInf));
      CHECK(z[i] == (a[i] == -kInf));
    }
    std::vector<uint8_t> p, q;
    for (int i = 0; i < 300; ++i) p.push_back(i % 3), q.push_back(i % 2 ? 255 : 0);
    std::vector<uint8_t> r(p.size());
    const int64_t m = static_cast<int64_t>(p.size());
    for (int k = 0; k < 3; ++k) {
      logical_u8(static_cast<Logical>(k), plan_flat(2, m), p.data(), q.data(), r.data(), 0, m);
      for (int64_t i = 0; i < m; ++i) {
        const bool s = p[i] != 0, t = q[i] != 0, want[] = {s && t, s || t, s != t};
        CHECK(r[i] == want[k]);
      }
    }
    not_u8(p.data(), r.data(), m);
    for (int64_t i = 0; i < m; ++i) CHECK(r[i] == (p[i] == 0));
  });
}

TEST_CASE("where broadcasts all three operands") {
  const std::vector<std::vector<int64_t>> shapes = {{5, 1}, {7},      {5, 7}, {},
                                                    {1, 1}, {5, 200}, {200}};
  each_target([&](double) {
    for (const auto& sc : shapes)
      for (const auto& sa : shapes)
        for (const auto& sb : shapes) {
          std::vector<int64_t> out = {5, 7};
          for (const auto* s : {&sc, &sa, &sb})
            if (!s->empty() && s->back() == 200) out = {5, 200};
          const std::span<const int64_t> in[] = {shape(sc), shape(sa), shape(sb)};
          NdPlan plan;
          if (!plan_broadcast(in, out, &plan)) continue;
          const int64_t n = count(out);
          std::vector<uint8_t> c(count(sc));
          for (size_t i = 0; i < c.size(); ++i) c[i] = i % 3 == 0 ? 2 : 0;
          const std::vector<float> a = Random(3).floats(count(sa)), b = Random(4).floats(count(sb));
          const std::vector<double> a8(a.begin(), a.end()), b8(b.begin(), b.end());
          std::vector<float> y(n);
          std::vector<double> y8(n);
          where(4, plan, c.data(), a.data(), b.data(), y.data(), 0, n);
          where(8, plan, c.data(), a8.data(), b8.data(), y8.data(), 0, n / 2);
          where(8, plan, c.data(), a8.data(), b8.data(), y8.data(), n / 2, n);
          for (int64_t i = 0; i < n; ++i) {
            const float want =
                c[index_of(i, sc, out)] != 0 ? a[index_of(i, sa, out)] : b[index_of(i, sb, out)];
            REQUIRE(y[i] == want);
            REQUIRE(y8[i] == want);
          }
        }
  });
}
