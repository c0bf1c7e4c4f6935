// SPDX-License-Identifier: Apache-2.0
// The optimizer as commands see it: pipelines are ordered lists of pass names (pipelines.cc).
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/rewrite/runner.h"
#include "passes/rules.h"

namespace onnxtool {

struct Pipeline {
  int level;  // -O1 and so on; a level holds the lower ones too
  const char* summary;
  std::vector<const Pass*> passes;
};
const std::vector<Pipeline>& pipelines();

// What the result is for. Its own operators may be made (passes with Pass::target of its name), and
// operators that it does not run, or runs worse than what they would replace, are not.
struct Target {
  const char* name;
  const char* summary;
  std::string_view domain;             // of its own operators; empty: none
  std::span<const char* const> lacks;  // standard operators that passes shall not make
};
std::span<const Target> targets();
const Target* find_target(std::string_view name);

struct OptimizeOptions {
  int level = 2;                // 0: none, 1: exact eliminations, 2: fusions, 3: unrolling too
  std::string target = "onnx";  // see targets()
  std::shared_ptr<const RuleSet> rules;  // of the user's own; tried before all others
  std::vector<std::string> passes;       // only these, in this order, instead of a level
  std::vector<std::string> skip;
  // Initializers that are graph inputs of the same name as well can be overridden by who runs the
  // model, and are no constants. In models of IR version below 4 every initializer had to be
  // listed so; there they count as constants unless this is set, and of the listed inputs those
  // stay whose initializer stays. Models of newer IR versions: constants where fold_defaults.
  bool keep_defaults = false;
  bool fold_defaults = false;
  std::vector<ValueId> keep;  // initializers that stay, read by a node or not
  // Calls of local functions replaced by their bodies before: where the model has no more nodes
  // then, those of functions counted (from level 2 on).
  enum class Inline : uint8_t { kAuto, kNever, kAlways } inlining = Inline::kAuto;
  RunnerOptions runner;  // budgets, limits, hooks; its `passes` is ignored
};

struct OptimizeReport {
  RunnerReport run;
  size_t nodes_before = 0, nodes_after = 0;  // with those of bodies, without local functions
  bool inlined = false;                      // calls of local functions
  double seconds = 0;
};

// kUsage: a pass or target name that does not exist.
Result<OptimizeReport> optimize(Model& model, const OptimizeOptions& options = {});

// The passes that these options run, in order.
Result<std::vector<const Pass*>> selected_passes(const OptimizeOptions& options);

// Nodes of the main graph and the bodies of its nodes.
size_t count_nodes(const Model& model);

}  // namespace onnxtool
