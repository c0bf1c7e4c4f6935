// SPDX-License-Identifier: Apache-2.0
// eliminate-nan-guard: what can never be NaN is not asked whether it is.
//
//     before: Where(IsNaN(p), 0, p), as PyTorch guards attention against rows that are all masked
//     after:  p
#include "passes/bounds.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

Status run(const PassContext& ctx, const EditSink& apply) {
  const Model& m = ctx.model();
  std::optional<Bounds> bounds;
  const std::vector<NodeId> nodes = m.graph(m.main()).nodes;
  for (NodeId id : nodes) {
    if (m.node(id).removed() || !ctx.is(id, "Where")) continue;
    const Node& n = m.node(id);
    const NodeId asked = ctx.producer(n.input(0), "IsNaN");
    const ValueId x = n.input(2);
    if (!asked.valid() || ctx.node(asked).input(0) != x) continue;
    if (!same_type_and_shape(ctx, x, n.output(0))) continue;
    if (!bounds) bounds.emplace(ctx);
    Edit edit;
    edit.at = id;
    if (bounds->finite(x)) {
      edit.remove = {id, asked};
      edit.replace_output(n.output(0), x);
      edit.note = "it is never NaN";
      apply(std::move(edit));
    }
  }
  return ok();
}

}  // namespace

extern const Pass pass_eliminate_nan_guard;
const Pass pass_eliminate_nan_guard = {
    .name = "eliminate-nan-guard",
    .summary = "removes what replaces NaN in numbers that can never be NaN",
    .doc =
        "Where(IsNaN(x), y, x) in the main graph, where bounds of all that x is computed from show "
        "that nothing\n"
        "overflows, whatever the inputs are: models of token ids whose masks are finite. Weights "
        "of up to 256 MiB are\n"
        "looked at.",
    .run = run,
    .level = 1,
};

}  // namespace onnxtool
