// SPDX-License-Identifier: Apache-2.0
// Applies passes to a model until nothing changes: one worklist of nodes, each looked at again
// only when something near it changed, so that the cost follows the number of edits. Types and
// known contents are kept up to date by incremental inference.
//
// For every edit, whatever the pass, the runner checks before it commits:
//  - new values agree with what they replace in element type and shape, and nothing static is lost;
//  - values used are visible where they are used; no value in between has other users
//  (`exclusive`);
//  - graph outputs keep their names; an input, initializer or other output takes the place of a
//    graph output only behind an Identity;
//  - new nodes exist in the opset of their graph (ops/lift.h);
//  - quantization and random draws are not touched by passes that do not declare it;
//  - what is quantized behind it is computed in the same order (Pass::reorders);
//  - the model does not grow over its budget.
// An edit that fails a check is rolled back and counted as refused. Nodes that are left without
// use are removed. Bodies of If, Loop and Scan are rewritten like the main graph; bodies of
// local functions are left as they are.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

struct EditRecord {
  const Pass* pass;
  std::string node;  // "node 'x' (Conv)" before the edit
  std::string note;
};

struct PassStats {
  const Pass* pass = nullptr;
  int64_t edits = 0;
  int64_t refused = 0;
  double seconds = 0;
};

struct RunnerOptions {
  std::vector<const Pass*> passes;  // order is priority
  Budget budget;
  int64_t max_edits = INT64_MAX;  // apply only the first ones
  double time_limit = 0;          // seconds; 0: none. Stops between edits; the model is valid
  bool keep_log = false;          // fill RunnerReport::log
  std::vector<std::string_view> unwanted;  // standard operators that no pass shall make
  int max_rounds = 20;
  // Told of each near-match that was refused, once each.
  std::function<void(const Pass&, const std::string& node, const std::string& reason)> refused;
  // Evaluates a node on constants instead of the reference. An input left out has no value.
  std::function<Result<std::vector<Datum>>(const Model&, NodeId, std::span<const Datum>)> evaluate;
};

struct RunnerReport {
  std::vector<PassStats> passes;  // as in the options
  std::vector<EditRecord> log;
  int64_t edits = 0;
  int rounds = 0;
  bool limited = false;  // ended by max_edits or time_limit
};

// Errors: kInvalid where the model is so wrong that inference fails, or its graph has a cycle.
Result<RunnerReport> run_passes(Model& model, const RunnerOptions& options);

}  // namespace onnxtool
