// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding as exporters write it:
//     x * cos + Concat(-x[D/2:], x[:D/2]) * sin
#pragma once
#include <optional>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

struct RotaryParts {
  ValueId x;         // [batch, heads, length, size], size known and even
  ValueId cos, sin;  // [batch or 1, length, size], both halves of the last axis the same
  int64_t size = 0;
  std::vector<NodeId> inner;  // nodes that nobody else may read
};

// `root` is the last Add. nullopt: something else; `why` is set where it is nearly one.
std::optional<RotaryParts> rotary_of(const PassContext& ctx, NodeId root, const char*& why);

// The first half of the last axis of one of the tables, by a node of the edit.
EditValue first_half(const RotaryParts& p, ValueId table, Edit& edit);

}  // namespace onnxtool
