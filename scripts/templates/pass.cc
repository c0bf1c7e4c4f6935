// SPDX-License-Identifier: Apache-2.0
// @pass-name@
//
//     before: x -> Neg -> Neg -> y
//     after:  x -> y
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Neg"};

Match match(const PassContext& ctx, NodeId root) {
  const Model& model = ctx.model();
  const Node& outer = model.node(root);
  const NodeId producer = model.value(outer.input(0)).producer;
  if (!producer.valid() || !model.node(producer).is("Neg")) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.replace_output(outer.output(0), model.node(producer).input(0));
  edit.remove = {root, producer};
  edit.note = "two negations cancel";
  return edit;
}

}  // namespace

extern const Pass pass_ @name @;
const Pass pass_ @name @ = {
    .name = "@pass-name@",
    .summary = "one line",
    .doc = "Neg(Neg(x)) becomes x",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
