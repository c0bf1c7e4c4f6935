// SPDX-License-Identifier: Apache-2.0
// fuse-rotary-embedding
//
//     before: x * cos + Concat(-x[D/2:], x[:D/2]) * sin
//     after:  RotaryEmbedding(x, cos[:D/2], sin[:D/2])
#include "passes/rotary.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.available(n.graph, {}, "RotaryEmbedding", 23)) return NoMatch{};
  const char* why = nullptr;
  const auto p = rotary_of(ctx, root, why);
  if (!p) return why ? refuse(why) : Match{};
  if ((*ctx.shape(p->cos))[0] != (*ctx.shape(p->x))[0])
    return refuse("the tables are not given for each of the batch");
  const DType type = ctx.type(p->x).dtype;
  if (!is_float_type(type) || type == DType::kDouble) return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.exclusive = p->inner;
  edit.remove = p->inner;
  edit.remove.push_back(root);
  const EditValue cos = first_half(*p, p->cos, edit), sin = first_half(*p, p->sin, edit);
  edit.replace_output(n.output(0), edit.add("RotaryEmbedding", {p->x, cos, sin}));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_rotary_embedding;
const Pass pass_fuse_rotary_embedding = {
    .name = "fuse-rotary-embedding",
    .summary = "makes RotaryEmbedding of products with tables of cosines and sines",
    .doc =
        "From opset 23 on. The tables are given for each of the batch and each position, their "
        "halves are the same (a\n"
        "Concat of one value with itself, and element by element from there), and nobody reads "
        "what is between.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
