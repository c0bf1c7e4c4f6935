// SPDX-License-Identifier: Apache-2.0
// Statistics of latencies: quantiles, a confidence interval of the median from order statistics
// (David and Nagaraja, "Order Statistics", 7.1), where warming up ended, and drift.
#pragma once
#include <cstddef>
#include <vector>

namespace onnxtool {

struct Sample {
  double at = 0,
         ms = 0;  // when it started (milliseconds since the measuring did), how long it took
};

struct Interval {
  double low = 0, high = 0;
};

struct Stats {
  double min = 0, mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0, stddev = 0;
  Interval p50_ci;  // 95 %; wide enough for medians of stretches of time, too
};

// `x` is not empty; it is in order of time.
Stats stats_of(const std::vector<double>& x);

// 95 % of such intervals hold the median of what the samples are drawn from; all of them where
// there are fewer than six.
Interval median_interval(std::vector<double> x);

// Leading samples that were slower than all that came after: a running median of five has not yet
// come down to that of the second half.
size_t warmup_of(const std::vector<double>& x);

// By how much per cent the median of the middle or last third differs from that of the first,
// whichever is more; 0 where their intervals meet, or for fewer than 18 samples.
double drift_percent(const std::vector<Sample>& x);

}  // namespace onnxtool
