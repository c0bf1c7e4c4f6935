// SPDX-License-Identifier: Apache-2.0
// What normalizations divide by, as exporters write it.
#pragma once
#include <optional>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

// v is 1 / Sqrt(mean + epsilon) or, where `root`, Sqrt(mean + epsilon).
struct Spread {
  NodeId mean;
  double epsilon = 0;
  std::vector<NodeId> nodes;
};
std::optional<Spread> spread_of(const PassContext& ctx, ValueId v, bool root);

// The node that makes v of d * d; invalid: it is something else.
NodeId square_of(const PassContext& ctx, ValueId v, ValueId d);

}  // namespace onnxtool
