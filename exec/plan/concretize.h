// SPDX-License-Identifier: Apache-2.0
// First stage of a plan: walks the graph with concrete input types. Every shape, and every value
// that does not depend on run-time data, is computed here (under budgets); bodies of Ifs whose
// condition is known and of local functions are inlined; what is left becomes one step a node.
#pragma once
#include "exec/plan/plan.h"

namespace onnxtool {

Status concretize(const PlanRequest& request, const KernelIndex& kernels, PrepareContext& ctx,
                  const PlanOptions& options, Plan& plan);

// Type and dims of t without its bytes.
Tensor hollow(const Tensor& t);

// Drops steps whose outputs nobody uses, repeatedly.
void drop_dead_steps(Plan& plan, const PlanOptions& options);

}  // namespace onnxtool
