// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of a node against the schema of its operator: how many, which may be left
// out, which types, and one type for each type variable.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/ir/type.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {

struct OperandType {
  bool present = false;
  const Type* type = nullptr;  // nullptr or of unknown kind: nothing known
};

struct OperandFault {
  enum Kind : uint8_t { kCount, kMissing, kType, kMixed } kind = kCount;
  std::string message;
};

// All faults; empty: the operands fit.
std::vector<OperandFault> check_operands(const Schema& schema, std::span<const OperandType> inputs,
                                         std::span<const OperandType> outputs);

}  // namespace onnxtool
