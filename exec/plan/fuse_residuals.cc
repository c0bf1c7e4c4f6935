// SPDX-License-Identifier: Apache-2.0
// An elementwise program that takes the codes of a product of integers together with other values
// (the addition of a residual between quantized tensors) becomes post operations of the product.
// Programs of the codes alone are left: they are looked up in tables.
#include <algorithm>

#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

class Residuals {
 public:
  explicit Residuals(Rewire& g) : g_(g) {}

  void run() {
    for (int s = 0; s < g_.steps(); ++s) {
      const PlanStep& step = g_.step(s);
      if (step.removed || !step.program || !step.post.empty() || step.in.size() < 2 ||
          step.out.size() != 1)
        continue;
      // The latest product: its other operands are there before it most likely.
      int best = -1;
      for (int v : step.in)
        if (product(v, s) && (best < 0 || g_.producer(v) > g_.producer(best))) best = v;
      if (best >= 0) fuse(g_.producer(best), s, best);
    }
  }

 private:
  // v: codes of a product that only step `user` takes.
  bool product(int v, int user) {
    const int p = v < 0 ? -1 : g_.private_producer(v, user);
    if (p < 0 || g_.step(p).removed || g_.step(p).out.size() != 1) return false;
    if (!g_.step(p).is(step_kind::kQConv) && !g_.step(p).is(step_kind::kQMatMul)) return false;
    const DType t = g_.value(v).dtype;
    return (t == DType::kUint8 || t == DType::kInt8) &&
           g_.value(v).dims == g_.value(g_.step(user).out[0]).dims;
  }

  void fuse(int p, int s, int codes) {
    const PlanStep& after = g_.step(s);
    PlanStep fused = g_.step(p);
    if (!append(fused, codes, after)) return;
    fused.out = after.out;
    fused.nodes.insert(fused.nodes.end(), after.nodes.begin(), after.nodes.end());
    if (g_.fits(fused)) g_.take_in(p, s, std::move(fused));
  }

  // What an operation of the program holds: input * a + b.
  struct Other {
    int input = -1;
    float a = 1, b = 0;
  };

  // Other with a number; false: not linear.
  static bool scale(Other& o, const EltOp& op, bool swapped, float imm) {
    switch (op.op) {
      case Elt::kAdd: o.b += imm; return true;
      case Elt::kMul: o.a *= imm, o.b *= imm; return true;
      case Elt::kSub:
        if (swapped)
          o.a = -o.a, o.b = imm - o.b;
        else
          o.b -= imm;
        return true;
      default: return false;
    }
  }

  // The program as post operations on the codes: one line from them to the result, with other
  // values beside it.
  bool append(PlanStep& step, int codes, const PlanStep& after) {
    const EltProgram& program = *after.program;
    if (program.results.size() != 1 || program.results[0] + size_t{1} != program.ops.size())
      return false;
    std::vector<Other> others(program.ops.size());
    int line = -1;  // the last operation on the line; -1: the codes
    for (size_t i = 0; i < program.ops.size(); ++i) {
      const EltOp& op = program.ops[i];
      if (!is_unary(op.op) && !is_binary(op.op)) return false;
      int current = -1;
      std::optional<Other> other;
      PostOp post;
      post.op = op.op;
      post.a = op.a;
      post.b = op.b;
      for (int k = 0; k < (is_unary(op.op) ? 1 : 2); ++k) {
        const EltRef& r = op.src[k];
        const bool input = r.kind == EltRef::kInput;
        if (r.kind == EltRef::kImm) {
          post.has_imm = true;
          post.imm = r.imm;
        } else if (input ? after.in[r.index] == codes && line < 0
                         : r.kind == EltRef::kOp && static_cast<int>(r.index) == line) {
          if (current >= 0) return false;
          current = k;
        } else {
          if (other || (input && after.in[r.index] == codes)) return false;
          other = input ? Other{after.in[r.index]} : others[r.index];
          if (other->input < 0) return false;  // an earlier value of the line
        }
      }
      post.swapped = current == 1;
      if (current < 0) {
        if (!other || !post.has_imm || !scale(*other, op, op.src[0].kind == EltRef::kImm, post.imm))
          return false;
        others[i] = *other;
        continue;
      }
      if (other && !beside(step, post, *other)) return false;
      step.post.push_back(post);
      line = static_cast<int>(i);
    }
    return line + size_t{1} == program.ops.size();
  }

  bool beside(PlanStep& step, PostOp& post, Other other) {
    const DType t = g_.value(other.input).dtype;
    if (t == DType::kFloat) {
      if (other.a != 1 || other.b != 0) return false;
    } else {
      const bool less = post.op == Elt::kSub && !post.swapped;
      if (post.op != Elt::kAdd && !less) return false;
      post.op = Elt::kAdd;
      post.swapped = false;
      post.a = less ? -other.a : other.a;
      post.b = less ? -other.b : other.b;
    }
    step.in.push_back(other.input);
    post.operand = static_cast<int>(step.in.size()) - 1;
    return true;
  }

  Rewire& g_;
};

}  // namespace

void fuse_residuals(Rewire& g) { Residuals(g).run(); }

}  // namespace onnxtool
