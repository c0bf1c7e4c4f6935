// SPDX-License-Identifier: Apache-2.0
// fuse-ort-rotary-embedding
//
//     before: x * cos + Concat(-x[D/2:], x[:D/2]) * sin, with one table for all of the batch
//     after:  com.microsoft.RotaryEmbedding(x, 0, cos[:D/2], sin[:D/2])
#include "passes/ort.h"
#include "passes/rotary.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Add"};

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.available(n.graph, "com.microsoft", "RotaryEmbedding", 1)) return NoMatch{};
  const char* why = nullptr;
  const auto p = rotary_of(ctx, root, why);
  if (!p) return why ? refuse(why) : Match{};
  if (!(*ctx.shape(p->cos))[0].is_const(1)) return refuse("each of the batch has its own table");
  if (!ort_computes(ctx.type(p->x).dtype)) return refuse("it is for float only");
  Edit edit;
  edit.at = root;
  edit.exclusive = p->inner;
  edit.remove = p->inner;
  edit.remove.push_back(root);
  const int64_t zero = 0;
  auto first = Tensor::from_i64(DType::kInt64, {1}, {&zero, 1});
  if (!first.ok()) return NoMatch{};
  const EditValue axis = edit.constant(std::move(*first));
  const auto table = [&](ValueId v) {
    return edit.add("Squeeze", {first_half(*p, v, edit), axis});
  };
  const EditValue cos = table(p->cos), sin = table(p->sin);
  edit.replace_output(n.output(0),
                      edit.add("RotaryEmbedding", {p->x, axis, cos, sin}, {}, "com.microsoft"));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_ort_rotary_embedding;
const Pass pass_fuse_ort_rotary_embedding = {
    .name = "fuse-ort-rotary-embedding",
    .summary = "makes RotaryEmbedding of products with tables of cosines and sines",
    .doc =
        "As fuse-rotary-embedding, for float and half, where one table holds for all of the batch.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
