// SPDX-License-Identifier: Apache-2.0
// Elementwise steps after an operation become its post operations, as long as one of its kernels
// takes them; per-channel scales and shifts after convolutions go into the weights.
#include <algorithm>

#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

class Epilogues {
 public:
  explicit Epilogues(Rewire& g) : g_(g) {}

  void run() {
    for (int s = 0; s < g_.steps(); ++s) {
      PlanStep& step = g_.step(s);
      if (step.removed || step.program || step.out.empty() || step.out[0] < 0) continue;
      int at = s;
      while (at >= 0) at = extend(at);
    }
  }

 private:
  // Moves the elementwise step after `s` into it. The fused step takes the later one's position;
  // returns it, -1 where nothing was done.
  int extend(int s) {
    PlanStep& step = g_.step(s);
    int v = step.out[0];
    if (!g_.value(v).known || g_.value(v).dtype != DType::kFloat) return -1;
    for (size_t i = 1; i < step.out.size(); ++i)
      if (step.out[i] >= 0) return -1;
    int e = g_.sole_user(v);
    if (e < 0 || !g_.step(e).program || !g_.step(e).post.empty() || g_.step(e).removed) return -1;
    PlanStep& after = g_.step(e);
    if (after.out.size() != 1 || g_.value(after.out[0]).dims != g_.value(v).dims) return -1;
    // Products of integers end in integers again where they are quantized.
    const DType to = g_.value(after.out[0]).dtype;
    const bool integers = step.is(step_kind::kQConv) || step.is(step_kind::kQMatMul);
    if (to != DType::kFloat && !(integers && (to == DType::kUint8 || to == DType::kInt8)))
      return -1;
    PlanStep fused = step;
    if (!append(fused, v, after)) return -1;
    fused.out[0] = after.out[0];
    fused.nodes.insert(fused.nodes.end(), after.nodes.begin(), after.nodes.end());
    if (!g_.fits(fused)) return -1;
    g_.take_in(s, e, std::move(fused));
    return e;
  }

  // The program as post operations on x; false where it is not one line from x to the result.
  bool append(PlanStep& step, int x, const PlanStep& after) {
    const EltProgram& program = *after.program;
    if (program.results.size() != 1 || program.results[0] != program.ops.size() - 1) return false;
    bool absorbing = step.post.empty();
    for (size_t i = 0; i < program.ops.size(); ++i) {
      const EltOp& op = program.ops[i];
      if (op.op == Elt::kWhere || is_compare(op.op)) return false;
      PostOp post;
      post.op = op.op;
      post.a = op.a;
      post.b = op.b;
      int current = -1;
      for (int k = 0; k < (is_unary(op.op) ? 1 : 2); ++k) {
        const EltRef& r = op.src[k];
        bool is_x = i == 0 ? r.kind == EltRef::kInput && after.in[r.index] == x
                           : r.kind == EltRef::kOp && r.index == i - 1;
        if (is_x) {
          if (current >= 0) return false;  // x op x
          current = k;
        } else if (r.kind == EltRef::kImm) {
          post.has_imm = true;
          post.imm = r.imm;
        } else if (r.kind == EltRef::kInput && after.in[r.index] != x) {
          const PlanValue& other = g_.value(after.in[r.index]);
          if (other.dtype != DType::kFloat) return false;
          post.operand = after.in[r.index];  // a value for now
        } else {
          return false;
        }
      }
      if (current < 0) return false;
      post.swapped = current == 1;
      if (absorbing && absorb(step, post)) continue;
      absorbing = false;
      if (post.operand >= 0) {
        step.in.push_back(post.operand);
        post.operand = static_cast<int>(step.in.size()) - 1;
      }
      step.post.push_back(post);
    }
    return true;
  }

  // The values of a per-channel constant of the step's output; empty: it is none.
  std::vector<float> per_channel(const PlanStep& step, const PostOp& post, int64_t channels) {
    if (post.has_imm) return std::vector<float>(static_cast<size_t>(channels), post.imm);
    const Tensor* t = g_.constant(post.operand);
    if (!t || t->dtype() != DType::kFloat) return {};
    size_t rank = g_.value(step.out[0]).dims.size();
    const Dims& d = t->dims();
    if (d.size() > rank || d.size() + 1 < rank) return {};
    size_t axis = 1 - (rank - d.size());
    for (size_t i = 0; i < d.size(); ++i)
      if (i != axis && d[i] != 1) return {};
    if (d[axis] != channels) return {};
    Tensor aligned = t->to_aligned();
    auto f = aligned.as<float>();
    return {f.begin(), f.end()};
  }

