// SPDX-License-Identifier: Apache-2.0
// fuse-ort-normalization
//
//     before: x / Sqrt(ReduceMean(x * x) + epsilon)
//     after:  SimplifiedLayerNormalization(x, 1), before opset 23
#include "passes/spread.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Div", "Mul"};

Match match(const PassContext& ctx, NodeId root) {
  if (!ctx.available(ctx.node(root).graph, "com.microsoft", "SkipLayerNormalization", 1))
    return NoMatch{};
  return match_normalization(ctx, root, true);
}

}  // namespace

extern const Pass pass_fuse_ort_normalization;
const Pass pass_fuse_ort_normalization = {
    .name = "fuse-ort-normalization",
    .summary = "makes SimplifiedLayerNormalization of its parts",
    .doc =
        "As fuse-normalization, over the last axis, where the opset has no LayerNormalization or "
        "RMSNormalization; of the former\n"
        "the part behind the subtraction of the mean, where nothing scales the result.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
