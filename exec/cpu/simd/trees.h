// SPDX-License-Identifier: Apache-2.0
// Decision forests over rows of float. Trees of up to 64 leaves are not walked: every test whose
// answer is "right" clears the leaves of its left side in a bit mask, the lowest bit left is the
// leaf (Lucchese et al. 2015, "QuickScorer"), and one vector tests many rows at once. Larger trees
// and lone rows walk, several at a time, so that the loads of one hide behind the others'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace onnxtool::simd {

// Rows that trees_block takes at most.
inline constexpr int64_t kTreeRows = 32;

struct Trees {
  // Left where x <= threshold; NaN goes right but where a list or bit says otherwise.
  struct Test {
    float threshold;
    uint32_t feature;
    uint32_t keep[2];  // leaves 0..31 and 32..63 that stay when the test says "right"
  };
  struct Step {  // of a walk; the right child follows the left one
    float threshold;
    uint32_t feature;  // with flags. kNanLeft: NaN goes left; kEqual: left where x == threshold
    uint32_t left;     // a leaf leads to itself
    uint32_t leaf;     // number of the leaf
  };
  static constexpr uint32_t kNanLeft = 1u << 31, kEqual = 1u << 30, kFlags = kNanLeft | kEqual;
  struct Tree {
    uint32_t begin, nan_left, end;  // tests: first those where NaN goes right; all equal: walked
    uint32_t root, depth;           // of the walk
    uint32_t first_leaf;
    int32_t target;  // every leaf has one vote, for this target; -1: see `votes`
  };
  struct Vote {
    double weight;
    uint32_t target;
  };
  std::vector<Test> tests;
  std::vector<Step> steps;
  std::vector<Tree> trees;
  std::vector<double> weights;       // of leaves with one vote
  std::vector<uint32_t> first_vote;  // by leaf, one more than leaves
  std::vector<Vote> votes;
};

// xt[feature * kTreeRows + row]: `rows` rows; all kTreeRows are read, those beyond may hold
// anything. Adds the votes to acc[target * kTreeRows + row] and marks seen[same] unless null, trees
// in order.
void trees_block(const Trees& t, const float* xt, int64_t rows, double* acc, uint8_t* seen);
// One row; acc[target].
void trees_row(const Trees& t, const float* x, double* acc, uint8_t* seen);

}  // namespace onnxtool::simd
