// SPDX-License-Identifier: Apache-2.0
#include "cmd/bench_stats.h"

#include <catch2/catch.hpp>

#include <numeric>

namespace onnxtool {
namespace {

std::vector<double> ramp(size_t n) {
  std::vector<double> x(n);
  std::iota(x.begin(), x.end(), 1);
  return x;
}

TEST_CASE("the interval of the median is that of the order statistics") {
  // Ranks of the tables, for example Hahn and Meeker, "Statistical Intervals", table A.15.
  for (auto [n, low] : {std::pair<size_t, double>{6, 1}, {9, 2}, {20, 6}, {50, 18}, {100, 40}}) {
    const Interval i = median_interval(ramp(n));
    CHECK(i.low == low);
    CHECK(i.high == static_cast<double>(n) + 1 - low);
  }
  const Interval few = median_interval({3, 1, 2});
  CHECK(few.low == 1);
  CHECK(few.high == 3);
  const Interval many = median_interval(ramp(10001));
  CHECK(many.low == Approx(4903).margin(2));
  CHECK(many.high == Approx(5099).margin(2));
}

TEST_CASE("runs that follow each other widen the interval") {
  std::vector<double> slow_then_fast(2000);
  for (size_t i = 0; i < 2000; ++i)
    slow_then_fast[i] = (i / 200 % 2 ? 2 : 1) + 1e-6 * double(i % 7);
  const Stats s = stats_of(slow_then_fast);
  CHECK(s.p50_ci.low < 1.1);
  CHECK(s.p50_ci.high > 1.9);
  CHECK(stats_of({5}).p50 == 5);
  CHECK(stats_of(ramp(101)).p90 == Approx(91));
}

TEST_CASE("warming up ends where the rest begins") {
  std::vector<double> x(100, 1.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] += 1e-3 * double(i * 7 % 5);
  CHECK(warmup_of(x) == 0);
  for (size_t i = 0; i < 12; ++i) x[i] = 3 - 0.1 * double(i);
  CHECK(warmup_of(x) == 12);
  x[60] = 50;  // one that stands out is no warm-up
  CHECK(warmup_of(x) == 12);
  CHECK(warmup_of({9, 1, 1}) == 0);
}

TEST_CASE("drift is a change beyond the noise") {
  std::vector<Sample> x;
  for (size_t i = 0; i < 300; ++i) x.push_back({double(i), 10 + 0.1 * double(i * 7 % 11)});
  CHECK(drift_percent(x) == 0);
  for (size_t i = 200; i < 300; ++i) x[i].ms *= 1.2;
  CHECK(drift_percent(x) == Approx(20).margin(1));
  for (size_t i = 100; i < 200; ++i) x[i].ms *= 0.5;
  CHECK(drift_percent(x) == Approx(-50).margin(1));
  CHECK(drift_percent({}) == 0);
}

}  // namespace
}  // namespace onnxtool
