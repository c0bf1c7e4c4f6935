// SPDX-License-Identifier: Apache-2.0
// Elementwise nodes become programs; activations that exporters write as several nodes (Gelu, Silu,
// HardSwish, Mish) become one operation.
#include <algorithm>
#include <cmath>

#include "exec/plan/eltwise.h"
#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-4 * std::abs(b); }

class Activations {
 public:
  explicit Activations(Rewire& g) : g_(g) {}

  void run() {
    for (int s = 0; s < g_.steps(); ++s) match(s);
  }

 private:
  struct Op {
    int step = -1;
    const EltOp* op = nullptr;
  };
  // The single operation that makes v.
  Op op_of(int v) {
    int s = v < 0 ? -1 : g_.producer(v);
    if (s < 0 || g_.step(s).removed || !g_.step(s).program) return {};
    if (g_.step(s).program->ops.size() != 1 || !g_.step(s).post.empty()) return {};
    return {s, &g_.step(s).program->ops[0]};
  }
  int operand(const Op& o, int i) {
    const EltRef& r = o.op->src[i];
    return r.kind == EltRef::kInput ? g_.step(o.step).in[r.index] : -1;
  }
  bool is(const Op& o, Elt e) const { return o.op && o.op->op == e; }

  // v = scale * product of factors.
  struct Product {
    double scale = 1;
    std::vector<int> factors;
  };
  void flatten(const Op& o, Product& p, int depth) {
    bool div = o.op->op == Elt::kDiv;
    for (int i = 0; i < 2; ++i) {
      const EltRef& r = o.op->src[i];
      if (r.kind == EltRef::kImm) {
        p.scale *= div && i == 1 ? 1.0 / r.imm : r.imm;
        continue;
      }
      int v = operand(o, i);
      Op inner = op_of(v);
      if (depth < 4 && inner.op && g_.private_producer(v, o.step) >= 0 && multiplies(inner)) {
        flatten(inner, p, depth + 1);
      } else {
        p.factors.push_back(v);
      }
    }
  }
  static bool multiplies(const Op& o) {
    return o.op->op == Elt::kMul || (o.op->op == Elt::kDiv && o.op->src[1].kind == EltRef::kImm);
  }
  Product product_of(int v) {
    Product p;
    Op o = op_of(v);
    if (o.op && multiplies(o))
      flatten(o, p, 0);
    else
      p.factors.push_back(v);
    return p;
  }
  // v = c + other, c a number.
  std::optional<std::pair<double, int>> plus(int v) {
    Op o = op_of(v);
    if (!is(o, Elt::kAdd)) return std::nullopt;
    for (int i = 0; i < 2; ++i)
      if (o.op->src[i].kind == EltRef::kImm && operand(o, 1 - i) >= 0)
        return std::pair(static_cast<double>(o.op->src[i].imm), operand(o, 1 - i));
    return std::nullopt;
  }

  // 1 + erf(x / sqrt 2)
  bool is_erf_term(int v, int x) {
    auto p = plus(v);
    if (!p || !near(p->first, 1)) return false;
    Op erf = op_of(p->second);
    if (!is(erf, Elt::kErf)) return false;
    Product inner = product_of(operand(erf, 0));
    return inner.factors == std::vector<int>{x} && near(inner.scale, std::sqrt(0.5));
  }
  // 1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))
  bool is_tanh_term(int v, int x) {
    auto p = plus(v);
    if (!p || !near(p->first, 1)) return false;
    Op tanh = op_of(p->second);
    if (!is(tanh, Elt::kTanh)) return false;
    Product outer = product_of(operand(tanh, 0));
    if (!near(outer.scale, std::sqrt(2 / M_PI))) return false;
    if (outer.factors.size() == 1) {  // x + c x^3
      Op add = op_of(outer.factors[0]);
      if (!is(add, Elt::kAdd)) return false;
      for (int i = 0; i < 2; ++i) {
        if (operand(add, i) != x) continue;
        Product cubic = product_of(operand(add, 1 - i));
        if (near(cubic.scale, 0.044715) && is_power(cubic.factors, x, 3)) return true;
      }
      return false;
    }
    // x (1 + c x^2)
    if (outer.factors.size() != 2) return false;
    for (int i = 0; i < 2; ++i) {
      if (outer.factors[static_cast<size_t>(i)] != x) continue;
      auto sum = plus(outer.factors[static_cast<size_t>(1 - i)]);
      if (!sum || !near(sum->first, 1)) continue;
      Product square = product_of(sum->second);
      if (near(square.scale, 0.044715) && is_power(square.factors, x, 2)) return true;
    }
    return false;
  }
  // Product of the factors is x^n.
  bool is_power(const std::vector<int>& factors, int x, int n) {
    for (int f : factors) {
      Op o = op_of(f);
      if (f == x)
        n -= 1;
      else if (is(o, Elt::kSquare) && operand(o, 0) == x)
        n -= 2;
      else if (is(o, Elt::kCube) && operand(o, 0) == x)
        n -= 3;
      else
        return false;
    }
    return n == 0;
  }

