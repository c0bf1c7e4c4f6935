// SPDX-License-Identifier: Apache-2.0
// eliminate-short-loop
//
//     before: Loop or Scan that takes one trip, or none
//     after:  what its body does, or its initial values
#include "passes/loops.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Loop", "Scan"};

Match match(const PassContext& ctx, NodeId root) { return unroll_loop(ctx, root, 1, 1 << 20); }

}  // namespace

extern const Pass pass_eliminate_short_loop;
const Pass pass_eliminate_short_loop = {
    .name = "eliminate-short-loop",
    .summary = "puts the body of a Loop or Scan of at most one trip in its place",
    .doc =
        "The number of trips and the first condition are known, and the body does not end the "
        "loop. Bodies that hold graphs\n"
        "or draw random numbers stay.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
