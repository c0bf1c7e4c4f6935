// SPDX-License-Identifier: Apache-2.0
#include "exec/cuda/apply.h"

#include "exec/plan/quantize.h"

namespace onnxtool::cuda {

const char* plan_post(const StepInfo& s, Post* post) {
  *post = {};
  if (s.post.size() > kPostOps) return "too many post operations";
  const bool quantized = s.op.view() == step_kind::kQConv || s.op.view() == step_kind::kQMatMul;
  std::vector<Operand> operands;
  for (const PostOp& p : s.post) {
    if (p.op == Elt::kWhere) return "a post operation";
    Post::Op& op = post->ops[post->count++];
    op = {p.op, !is_unary(p.op), p.swapped, false, -1, p.imm, p.a, p.b};
    if (p.operand < 0) continue;
    const Operand& o = s.in[static_cast<size_t>(p.operand)];
    if (!edge_type(o.dtype)) return "the element type of a post operation";
    if (post->operands == kPostOperands) return "too many operands of post operations";
    op.linear = quantized && (o.dtype == DType::kUint8 || o.dtype == DType::kInt8);
    op.operand = post->operands;
    post->input[post->operands] = p.operand;
    post->type[post->operands++] = o.dtype;
    operands.push_back(o);
  }
  return plan_broadcast(operands, s.out[0], &post->nd) ? nullptr : "shapes of post operations";
}

PostPointers bind_post(const Post& post, const RunArgs& args) {
  PostPointers r;
  for (int k = 0; k < post.operands; ++k) r.p[k] = args.in[post.input[k]];
  return r;
}

}  // namespace onnxtool::cuda
