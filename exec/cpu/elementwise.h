// SPDX-License-Identifier: Apache-2.0
// Elementwise programs of a plan as simd chains.
#pragma once
#include <optional>

#include "exec/cpu/simd/chain.h"
#include "exec/plan/step.h"

namespace onnxtool::cpu {

// Elt of one operand as a simd operation; the enumerations run in parallel.
simd::Unary to_unary(Elt e);
simd::Binary to_binary(Elt e);
std::optional<simd::ChainType> to_chain_type(DType t);
// About ns an element takes on one thread.
double elt_cost(Elt e);

}  // namespace onnxtool::cpu
