// SPDX-License-Identifier: Apache-2.0
// Elementwise programs of a plan as simd chains.
#pragma once
#include <optional>

#include "exec/cpu/simd/chain.h"
#include "exec/plan/kernel.h"

namespace onnxtool::cpu {

// Elt of one operand as a simd operation; the enumerations run in parallel.
simd::Unary to_unary(Elt e);
simd::Binary to_binary(Elt e);
std::optional<simd::ChainType> to_chain_type(DType t);
// About ns an element takes on one thread.
double elt_cost(Elt e);

// The general kernel of elementwise programs, for kernels that use it on less.
const char* check_chain(const StepInfo& s);
Result<std::unique_ptr<Prepared>> prepare_chain(const StepInfo& s, PrepareContext& ctx);

}  // namespace onnxtool::cpu
