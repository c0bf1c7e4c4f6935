// SPDX-License-Identifier: Apache-2.0
// Which axes a reduction is over: Reduce*, GlobalAveragePool, GlobalMaxPool.
#pragma once
#include <optional>

#include "exec/plan/step.h"

namespace onnxtool {

struct Reducing {
  std::vector<char> axes;  // of input 0: 1 where it is reduced
  bool keep = true;        // reduced axes stay in the output, as 1
};
// nullopt: axes known only while running, out of range, or none at all.
std::optional<Reducing> step_reducing(const StepInfo& s);

}  // namespace onnxtool
