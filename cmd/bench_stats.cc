// SPDX-License-Identifier: Apache-2.0
#include "cmd/bench_stats.h"

#include <algorithm>
#include <cmath>

namespace onnxtool {
namespace {

// Of sorted values: linear interpolation between closest ranks.
double quantile(const std::vector<double>& x, double p) {
  const double at = p * static_cast<double>(x.size() - 1);
  const auto i = static_cast<size_t>(at);
  const double f = at - static_cast<double>(i);
  return i + 1 < x.size() ? x[i] * (1 - f) + x[i + 1] * f : x[i];
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return quantile(x, 0.5);
}

// The most samples that may lie below the lower end: P(Binomial(n, 1/2) <= rank) <= 2.5 %; -1 where
// even rank 0 is more likely.
std::ptrdiff_t lower_rank(size_t n) {
  const double size = static_cast<double>(n);
  if (n > 500) return static_cast<std::ptrdiff_t>((size - 1.96 * std::sqrt(size)) / 2) - 1;
  double p = std::pow(0.5, size), sum = 0;
  std::ptrdiff_t rank = -1;
  for (size_t k = 0; k <= n; ++k) {
    sum += p;
    if (sum > 0.025) break;
    rank = static_cast<std::ptrdiff_t>(k);
    p *= (size - static_cast<double>(k)) / (static_cast<double>(k) + 1);
  }
  return rank;
}

}  // namespace

Interval median_interval(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const std::ptrdiff_t rank = std::max<std::ptrdiff_t>(lower_rank(x.size()), 0);
  return {x[static_cast<size_t>(rank)], x[x.size() - 1 - static_cast<size_t>(rank)]};
}

Stats stats_of(const std::vector<double>& x) {
  std::vector<double> sorted = x;
  std::sort(sorted.begin(), sorted.end());
  Stats s{sorted.front(), 0, quantile(sorted, 0.5), quantile(sorted, 0.9), quantile(sorted, 0.99),
          sorted.back()};
  const double n = static_cast<double>(x.size());
  for (double v : x) s.mean += v / n;
  for (double v : x) s.stddev += (v - s.mean) * (v - s.mean);
  s.stddev = x.size() > 1 ? std::sqrt(s.stddev / (n - 1)) : 0;
  s.p50_ci = median_interval(sorted);
  // Runs that follow each other are alike, so their number says too much: stretches tell the rest.
  constexpr size_t kStretches = 20;
  if (x.size() >= 2 * kStretches) {
    std::vector<double> medians;
    for (size_t i = 0; i < kStretches; ++i)
      medians.push_back(
          median({x.begin() + static_cast<std::ptrdiff_t>(x.size() * i / kStretches),
                  x.begin() + static_cast<std::ptrdiff_t>(x.size() * (i + 1) / kStretches)}));
    const Interval wide = median_interval(medians);
    s.p50_ci = {std::min(s.p50_ci.low, wide.low), std::max(s.p50_ci.high, wide.high)};
  }
  return s;
}

size_t warmup_of(const std::vector<double>& x) {
  constexpr size_t kWindow = 5;
  if (x.size() < 2 * kWindow) return 0;
  const std::vector<double> rest(x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  const double settled = median(rest);
  std::vector<double> off;
  for (double v : rest) off.push_back(std::fabs(v - settled));
  const double limit = settled + std::max(2 * 1.4826 * median(off), 0.02 * settled);
  for (size_t i = 0; i < x.size() / 2; ++i) {
    const auto from = x.begin() + static_cast<std::ptrdiff_t>(i);
    if (median({from, from + kWindow}) <= limit) {
      // The first of five may still be slow where the others are not.
      size_t first = i;
      while (first < i + kWindow / 2 && x[first] > limit) ++first;
      return first;
    }
  }
  return x.size() / 2;
}

double drift_percent(const std::vector<Sample>& x) {
  if (x.size() < 18) return 0;
  const auto third = [&](size_t k) {
    std::vector<double> part;
    for (size_t i = x.size() * k / 3; i < x.size() * (k + 1) / 3; ++i) part.push_back(x[i].ms);
    return std::pair(median(part), median_interval(part));
  };
  const auto first = third(0);
  double most = 0;
  for (const size_t k : {1, 2}) {
    const auto other = third(k);
    const bool apart = other.second.low > first.second.high || other.second.high < first.second.low;
    const double change = 100 * (other.first / first.first - 1);
    if (apart && first.first > 0 && std::fabs(change) > std::fabs(most)) most = change;
  }
  return most;
}

}  // namespace onnxtool
