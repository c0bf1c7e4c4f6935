// SPDX-License-Identifier: Apache-2.0
// eliminate-dead-code: nodes whose outputs nobody reads, local functions that nobody calls.
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  for (ValueId o : m.node(root).outputs())
    if (o.valid() && (m.value(o).use_count > 0 || m.value(o).graph_output)) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.note = "no output is used";
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_dead_code;
const Pass pass_eliminate_dead_code = {
    .name = "eliminate-dead-code",
    .summary = "removes nodes whose outputs are not used",
    .doc =
        "A node is removed when none of its outputs is read by a node, by a body that captures it, "
        "or is a\n"
        "graph output. What fed only that node goes too.",
    .match = match,
};

}  // namespace onnxtool