  // Convolutions take constant scales and shifts into weights and bias.
  bool absorb(PlanStep& step, const PostOp& post) {
    bool conv = step.is("Conv"), deconv = step.is("ConvTranspose");
    if ((!conv && !deconv) || post.swapped) {
      if (!conv && !deconv) return false;
      if (post.op != Elt::kAdd && post.op != Elt::kMul) return false;
    }
    if (post.op != Elt::kAdd && post.op != Elt::kSub && post.op != Elt::kMul &&
        post.op != Elt::kDiv)
      return false;
    const PlanValue* w = step.in[1] >= 0 ? &g_.value(step.in[1]) : nullptr;
    if (!w || !w->is_constant() || w->dtype != DType::kFloat) return false;
    int64_t channels = g_.value(step.out[0]).dims[1];
    bool has_bias = step.in.size() > 2 && step.in[2] >= 0;
    const Tensor* b = has_bias ? g_.constant(step.in[2]) : nullptr;
    if (has_bias && (!b || b->dtype() != DType::kFloat || b->size() != channels)) return false;
    std::vector<float> p = per_channel(step, post, channels);
    if (static_cast<int64_t>(p.size()) != channels) return false;
    bool scales = post.op == Elt::kMul || post.op == Elt::kDiv;
    if (post.op == Elt::kDiv)
      for (float& f : p) f = 1.0f / f;
    if (post.op == Elt::kSub)
      for (float& f : p) f = -f;
    if (scales) {
      if (!scales_fit(w->dims, channels, deconv)) return false;
      const auto make = [from = w->content(), p, deconv] {
        return scaled_weights(from, p, deconv);
      };
      auto scaled = g_.add_constant(DType::kFloat, w->dims, make, w->make_depth);
      if (!scaled.ok()) return false;
      step.in[1] = *scaled;
    }
    if (!has_bias && scales) return true;
    auto bias = Tensor::allocate(DType::kFloat, {channels});
    if (!bias.ok()) return false;
    auto to = bias->mut<float>();
    if (has_bias) {
      Tensor aligned = b->to_aligned();
      auto from = aligned.as<float>();
      std::copy(from.begin(), from.end(), to.begin());
    }
    for (size_t i = 0; i < to.size(); ++i) to[i] = scales ? to[i] * p[i] : to[i] + p[i];
    int v = g_.add_constant(std::move(*bias));
    if (step.in.size() < 3) {
      step.in.resize(3, -1);
      step.main_inputs = 3;
    }
    step.in[2] = v;
    return true;
  }

  // Weights are [out, in/group, kernel] of Conv, [in, out/group, kernel] of ConvTranspose.
  static bool scales_fit(const Dims& d, int64_t channels, bool deconv) {
    if (d.size() < 3) return false;
    if (!deconv) return d[0] == channels;
    const int64_t group = channels / std::max<int64_t>(1, d[1]);
    return d[1] * group == channels && group > 0 && d[0] % group == 0;
  }
  static Result<Tensor> scaled_weights(const MakeTensor& weights, const std::vector<float>& p,
                                       bool deconv) {
    TRY_ASSIGN(Tensor w, weights());
    w = w.to_aligned();
    const Dims& d = w.dims();
    TRY_ASSIGN(Tensor r, Tensor::allocate(DType::kFloat, d));
    auto from = w.as<float>();
    auto to = r.mut<float>();
    int64_t kernel = 1;
    for (size_t i = 2; i < d.size(); ++i) kernel *= d[i];
    const int64_t group = deconv ? static_cast<int64_t>(p.size()) / d[1] : 1;
    size_t at = 0;
    for (int64_t i = 0; i < d[0]; ++i)
      for (int64_t j = 0; j < d[1]; ++j) {
        float f = deconv ? p[static_cast<size_t>(i / (d[0] / group) * d[1] + j)]
                         : p[static_cast<size_t>(i)];
        for (int64_t k = 0; k < kernel; ++k, ++at) to[at] = from[at] * f;
      }
    return r;
  }

  Rewire& g_;
};

}  // namespace

void fuse_epilogues(Rewire& g) { Epilogues(g).run(); }

}  // namespace onnxtool
