// SPDX-License-Identifier: Apache-2.0
#include "exec/cuda/apply.h"

namespace onnxtool::cuda {

const char* plan_post(const StepInfo& s, Post* post) {
  *post = {};
  if (s.post.size() > kPostOps) return "too many post operations";
  Operand one;  // stands where an operation reads no memory
  one.dtype = DType::kFloat;
  std::vector<Operand> operands;
  for (const PostOp& p : s.post) {
    const bool reads = p.operand >= 0;
    if (p.op == Elt::kWhere) return "a post operation";
    if (reads && !edge_type(s.in[static_cast<size_t>(p.operand)].dtype))
      return "the element type of a post operation";
    operands.push_back(reads ? s.in[static_cast<size_t>(p.operand)] : one);
    post->ops[post->count++] = {
        p.op, !is_unary(p.op), p.swapped, p.operand, operands.back().dtype, p.imm, p.a, p.b};
  }
  return plan_broadcast(operands, s.out[0], &post->nd) ? nullptr : "shapes of post operations";
}

PostPointers bind_post(const Post& post, const RunArgs& args) {
  PostPointers r;
  for (int k = 0; k < post.count; ++k)
    if (post.ops[k].operand >= 0) r.p[k] = args.in[post.ops[k].operand];
  return r;
}

}  // namespace onnxtool::cuda
