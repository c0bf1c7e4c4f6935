// SPDX-License-Identifier: Apache-2.0
// Decision forests of ai.onnx.ml: TreeEnsemble (version 5), TreeEnsembleClassifier and
// TreeEnsembleRegressor brought to one form, checked (no cycle, no index out of range) so that a
// walk from any root ends at a leaf.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "libonnxtool/ops/ml_util.h"

namespace onnxtool {

struct Forest {
  enum class Test : uint8_t { kLeq, kLt, kGte, kGt, kEq, kNeq, kMember, kLeaf };
  enum class Aggregate : uint8_t { kAverage, kSum, kMin, kMax };
  struct Node {
    Test test = Test::kLeaf;
    bool missing_true = false;  // where NaN goes
    int32_t feature = 0;
    double split = 0;
    int32_t yes = 0, no = 0;        // nodes
    uint32_t first = 0, count = 0;  // leaf: votes; member test: members
  };
  struct Vote {
    int64_t target;
    double weight;
  };
  std::vector<Node> nodes;
  std::vector<int32_t> roots;
  std::vector<Vote> votes;
  std::vector<double> members;
  std::vector<double> base;  // one for each target, or empty (classifier: see finish there)
  int64_t targets = 0;
  int64_t features = 0;  // the input must have at least this many
  Aggregate aggregate = Aggregate::kSum;
  PostTransform transform = PostTransform::kNone;
};

// The forest of a TreeEnsemble, TreeEnsembleRegressor or TreeEnsembleClassifier (whose targets are
// its classes).
Result<Forest> forest_of(const Node& node);

// Votes of all trees for one row, aggregated; `seen` tells which targets had any.
void forest_scores(const Forest& f, std::span<const double> row, std::span<double> scores,
                   std::vector<bool>& seen);

}  // namespace onnxtool
