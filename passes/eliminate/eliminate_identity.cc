// SPDX-License-Identifier: Apache-2.0
// eliminate-identity
//
//     before: x -> Identity -> y
//     after:  x
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Identity"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Identity") || n.num_inputs() != 1 || !n.has_input(0)) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.replace_output(n.output(0), n.input(0));
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_identity;
const Pass pass_eliminate_identity = {
    .name = "eliminate-identity",
    .summary = "removes Identity nodes",
    .doc =
        "Identity(x) becomes x. An Identity stays where it gives a graph output its name and its "
        "input cannot:\n"
        "an input, an initializer, another output, or a value of an outer graph.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
