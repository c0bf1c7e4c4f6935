// SPDX-License-Identifier: Apache-2.0
// The optimizer as commands see it: pipelines are ordered lists of pass names (pipelines.cc).
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/rewrite/runner.h"

namespace onnxtool {

struct Pipeline {
  int level;  // -O1 and so on; a level holds the lower ones too
  const char* summary;
  std::span<const char* const> passes;
};
std::span<const Pipeline> pipelines();

struct OptimizeOptions {
  int level = 2;                    // 0: none, 1: exact eliminations, 2: fusions too
  std::vector<std::string> passes;  // only these, in this order, instead of a level
  std::vector<std::string> skip;
  // Initializers that are graph inputs of the same name as well can be overridden by who runs the
  // model, and are no constants. In models of IR version below 4 every initializer had to be
  // listed so; there they count as constants unless this is set, and of the listed inputs those
  // stay whose initializer stays. Models of newer IR versions: constants where fold_defaults.
  bool keep_defaults = false;
  bool fold_defaults = false;
  RunnerOptions runner;  // budgets, limits, hooks; its `passes` is ignored
};

struct OptimizeReport {
  RunnerReport run;
  size_t nodes_before = 0, nodes_after = 0;  // with those of bodies, without local functions
  double seconds = 0;
};

// kUsage: a pass name that does not exist.
Result<OptimizeReport> optimize(Model& model, const OptimizeOptions& options = {});

// The passes that these options run, in order.
Result<std::vector<const Pass*>> selected_passes(const OptimizeOptions& options);

// Nodes of the main graph and the bodies of its nodes.
size_t count_nodes(const Model& model);

}  // namespace onnxtool
