// SPDX-License-Identifier: Apache-2.0
// Whether a rewritten model computes what the original does: both are run on the user's inputs, or
// on three sets of generated ones: random, positive, and with edge values among them and open sizes
// above 1.
#pragma once
#include <string>
#include <vector>

#include "cmd/feeds.h"
#include "passes/passes.h"

namespace onnxtool {

struct ComparisonOptions {
  OptimizeOptions optimize;  // what made the rewritten model
  FeedOptions feeds;
  double tolerance = -1;  // relative to an output's scale; below 0: by the model's types
  int threads = 0;
  std::string device = "cpu";  // where both run
};

class Verifier {
 public:
  Verifier(const Model& original, const ComparisonOptions& options);
  // Makes the inputs. An error means that nothing can be compared.
  Status prepare();
  // The model's cost says that it takes a moment; drops sets of inputs that would make it longer.
  bool cheap();
  Status run_original();
  // Empty: the same outputs. Else what differs. A set that the original cannot be run on counts
  // nothing.
  Result<std::string> compare_with(const Model& changed);
  // Which edit is the first after which outputs differ, by bisection.
  Result<std::string> guilty_edit(const OptimizeReport& report);

 private:
  struct Run {
    std::vector<Datum> feeds, want;
  };
  const Model& original_;
  const ComparisonOptions& o_;
  double tolerance_ = 0;
  bool quick_ = false;  // cheap() was asked for
  std::vector<Run> runs_;
};

}  // namespace onnxtool
