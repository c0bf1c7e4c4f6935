// SPDX-License-Identifier: Apache-2.0
// Attributes of a node in a function's body that refer to attributes of the call.
#pragma once
#include <span>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

bool refers_to_call(const Node& node);

// The node with such attributes replaced by those of the call, or by the function's defaults; left
// out where neither has them.
Node bind_attributes(const Node& node, const Function& fn, std::span<const Attribute> given);

}  // namespace onnxtool
