// SPDX-License-Identifier: Apache-2.0
// Reductions against double precision.
#include "exec/cpu/simd/reduce.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

constexpr int kOps = static_cast<int>(Reduce::kCount);

struct Want {
  double value, scale;  // what the error is measured against
};
Want reference(Reduce op, const std::vector<float>& v) {
  double sum = 0, abs = 0, square = 0, prod = 1, max = -kInf, min = kInf, exps = 0;
  bool nan = false;
  for (double x : v) {
    sum += x;
    abs += std::fabs(x);
    square += x * x;
    prod *= x;
    max = std::fmax(max, x);
    min = std::fmin(min, x);
    nan = nan || std::isnan(x);
  }
  for (double x : v) exps += std::exp(x - max);
  const double n = static_cast<double>(v.size());
  switch (op) {
    case Reduce::kSum: return {sum, abs};
    case Reduce::kMean: return {sum / n, abs / n};
    case Reduce::kMax: return {nan ? kNan : max, 0};
    case Reduce::kMin: return {nan ? kNan : min, 0};
    case Reduce::kProd: return {prod, std::fabs(prod)};
    case Reduce::kL1: return {abs, abs};
    case Reduce::kL2: return {std::sqrt(square), std::sqrt(square)};
    case Reduce::kSumSquare: return {square, square};
    case Reduce::kLogSum: return {std::log(sum), abs / std::fabs(sum) + std::fabs(std::log(sum))};
    default:
      return {v.empty()         ? -kInf
              : std::isinf(max) ? max
                                : max + std::log(exps),
              1 + std::fabs(max) + std::log(n + 1)};
  }
}

bool close(float got, Want want, double bound) {
  if (std::isnan(want.value) || std::isinf(want.value))
    return same(got, static_cast<float>(want.value));
  return std::fabs(got - want.value) <= want.scale * bound * 0x1p-24 + ulp_of(want.value);
}

}  // namespace

TEST_CASE("reductions over rows and strided lanes") {
  each_target([&](double slack) {
    for (int64_t n : {0, 1, 3, 15, 16, 17, 63, 65, 1000, 5000})
      for (int64_t inner : {1, 2, 17, 64, 300, 1100}) {
        if (n * inner > 150000) continue;
        const int64_t outer = 2, lanes = outer * inner;
        const std::vector<float> any = Random(n).floats(outer * n * inner, -2, 2);
        const std::vector<float> near_one = Random(n).floats(outer * n * inner, 0.9f, 1.1f);
        for (int k = 0; k < kOps; ++k) {
          const Reduce op = static_cast<Reduce>(k);
          const bool positive = op == Reduce::kProd || op == Reduce::kLogSum;
          const std::vector<float>& x = positive ? near_one : any;
          std::vector<float> y(lanes, 77.0f);
          for (int64_t p = 0; p < lanes; p += lanes / 2 + 1)
            reduce_f32(op, x.data(), y.data(), n, inner, p, std::min(lanes, p + lanes / 2 + 1));
          const double bound = (inner == 1 ? 40 : 34 + static_cast<double>(n) / 32) * (1 + slack);
          for (int64_t lane = 0; lane < lanes; ++lane) {
            if (inner > 17 && lane % 29 != 0) continue;
            std::vector<float> v(n);
            for (int64_t i = 0; i < n; ++i) v[i] = x[(lane / inner * n + i) * inner + lane % inner];
            const Want want = reference(op, v);
            INFO(target_name() << " op " << k << " n " << n << " inner " << inner);
            if (!close(y[lane], want, bound * (op == Reduce::kProd ? 40 : 1)))
              FAIL("lane " << lane << ": " << y[lane] << ", not " << want.value);
          }
        }
      }
  });
}

TEST_CASE("one long lane in chunks") {
  each_target([&](double) {
    for (int64_t n : {int64_t{0}, int64_t{1}, kReduceChunk, 3 * kReduceChunk + 17}) {
      const std::vector<float> x = Random(8).floats(n, 0.999f, 1.001f);
      for (int k = 0; k < kOps; ++k) {
        const Reduce op = static_cast<Reduce>(k);
        const int64_t chunks = reduce_chunks(n);
        std::vector<float> partials(2 * chunks);
        for (int64_t c = chunks; c-- > 0;)
          reduce_partial_f32(op, x.data(), n, partials.data(), c, c + 1);
        const float got = reduce_combine_f32(op, partials.data(), n);
        INFO("op " << k << " n " << n << " got " << got);
        CHECK(close(got, reference(op, x), op == Reduce::kProd ? 30000 : 40));
      }
    }
  });
}

TEST_CASE("special values in reductions") {
  each_target([&](double) {
    for (int64_t inner : {1, 5}) {
      std::vector<float> x(40 * inner, 1.0f), y(inner);
      x[7 * inner] = kNan;
      for (Reduce op : {Reduce::kMax, Reduce::kMin, Reduce::kSum, Reduce::kLogSumExp}) {
        reduce_f32(op, x.data(), y.data(), 40, inner, 0, inner);
        CHECK(std::isnan(y[0]));
      }
      x[7 * inner] = kInf;
      reduce_f32(Reduce::kLogSumExp, x.data(), y.data(), 40, inner, 0, inner);
      CHECK(y[0] == kInf);
      reduce_f32(Reduce::kMin, x.data(), y.data(), 40, inner, 0, inner);
      CHECK(y[0] == 1);
      std::fill(x.begin(), x.end(), -kInf);
      reduce_f32(Reduce::kLogSumExp, x.data(), y.data(), 40, inner, 0, inner);
      CHECK(y[0] == -kInf);
    }
  });
}

TEST_CASE("arg_reduce: ties, NaN, both ends") {
  each_target([&](double) {
    for (int64_t inner : {1, 3, 20})
      for (int64_t n : {1, 2, 15, 17, 40, 100})
        for (int variant = 0; variant < 3; ++variant) {
          Random r(n + inner);
          std::vector<float> x(n * inner);
          for (float& v : x) v = static_cast<float>(r.below(5));
          if (variant == 1) x[n / 2 * inner] = kNan, x[(n - 1) * inner] = kNan;
          if (variant == 2)
            for (float& v : x) v = v > 2 ? kInf : -kInf;
          for (bool greatest : {false, true})
            for (bool last : {false, true}) {
              std::vector<int64_t> y(inner);
              arg_reduce_f32(greatest, last, x.data(), y.data(), n, inner, 0, inner / 2);
              arg_reduce_f32(greatest, last, x.data(), y.data(), n, inner, inner / 2, inner);
              for (int64_t i = 0; i < inner; ++i) {
                int64_t best = 0;
                for (int64_t k = 1; k < n; ++k) {
                  const float v = x[k * inner + i], b = x[best * inner + i];
                  const bool tie = v == b || (std::isnan(v) && std::isnan(b));
                  const bool better =
                      !std::isnan(b) && (std::isnan(v) || (greatest ? v > b : v < b));
                  if (better || (last && tie)) best = k;
                }
                REQUIRE(y[i] == best);
              }
            }
        }
  });
}
