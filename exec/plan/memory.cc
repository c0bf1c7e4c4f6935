// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/memory.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace onnxtool {
namespace {

int64_t rounded(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

bool meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

// Places buffers in the given order, each into the smallest gap between those that it meets.
int64_t place(std::span<const Lifetime> buffers, std::span<const size_t> order,
              std::vector<int64_t>& offsets) {
  std::vector<size_t> placed;  // by offset
  int64_t total = 0;
  for (size_t i : order) {
    int64_t size = rounded(buffers[i].bytes);
    int64_t end = 0, best = -1, best_gap = INT64_MAX;
    for (size_t j : placed) {
      if (!meet(buffers[i], buffers[j])) continue;
      int64_t gap = offsets[j] - end;
      if (gap >= size && gap < best_gap) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, offsets[j] + rounded(buffers[j].bytes));
    }
    offsets[i] = best >= 0 ? best : end;
    total = std::max(total, offsets[i] + size);
    auto at = std::upper_bound(placed.begin(), placed.end(), offsets[i],
                               [&](int64_t offset, size_t j) { return offset < offsets[j]; });
    placed.insert(at, i);
  }
  return total;
}

int64_t most_alive(std::span<const Lifetime> buffers) {
  int last = 0;
  for (const Lifetime& b : buffers) last = std::max(last, b.last);
  std::vector<int64_t> delta(static_cast<size_t>(last) + 2, 0);
  for (const Lifetime& b : buffers) {
    delta[static_cast<size_t>(b.first)] += rounded(b.bytes);
    delta[static_cast<size_t>(b.last) + 1] -= rounded(b.bytes);
  }
  int64_t alive = 0, most = 0;
  for (int64_t d : delta) most = std::max(most, alive += d);
  return most;
}

}  // namespace

ArenaLayout plan_arena(std::span<const Lifetime> buffers) {
  ArenaLayout result;
  result.offsets.assign(buffers.size(), 0);
  result.lower_bound = most_alive(buffers);
  std::vector<size_t> order;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].bytes > 0) order.push_back(i);
  auto length = [&](size_t i) { return buffers[i].last - buffers[i].first; };
  auto by_size = [&](size_t a, size_t b) {
    if (buffers[a].bytes != buffers[b].bytes) return buffers[a].bytes > buffers[b].bytes;
    return length(a) != length(b) ? length(a) > length(b) : a < b;
  };
  auto by_length = [&](size_t a, size_t b) {
    return length(a) != length(b) ? length(a) > length(b) : by_size(a, b);
  };
  auto by_first = [&](size_t a, size_t b) {
    return buffers[a].first != buffers[b].first ? buffers[a].first < buffers[b].first
                                                : by_size(a, b);
  };
  result.bytes = INT64_MAX;
  std::vector<int64_t> offsets(buffers.size(), 0);
  auto attempt = [&](auto less) {
    if (result.bytes == result.lower_bound) return;
    std::sort(order.begin(), order.end(), less);
    int64_t bytes = place(buffers, order, offsets);
    if (bytes < result.bytes) {
      result.bytes = bytes;
      result.offsets = offsets;
    }
  };
  std::vector<size_t> best;
  const auto try_order = [&](auto less) {
    const int64_t before = result.bytes;
    attempt(less);
    if (result.bytes < before) best = order;
  };
  try_order(by_size);
  try_order(by_first);
  try_order(by_length);
  // Where much is lost, what came to lie on top goes earlier next time, for as long as it is worth.
  constexpr double kGoodEnough = 1.02;
  constexpr int64_t kEffort = 4'000'000;  // pairs of buffers looked at: milliseconds
  const auto n = static_cast<int64_t>(order.size());
  std::minstd_rand random(1);
  for (int64_t rounds = n > 1 ? kEffort / (n * n) : 0; rounds > 0; --rounds) {
    if (static_cast<double>(result.bytes) <= kGoodEnough * static_cast<double>(result.lower_bound))
      break;
    order = best;
    std::vector<size_t> top;
    for (size_t k = 1; k < order.size(); ++k)
      if (result.offsets[order[k]] + rounded(buffers[order[k]].bytes) == result.bytes)
        top.push_back(k);
    if (top.empty()) break;
    const size_t from = top[random() % top.size()], to = random() % from;
    std::rotate(order.begin() + static_cast<std::ptrdiff_t>(to),
                order.begin() + static_cast<std::ptrdiff_t>(from),
                order.begin() + static_cast<std::ptrdiff_t>(from) + 1);
    const int64_t bytes = place(buffers, order, offsets);
    if (bytes > result.bytes) continue;
    best = order;
    result.bytes = bytes;
    result.offsets = offsets;
  }
  return result;
}

}  // namespace onnxtool
