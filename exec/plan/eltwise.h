// SPDX-License-Identifier: Apache-2.0
// ONNX elementwise operators as elementwise programs.
#pragma once
#include <optional>

#include "exec/plan/plan.h"

namespace onnxtool {

// The step as a program over its inputs, which may shrink to fewer (constants of one element become
// immediates) or gain constants of the plan. nullopt: not elementwise in fp32 arithmetic.
struct EltForm {
  EltProgram program;
  std::vector<int> in;  // values
};
std::optional<EltForm> elementwise_form(Plan& plan, const PlanStep& step, const Model& model);

// Operators that elementwise_form() knows, most of them in float types only ("Add", "Cast").
std::vector<std::string_view> elementwise_ops();

}  // namespace onnxtool