  // x * f(x), scaled: which activation.
  std::optional<EltOp> gated(int x, int gate, double scale) {
    EltOp r;
    r.src[0] = EltRef::input(0);
    // Any factor: that of one half often went into weights.
    if (const bool erf = is_erf_term(gate, x); erf || is_tanh_term(gate, x)) {
      r.op = erf ? Elt::kGelu : Elt::kGeluTanh;
      r.a = static_cast<float>(2 * scale);
      return r;
    }
    Op f = op_of(gate);
    if (!f.op) return std::nullopt;
    if (f.op->op == Elt::kSigmoid && near(scale, 1)) {
      Product inner = product_of(operand(f, 0));
      if (inner.factors != std::vector<int>{x}) return std::nullopt;
      r.op = Elt::kSilu;
      r.a = static_cast<float>(inner.scale);
      return r;
    }
    if (f.op->op == Elt::kHardSigmoid && near(scale, 1) && operand(f, 0) == x &&
        near(f.op->a, 1.0 / 6) && near(f.op->b, 0.5)) {
      r.op = Elt::kHardSwish;
      return r;
    }
    if (f.op->op == Elt::kClip && near(scale, 1.0 / 6) && f.op->a == 0 && near(f.op->b, 6)) {
      auto p = plus(operand(f, 0));
      if (!p || !near(p->first, 3) || p->second != x) return std::nullopt;
      r.op = Elt::kHardSwish;
      return r;
    }
    if (f.op->op == Elt::kTanh && near(scale, 1)) {
      Op soft = op_of(operand(f, 0));
      if (!is(soft, Elt::kSoftplus) || operand(soft, 0) != x) return std::nullopt;
      r.op = Elt::kMish;
      return r;
    }
    return std::nullopt;
  }

  // clip(x + 3, 0, 6) / 6 alone.
  std::optional<EltOp> hard_sigmoid(int gate, double scale, int& x) {
    Op f = op_of(gate);
    if (!is(f, Elt::kClip) || !near(scale, 1.0 / 6) || f.op->a != 0 || !near(f.op->b, 6))
      return std::nullopt;
    auto p = plus(operand(f, 0));
    if (!p || !near(p->first, 3)) return std::nullopt;
    x = p->second;
    EltOp r{Elt::kHardSigmoid, {EltRef::input(0)}, static_cast<float>(1.0 / 6), 0.5f};
    return r;
  }

  void match(int s) {
    PlanStep& step = g_.step(s);
    if (step.removed || !step.program || step.program->ops.size() != 1) return;
    Op root{s, &step.program->ops[0]};
    if (!multiplies(root)) return;
    Product p;
    flatten(root, p, 0);
    std::optional<EltOp> found;
    int x = -1;
    if (p.factors.size() == 2) {
      for (int i = 0; i < 2 && !found; ++i) {
        x = p.factors[static_cast<size_t>(i)];
        found = gated(x, p.factors[static_cast<size_t>(1 - i)], p.scale);
      }
    } else if (p.factors.size() == 1) {
      found = hard_sigmoid(p.factors[0], p.scale, x);
    }
    if (!found || g_.value(x).dims != g_.value(step.out[0]).dims) return;
    PlanStep changed = step;
    auto program = std::make_shared<EltProgram>();
    program->ops = {*found};
    program->results = {0};
    changed.program = program;
    changed.in = {x};
    changed.main_inputs = 1;
    if (!g_.fits(changed)) return;
    step.program = program;
    step.main_inputs = 1;
    // The nodes that disappear are those between x and here.
    constexpr int kWindow = 64;
    int base = std::max(0, s - kWindow);
    bool before[kWindow];
    for (int i = base; i < s; ++i) before[i - base] = g_.step(i).removed;
    g_.set_inputs(s, {x});
    std::vector<NodeId> nodes;
    for (int i = base; i < s; ++i)
      if (g_.step(i).removed && !before[i - base])
        nodes.insert(nodes.end(), g_.step(i).nodes.begin(), g_.step(i).nodes.end());
    nodes.insert(nodes.end(), step.nodes.begin(), step.nodes.end());
    step.nodes = std::move(nodes);
  }

  Rewire& g_;
};

}  // namespace

void fuse_eltwise(Rewire& g) {
  for (int s = 0; s < g.steps(); ++s) {
    PlanStep& step = g.step(s);
    if (step.removed || step.program || !step.node.valid()) continue;
    StepInfo info = step_info(g.plan, step, g.model);
    bool view = false;
    bool known = true;
    for (int v : step.in) known = known && (v < 0 || g.value(v).known);
    for (int v : step.out) known = known && (v < 0 || g.value(v).known);
    if (!known) continue;
    for (const Kernel* k : g.kernels.candidates(step.op))
      if (k->view && !refusal(*k, info)) view = true;
    if (view) continue;
    auto form = elementwise_form(g.plan, step, g.model);
    if (!form) continue;
    for (int v : form->in) g.add_value(v);
    PlanStep changed = step;
    changed.op = step_kind::kElementwise;
    changed.in = form->in;
    changed.main_inputs = form->in.size();
    changed.program = std::make_shared<EltProgram>(std::move(form->program));
    if (!g.fits(changed)) continue;
    step.op = changed.op;
    step.main_inputs = changed.main_inputs;
    step.program = changed.program;
    g.set_inputs(s, changed.in);
  }
  Activations(g).run();
}

}  // namespace onnxtool
