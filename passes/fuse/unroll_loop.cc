// SPDX-License-Identifier: Apache-2.0
// unroll-loop
//
//     before: Loop or Scan of a few trips
//     after:  its body as many times, results of trips put together by Concat
#include "passes/loops.h"

namespace onnxtool {
namespace {

constexpr int64_t kMaxTrips = 64, kMaxNodes = 1024;

const char* const kRoots[] = {"Loop", "Scan"};

Match match(const PassContext& ctx, NodeId root) {
  return unroll_loop(ctx, root, kMaxTrips, kMaxNodes);
}

}  // namespace

extern const Pass pass_unroll_loop;
const Pass pass_unroll_loop = {
    .name = "unroll-loop",
    .summary = "writes the trips of a Loop or Scan out",
    .doc =
        "Up to 64 trips and 1024 nodes, where the number of trips and the first condition are "
        "known and the body does not\n"
        "end the loop. Bodies that hold graphs or draw random numbers stay. Part of -O3.",
    .roots = kRoots,
    .match = match,
    .level = 3,
};

}  // namespace onnxtool
