// SPDX-License-Identifier: Apache-2.0
// Loop and Scan with a known number of trips, written out.
#pragma once
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

// `root` is a Loop or Scan. Refuses more than `max_trips` trips, or more than `max_nodes` nodes.
Match unroll_loop(const PassContext& ctx, NodeId root, int64_t max_trips, int64_t max_nodes);

}  // namespace onnxtool
