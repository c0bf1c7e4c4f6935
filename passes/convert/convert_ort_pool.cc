// SPDX-License-Identifier: Apache-2.0
// convert-ort-pool
//
//     before: ReduceMean(x) over all spatial axes, dims kept
//     after:  GlobalAveragePool(x)
//
// ONNX Runtime's blocked layout goes through a pool and ends before a reduction.
#include "passes/axes.h"
#include "passes/ort.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"ReduceMean"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "ReduceMean") || !ctx.available(n.graph, "com.microsoft", "FusedConv", 1) ||
      !ort_computes(ctx.type(n.output(0)).dtype))
    return NoMatch{};
  const Shape* x = ctx.shape(n.input(0));
  if (!x || x->size() != 4) return NoMatch{};
  if (kept_axes(ctx, root, 4) != Axes{2, 3}) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.replace_output(n.output(0), edit.add("GlobalAveragePool", {n.input(0)}));
  return edit;
}

}  // namespace

extern const Pass pass_convert_ort_pool;
const Pass pass_convert_ort_pool = {
    .name = "convert-ort-pool",
    .summary = "makes GlobalAveragePool of a mean over both spatial axes",
    .doc = "For float and half values of four dims, where the mean keeps its dims.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
    .target = "ort",
};

}  // namespace onnxtool
