// SPDX-License-Identifier: Apache-2.0
// The rules of a valid model beyond the wire format (rules.cc lists them), and what a command does
// between loading a model and using it.
#pragma once
#include <vector>

#include "libonnxtool/infer/infer.h"

namespace onnxtool {

struct VerifyOptions {
  // What inference repairs is a warning: nodes out of order, outputs without type or shape; and
  // inputs of any rank, deprecated operators that can be run.
  bool lenient = false;
  size_t max_findings = 100;
};

// Structure, operators, tensors, functions; no inference.
std::vector<Finding> verify(const Model& model, const VerifyOptions& options = {});

// Operand types of every node against its operator, by the types that inference found.
std::vector<Finding> verify_types(const Model& model, const VerifyOptions& options = {});

// Brings the nodes of every graph into an order where producers come first, keeping the given
// order where it is good. Returns how many graphs changed; kInvalid names the nodes of a cycle.
Result<int> sort_nodes(Model& model);

// Nodes of a cycle of g, in the order in which each uses the one before; empty: there is none.
std::vector<NodeId> find_cycle(const Model& model, GraphId g);

struct CheckReport {
  std::vector<Finding> findings;  // errors first, then by place
  size_t errors = 0, warnings = 0;
  bool truncated = false;  // there may be more: the limit was reached
};

// All of it: verify, then strict inference where the structure allows it, then verify_types. The
// model's types are set. An Error is no verdict: a limit that was reached.
Result<CheckReport> check_model(Model& model, const VerifyOptions& options = {},
                                InferOptions infer = {});

// For commands that go on with the model: the first error as an Error, node order and
// types of outputs repaired, types inferred. Returns the warnings and the state of inference.
Result<InferReport> verify_and_infer(Model& model, const InferOptions& options = {});

}  // namespace onnxtool
