// SPDX-License-Identifier: Apache-2.0
// Evaluates one node whose inputs are all known: by a fast kernel where one accepts, else by the
// operator's reference evaluation.
#pragma once
#include <span>
#include <vector>

#include "exec/plan/plan.h"

namespace onnxtool {

Tensor half_to_float(const Tensor& t);  // float16 or bfloat16 to float

// `out` gives the outputs' types. The results fit them where those are known; an undefined tensor
// stands for an output left out. Over `budget` bytes: kUnsupported.
Result<std::vector<Tensor>> evaluate_constant(const Model& model, const Node& node,
                                              std::span<const Tensor* const> inputs,
                                              std::span<const PlanValue> out,
                                              const KernelIndex& kernels, int threads,
                                              int64_t budget);

}  // namespace onnxtool
