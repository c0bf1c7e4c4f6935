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

// fuse-normalization at `root`. `foreign`: ONNX Runtime's own operator where the opset has none.
Match match_normalization(const PassContext& ctx, NodeId root, bool foreign);

// The node that makes v of d * d; invalid: it is something else.
NodeId square_of(const PassContext& ctx, ValueId v, ValueId d);

}  // namespace onnxtool
