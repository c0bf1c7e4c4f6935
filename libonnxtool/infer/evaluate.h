// SPDX-License-Identifier: Apache-2.0
// Reference evaluation of one node by OpDef::eval, within budgets of memory and steps: for shape
// inference, constant folding and tests.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

struct EvalBudget {
  int64_t bytes = int64_t{64} << 20;  // results and what a rule allocates on the way; 0: no limit
  int64_t steps = 10'000;             // nodes and loop trips inside of bodies; 0: no limit
  uint64_t seed = 0;                  // for random operators without a seed
};

// Values that the node's bodies take from outside; a Datum without value: not known.
using OuterValues = std::function<Datum(ValueId)>;

// Outputs of the node for these inputs (a Datum without value: left out), one each, without value
// where the node leaves it out. Checks number and types of the inputs before. Errors: kInvalid (the
// inputs contradict the operator), kUnsupported (no evaluation, or over a budget).
Result<std::vector<Datum>> evaluate_node(const Model& model, const Node& node,
                                         std::span<const Datum> inputs, const EvalBudget& budget,
                                         const OuterValues& outer = {});

// Bytes of what a value holds; shared parts count each time.
int64_t datum_bytes(const Datum& d);

// A sparse tensor as a dense one; `reserve` may refuse the size.
Result<Tensor> densify(const SparseTensor& s, const std::function<Status(int64_t)>& reserve);

}  // namespace onnxtool
