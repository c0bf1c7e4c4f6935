// SPDX-License-Identifier: Apache-2.0
// Places buffers with known lifetimes in one arena. Source: greedy by size and by lifetime, as
// described by Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference"
// (2020); the smaller arena wins, and its order is improved by random moves where much is lost.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace onnxtool {

struct Lifetime {
  int64_t bytes = 0;
  int first = 0, last = 0;  // steps, both ends included
};

struct ArenaLayout {
  std::vector<int64_t> offsets;  // one a buffer, multiples of kArenaAlignment
  int64_t bytes = 0;
  int64_t lower_bound = 0;  // most bytes alive at one step, rounded up buffer by buffer
};

inline constexpr int64_t kArenaAlignment = 64;

// Buffers whose lifetimes meet never overlap. Buffers of 0 bytes get offset 0.
ArenaLayout plan_arena(std::span<const Lifetime> buffers);

}  // namespace onnxtool
