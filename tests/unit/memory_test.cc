// SPDX-License-Identifier: Apache-2.0
// Places in the arena.
#include "exec/plan/memory.h"

#include <catch2/catch.hpp>
#include <random>

namespace onnxtool {
namespace {

void check_apart(std::span<const Lifetime> lives, const ArenaLayout& layout) {
  for (size_t i = 0; i < lives.size(); ++i) {
    CHECK(layout.offsets[i] % kArenaAlignment == 0);
    if (lives[i].bytes > 0) CHECK(layout.offsets[i] + lives[i].bytes <= layout.bytes);
    for (size_t j = 0; j < i; ++j) {
      const bool meet = lives[i].first <= lives[j].last && lives[j].first <= lives[i].last;
      if (!meet || lives[i].bytes == 0 || lives[j].bytes == 0) continue;
      const bool apart = layout.offsets[i] + lives[i].bytes <= layout.offsets[j] ||
                         layout.offsets[j] + lives[j].bytes <= layout.offsets[i];
      REQUIRE(apart);
    }
  }
}

// A network of blocks: a value lives for a few steps, some bridge a block, one in ten a long way;
// sizes fall as a pyramid's do.
std::vector<Lifetime> network(std::mt19937& rng, int steps) {
  std::vector<Lifetime> lives;
  const auto one_of = [&](int n) { return static_cast<int>(rng() % static_cast<unsigned>(n)); };
  for (int i = 0; i < steps; ++i) {
    const int64_t base = int64_t{1} << (20 - 8 * i / steps);
    Lifetime l;
    l.bytes = base * (1 + one_of(4)) / (1 + one_of(3));
    l.first = i;
    l.last = std::min(steps, i + 1 + (one_of(10) == 0 ? one_of(steps) : one_of(4)));
    lives.push_back(l);
    if (one_of(4) == 0) lives.push_back({base / 2, i, i});  // scratch
  }
  return lives;
}

TEST_CASE("buffers that live at the same time lie apart, in little more than the least there is") {
  std::mt19937 rng(1);
  constexpr int kRounds = 60;
  double ratios = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto lives = network(rng, 20 + round * 3);
    const ArenaLayout layout = plan_arena(lives);
    check_apart(lives, layout);
    CHECK(layout.bytes >= layout.lower_bound);
    ratios += static_cast<double>(layout.bytes) / static_cast<double>(layout.lower_bound);
  }
  CHECK(ratios / kRounds <= 1.05);  // no order reaches the bound of each
  CHECK(plan_arena({}).bytes == 0);
}

}  // namespace
}  // namespace onnxtool
