// SPDX-License-Identifier: Apache-2.0
// Neighbouring elementwise programs over the same elements become one, so that the values between
// them never go to memory. A program moves down to the position of the one that takes it in.
#include <algorithm>
#include <cmath>

#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

class Regions {
 public:
  Regions(Rewire& g, bool after_conv) : g_(g), after_conv_(after_conv) {}
  void run() {
    for (int s = 0; s < g_.steps(); ++s) {
      bool again = true;
      while (again && program(s)) {
        again = false;
        std::vector<int> in = g_.step(s).in;
        for (int v : in) {
          int p = g_.producer(v);
          if (p >= 0 && p != s && program(p) && taken(p, v) && merge(p, s)) {
            again = true;
            break;
          }
        }
      }
    }
  }

 private:
  bool program(int s) {
    return !g_.step(s).removed && g_.step(s).program && g_.step(s).post.empty();
  }

  // Before epilogues: only numbers rounded after a convolution in float, which takes the rest.
  bool taken(int p, int v) {
    if (!after_conv_) return true;
    const DType t = g_.value(v).dtype;
    return (t == DType::kUint8 || t == DType::kInt8) && g_.step(p).in.size() == 1 &&
           g_.has_op(g_.producer(g_.step(p).in[0]), "Conv");
  }

  bool merge(int p, int s) {
    PlanStep& first = g_.step(p);
    PlanStep& second = g_.step(s);
    const Dims& dims = g_.value(second.out[0]).dims;
    for (int v : first.out)
      if (g_.value(v).dims != dims) return false;
    PlanStep fused = second;
    auto program = std::make_shared<EltProgram>();
    fused.in = first.in;
    program->ops = first.program->ops;
    size_t shift = program->ops.size();
    // Inputs of the second: results of the first, inputs both share, or new ones.
    std::vector<EltRef> mapped;
    for (int v : second.in) {
      auto made = std::find(first.out.begin(), first.out.end(), v);
      if (made != first.out.end()) {
        // The second sees the value as its element type holds it.
        if (!holds(*first.program, made - first.out.begin(), g_.value(v).dtype)) return false;
        // Integers that are stored anyway are read again sooner than floats beside them.
        const bool byte = g_.value(v).dtype == DType::kUint8 || g_.value(v).dtype == DType::kInt8;
        if (byte && g_.sole_user(v) != s) return false;
        mapped.push_back(
            EltRef::op(first.program->results[static_cast<size_t>(made - first.out.begin())]));
        continue;
      }
      auto shared = std::find(fused.in.begin(), fused.in.end(), v);
      if (shared == fused.in.end()) shared = fused.in.insert(fused.in.end(), v);
      mapped.push_back(EltRef::input(static_cast<size_t>(shared - fused.in.begin())));
    }
    for (EltOp op : second.program->ops) {
      for (EltRef& r : op.src) {
        if (r.kind == EltRef::kInput)
          r = mapped[r.index];
        else if (r.kind == EltRef::kOp)
          r.index = static_cast<uint8_t>(r.index + shift);
      }
      program->ops.push_back(op);
    }
    fused.out.clear();
    for (size_t i = 0; i < first.out.size(); ++i) {
      int v = first.out[i];
      bool outside = g_.kept(v);
      for (int u : g_.users(v)) {
        if (u == s) continue;
        if (u < s) return false;  // needs it before
        outside = true;
      }
      if (!outside) continue;
      fused.out.push_back(v);
      program->results.push_back(first.program->results[i]);
    }
    for (size_t i = 0; i < second.out.size(); ++i) {
      fused.out.push_back(second.out[i]);
      program->results.push_back(static_cast<uint8_t>(second.program->results[i] + shift));
    }
    if (program->ops.size() > 64) return false;
    fused.main_inputs = fused.in.size();
    fused.program = program;
    fused.nodes = first.nodes;
    fused.nodes.insert(fused.nodes.end(), second.nodes.begin(), second.nodes.end());
    if (!g_.fits(fused)) return false;

    std::vector<int> in = fused.in, out = fused.out;
    fused.in = second.in;
    second = std::move(fused);
    g_.set_inputs(s, std::move(in));
    for (size_t i = 0; i < out.size(); ++i) g_.set_output(s, i, out[i]);
    g_.step(p).out.clear();
    g_.remove(p);
    return true;
  }

  // Is result i what element type `t` holds, so that storing it as such changes nothing? Bool: 0 or
  // 1. 8-bit integers: rounded, moved by a whole number, clipped to the type's range.
  static bool holds(const EltProgram& program, std::ptrdiff_t i, DType t) {
    if (t == DType::kFloat) return true;
    const EltOp* op = &program.ops[program.results[static_cast<size_t>(i)]];
    if (t == DType::kBool) return is_compare(op->op);
    if (t != DType::kUint8 && t != DType::kInt8) return false;
    const float low = t == DType::kUint8 ? 0 : -128;
    if (op->op != Elt::kClip || op->a != low || op->b != low + 255) return false;
    if (op->src[0].kind != EltRef::kOp) return false;
    op = &program.ops[op->src[0].index];
    if (op->op == Elt::kAdd) {
      if (op->src[0].kind != EltRef::kOp || op->src[1].kind != EltRef::kImm ||
          op->src[1].imm != std::nearbyint(op->src[1].imm))
        return false;
      op = &program.ops[op->src[0].index];
    }
    return op->op == Elt::kRound;
  }

  Rewire& g_;
  bool after_conv_;
};

}  // namespace

void fuse_regions(Rewire& g) { Regions(g, false).run(); }
void fuse_rounding(Rewire& g) { Regions(g, true).run(); }

}  // namespace onnxtool
