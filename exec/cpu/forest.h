// SPDX-License-Identifier: Apache-2.0
// A checked forest of ai.onnx.ml in the form that the kernels run: every test as "x <= threshold".
#pragma once
#include "exec/cpu/simd/trees.h"
#include "libonnxtool/ops/tree_ensemble.h"

namespace onnxtool::cpu {

// The numbers that tests compare with, by feature in order. Instead of a double x its rank counts,
// 2 * (numbers below x), one more where x is one of them: a float that passes the same tests.
struct Ranks {
  std::vector<double> values;
  std::vector<size_t> first;  // by feature, one more than features
  float of(size_t feature, double x) const;
};
// Puts ranks in the place of what the forest's tests compare with.
Ranks rank_tests(Forest& f);

// kUnsupported where the forest takes smallest or largest votes, or a form would grow too large.
Result<simd::Trees> compile_forest(const Forest& f);

// What a classifier's rules ask about all votes.
struct ForestVotes {
  bool single = false;  // two targets, all votes for one of them
  bool all_positive = true;
  int64_t target = 0;     // that one
  bool all_seen = false;  // every row gets a vote for every target
};
ForestVotes votes_of(const Forest& f);

}  // namespace onnxtool::cpu
