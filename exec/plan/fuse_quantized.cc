// SPDX-License-Identifier: Apache-2.0
// Convolutions and matrix products between dequantized tensors take the integers themselves.
#include <algorithm>
#include <cmath>

#include "exec/plan/eltwise.h"
#include "exec/plan/rewire.h"

namespace onnxtool {
namespace {

class Quantized {
 public:
  Quantized(Rewire& g, const QuantizedConstants& constants) : g_(g), constants_(constants) {}

  void run() {
    for (int s = 0; s < g_.steps(); ++s) {
      if (g_.step(s).removed || g_.step(s).dynamic || !g_.step(s).post.empty()) continue;
      if (g_.step(s).out.size() != 1 || g_.step(s).out[0] < 0 || !g_.value(g_.step(s).out[0]).known)
        continue;
      if (g_.has_op(s, "Conv"))
        conv(s);
      else if (g_.has_op(s, "MatMul") || g_.has_op(s, "Gemm"))
        matmul(s) || blocks(s);
      else if (g_.has_op(s, "MatMulInteger"))
        integer(s) || sums(s);
      else if (g_.has_op(s, "ConvInteger"))
        sums(s);
      else
        moved(s);
    }
  }

 private:
  int in(int s, size_t i) { return i < g_.step(s).in.size() ? g_.step(s).in[i] : -1; }

  struct Source {
    int q = -1;
    float scale = 1, zero = 0;
  };
  // v = (q - zero) * scale of 8-bit q.
  std::optional<Source> dequantized(int v) {
    const int p = v < 0 ? -1 : g_.producer(v);
    if (p < 0 || g_.step(p).removed || !g_.step(p).program || g_.step(p).in.size() != 1 ||
        g_.step(p).out.size() != 1)
      return std::nullopt;
    Source r;
    r.q = g_.step(p).in[0];
    const DType t = g_.value(r.q).dtype;
    if (t != DType::kUint8 && t != DType::kInt8) return std::nullopt;
    const auto& ops = g_.step(p).program->ops;
    if (ops.empty() || ops.size() > 2) return std::nullopt;
    const EltOp& mul = ops.back();
    if (mul.op != Elt::kMul || mul.src[1].kind != EltRef::kImm) return std::nullopt;
    r.scale = mul.src[1].imm;
    if (ops.size() == 2) {
      if (ops[0].op != Elt::kSub || ops[0].src[1].kind != EltRef::kImm) return std::nullopt;
      r.zero = ops[0].src[1].imm;
    }
    if (r.zero != std::nearbyint(r.zero) || !(r.scale > 0)) return std::nullopt;
    return r;
  }

  // Operators that only choose among the elements of input 0 take the integers where the result is
  // quantized with the same scale and zero point.
  void moved(int s) {
    static constexpr std::string_view kOps[] = {"MaxPool",      "Reshape",      "Flatten",
                                                "Transpose",    "Squeeze",      "Unsqueeze",
                                                "DepthToSpace", "SpaceToDepth", "Slice"};
    if (g_.step(s).program ||
        std::find(std::begin(kOps), std::end(kOps), g_.step(s).op.view()) == std::end(kOps))
      return;
    const auto x = dequantized(in(s, 0));
    const int user = x ? g_.sole_user(g_.step(s).out[0]) : -1;
    if (user < 0 || !g_.step(user).program || g_.step(user).in.size() != 1 ||
        g_.step(user).out.size() != 1)
      return;
    const int out = g_.step(user).out[0];
    const DType t = g_.value(out).dtype;
    if (t != g_.value(x->q).dtype ||
        !same(*g_.step(user).program, quantize_program(x->scale, static_cast<int64_t>(x->zero), t)))
      return;
    PlanStep step = g_.step(s);
    step.in[0] = x->q;
    step.out = {out};
    step.nodes.insert(step.nodes.end(), g_.step(user).nodes.begin(), g_.step(user).nodes.end());
    if (g_.fits(step)) replace(user, std::move(step));
  }
  static bool same(const EltProgram& a, const EltProgram& b) {
    if (a.ops.size() != b.ops.size() || a.results != b.results) return false;
    for (size_t i = 0; i < a.ops.size(); ++i) {
      if (a.ops[i].op != b.ops[i].op || a.ops[i].a != b.ops[i].a || a.ops[i].b != b.ops[i].b)
        return false;
      for (int k = 0; k < 3; ++k) {
        const EltRef &x = a.ops[i].src[k], &y = b.ops[i].src[k];
        if (x.kind != y.kind || x.index != y.index || x.imm != y.imm) return false;
      }
    }
    return true;
  }

  // The integers behind constant float weights.
  std::optional<QuantizedConstant> integers(int v) {
    if (v < 0 || !g_.value(v).is_constant()) return std::nullopt;
    if (auto it = constants_.find(v); it != constants_.end()) return it->second;
    const ValueId origin = g_.value(v).origin;
    if (!origin.valid() || !g_.model.value(origin).producer.valid()) return std::nullopt;
    const Node& n = g_.model.node(g_.model.value(origin).producer);
    if (!n.is("DequantizeLinear") || n.attr_int("block_size", 0) != 0) return std::nullopt;
    const auto constant = [&](size_t i) -> const Tensor* {
      return n.has_input(i) ? g_.model.constant(n.input(i)) : nullptr;
    };
    const Tensor *q = constant(0), *scale = constant(1), *zero = constant(2);
    if (!q || !scale || (n.has_input(2) && !zero) || q->dims() != g_.value(v).dims)
      return std::nullopt;
    QuantizedConstant c{q->to_aligned(), *scale, zero ? *zero : Tensor(), n.attr_int("axis", 1)};
    if (c.axis < 0) c.axis += q->rank();
    return c;
  }

  // Scales of the products: of x and of w.
  int scales(const std::vector<float>& w, float x) {
    std::vector<float> s(w);
    for (float& f : s) f *= x;
    return g_.add_constant(
        Tensor::of<float>({static_cast<int64_t>(s.size())}, std::span<const float>(s)));
  }

  int zeros(const std::vector<int32_t>& z) {
    return g_.add_constant(
        Tensor::of<int32_t>({static_cast<int64_t>(z.size())}, std::span<const int32_t>(z)));
  }

  bool bias(int v, int64_t n) {
    if (v < 0) return true;
    const Tensor* t = g_.constant(v);
    return t && t->dtype() == DType::kFloat && t->rank() == 1 && t->size() == n;
  }

  bool change(int s, std::string_view op, std::vector<int> inputs, float zero) {
    PlanStep changed = g_.step(s);
    changed.op = Sym(op);
    changed.in = inputs;
    changed.main_inputs = inputs.size();
    changed.attrs.push_back(Attribute::of("x_zero", static_cast<int64_t>(zero)));
    return commit(s, std::move(changed));
  }
  bool commit(int s, PlanStep changed) {
    if (!g_.fits(changed)) return false;
    g_.step(s).op = changed.op;
    g_.step(s).main_inputs = changed.main_inputs;
    g_.step(s).attrs = changed.attrs;
    g_.set_inputs(s, std::move(changed.in));
    return true;
  }

  void conv(int s) {
    const auto x = dequantized(in(s, 0));
    const auto c = x ? integers(in(s, 1)) : std::nullopt;
    if (!c) return;
    auto w = integer_weights(*c, 0);
    if (!w || !bias(in(s, 2), w->w.dims()[0])) return;
    const int scale = scales(w->scale, x->scale);
    std::vector<int> inputs = {x->q, g_.add_constant(std::move(w->w)), in(s, 2), scale};
    if (!w->zero.empty()) inputs.push_back(zeros(w->zero));
    change(s, step_kind::kQConv, std::move(inputs), x->zero);
  }

  bool matmul(int s) {
    const auto a = dequantized(in(s, 0));
    const auto c = a ? integers(in(s, 1)) : std::nullopt;
    if (!c || c->q.rank() != 2 || g_.value(in(s, 0)).dims.size() < 2) return false;
    const bool gemm = g_.has_op(s, "Gemm");
    bool transposed = false;
    if (gemm) {
      const StepInfo info = step_info(g_.plan, g_.step(s), g_.model);
      if (info.attr_int("transA", 0) || info.attr_float("alpha", 1) != 1 ||
          (in(s, 2) >= 0 && info.attr_float("beta", 1) != 1))
        return false;
      transposed = info.attr_int("transB", 0) != 0;
    }
    auto w = integer_weights(*c, transposed ? 0 : 1);
    const int64_t n = c->q.dims()[transposed ? 0 : 1];
    if (!w || !bias(in(s, 2), n)) return false;
    const int scale = scales(w->scale, a->scale);
    Tensor b = transposed ? turned(w->w) : std::move(w->w);
    std::vector<int> inputs = {a->q, g_.add_constant(std::move(b)), in(s, 2), scale};
    if (!w->zero.empty()) inputs.insert(inputs.end(), {-1, zeros(w->zero)});
    return change(s, step_kind::kQMatMul, std::move(inputs), a->zero);
  }

  // Float by weights quantized in blocks along K.
  bool blocks(int s) {
    if (!g_.has_op(s, "MatMul") || in(s, 1) < 0 || !g_.value(in(s, 1)).is_constant()) return false;
    const ValueId origin = g_.value(in(s, 1)).origin;
    if (!origin.valid() || !g_.model.value(origin).producer.valid()) return false;
    const Node& n = g_.model.node(g_.model.value(origin).producer);
    const int64_t block = n.attr_int("block_size", 0);
    if (!n.is("DequantizeLinear") || block == 0 || n.attr_int("axis", 1) != 0) return false;
    const auto constant = [&](size_t i) -> const Tensor* {
      return n.has_input(i) ? g_.model.constant(n.input(i)) : nullptr;
    };
    const Tensor *q = constant(0), *scale = constant(1), *zero = constant(2);
    if (!q || !scale || (n.has_input(2) && !zero) || q->rank() != 2) return false;
    const DType t = q->dtype();
    if (t != DType::kInt4 && t != DType::kUint4 && t != DType::kInt8 && t != DType::kUint8)
      return false;
    if (scale->dtype() != DType::kFloat) return false;
    PlanStep changed = g_.step(s);
    changed.op = Sym(step_kind::kBlockMatMul);
    changed.in = {in(s, 0), g_.add_constant(*q), g_.add_constant(*scale)};
    if (zero) changed.in.push_back(g_.add_constant(*zero));
    changed.main_inputs = changed.in.size();
    changed.attrs.push_back(Attribute::of("block_size", block));
    return commit(s, std::move(changed));
  }

  static Tensor turned(const Tensor& t) {
    const int64_t n = t.dims()[0], k = t.dims()[1];
    auto r = Tensor::allocate(t.dtype(), {k, n});
    ONNXTOOL_CHECK(r.ok());
    const Tensor aligned = t.to_aligned();
    const std::byte* from = aligned.raw();
    std::byte* to = r->mutable_raw();
    constexpr int64_t kBlock = 64;
    for (int64_t j = 0; j < k; j += kBlock)
      for (int64_t i = 0; i < n; ++i)
        for (int64_t x = j; x < std::min(k, j + kBlock); ++x) to[x * n + i] = from[i * k + x];
    return std::move(*r);
  }

  // MatMulInteger whose sums are only wanted as floats.
  bool integer(int s) {
    const int user = g_.sole_user(g_.step(s).out[0]);
    if (user < 0 || !g_.step(user).program || g_.step(user).out.size() != 1) return false;
    const auto& ops = g_.step(user).program->ops;
    const int out = g_.step(user).out[0];
    if (ops.size() != 1 || ops[0].op != Elt::kCopy || g_.value(out).dtype != DType::kFloat)
      return false;
    const Tensor* b = g_.constant(in(s, 1));
    const Tensor* zero = g_.constant(in(s, 3));
    if (!b || b->rank() != 2 || (in(s, 3) >= 0 && !zero)) return false;
    if (in(s, 2) >= 0 && g_.value(in(s, 2)).size() != 1) return false;
    if (g_.value(in(s, 0)).dims.size() < 2) return false;
    const float one = 1;
    auto w = integer_weights(
        {b->to_aligned(), Tensor::scalar<float>(one), zero ? *zero : Tensor(), 1}, 1);
    if (!w) return false;
    PlanStep fused;
    fused.op = Sym(step_kind::kQMatMul);
    fused.nodes = g_.step(s).nodes;
    fused.nodes.insert(fused.nodes.end(), g_.step(user).nodes.begin(), g_.step(user).nodes.end());
    const int scale = scales(w->scale, 1);
    std::vector<int> inputs = {in(s, 0), g_.add_constant(std::move(w->w)), -1, scale, in(s, 2)};
    if (!w->zero.empty()) inputs.push_back(zeros(w->zero));
    fused.in = inputs;
    fused.main_inputs = inputs.size();
    fused.out = {out};
    if (!g_.fits(fused)) return false;
    fused.in = g_.step(user).in;
    g_.step(user) = std::move(fused);
    g_.set_inputs(user, std::move(inputs));  // the integer step goes with its last user
    return true;
  }

  // A product of integers whose sums, with a bias or without, are only wanted as floats, where the
  // integer kernels do not take the weights: the same product of whole floats.
  bool sums(int s) {
    const bool conv = g_.has_op(s, "ConvInteger");
    const int zero_in = in(s, 2);
    if (zero_in >= 0 && g_.value(zero_in).size() != 1) return false;
    const Tensor* w = g_.constant(in(s, 1));
    const Tensor* zero = g_.constant(in(s, 3));
    if (!w || (in(s, 3) >= 0 && !zero) || !g_.value(in(s, 0)).known) return false;
    if (conv ? w->rank() < 3 : w->rank() != 2 || g_.value(in(s, 0)).dims.size() < 2) return false;
    const size_t axis = conv ? 0 : 1;
    // The bias, if any, then the conversion.
    int last = g_.sole_user(g_.step(s).out[0]), add = -1, bias = -1;
    if (last >= 0 && g_.has_op(last, "Add")) {
      add = last;
      const int sum = g_.step(s).out[0];
      bias = in(add, 0) == sum ? in(add, 1) : in(add, 0);
      if (bias == sum || g_.value(g_.step(add).out[0]).dims != g_.value(sum).dims) return false;
      last = g_.sole_user(g_.step(add).out[0]);
    }
    if (last < 0 || !g_.step(last).program || g_.step(last).out.size() != 1) return false;
    const auto& ops = g_.step(last).program->ops;
    const int out = g_.step(last).out[0];
    if (ops.size() != 1 || ops[0].op != Elt::kCopy || g_.value(out).dtype != DType::kFloat)
      return false;
    auto whole = whole_floats(*w, zero, axis);
    if (!whole) return false;

    const int x = g_.add_value_like(in(s, 0), DType::kFloat);
    PlanStep moved;
    moved.op = Sym(step_kind::kElementwise);
    moved.nodes = g_.step(s).nodes;
    moved.in = {in(s, 0)};
    auto program = std::make_shared<EltProgram>();
    if (zero_in >= 0) {
      moved.in.push_back(zero_in);
      program->ops = {{Elt::kSub, {EltRef::input(0), EltRef::input(1)}}};
    } else {
      program->ops = {{Elt::kCopy, {EltRef::input(0)}}};
    }
    program->results = {0};
    moved.main_inputs = moved.in.size();
    moved.program = std::move(program);
    moved.out = {x};
    PlanStep product;
    product.op = Sym(conv ? "Conv" : "MatMul");
    product.node = g_.step(s).node;
    product.attrs = {Attribute::of("plan.expanded", int64_t{1})};
    product.nodes = g_.step(s).nodes;
    product.nodes.insert(product.nodes.end(), g_.step(last).nodes.begin(),
                         g_.step(last).nodes.end());
    product.in = {x, g_.add_constant(std::move(*whole))};
    product.main_inputs = product.in.size();
    product.out = {out};
    if (bias >= 0) {  // an addition after it, in the place of the conversion
      const int y = g_.add_value_like(out, DType::kFloat);
      product.out = {y};
      PlanStep sum = g_.step(last);
      auto plus = std::make_shared<EltProgram>();
      plus->ops = {{Elt::kAdd, {EltRef::input(0), EltRef::input(1)}}};
      plus->results = {0};
      if (const Tensor* b = g_.constant(bias)) {
        auto f = Tensor::from_f64(DType::kFloat, b->dims(), b->to_f64());
        if (!f.ok()) return false;
        bias = g_.add_constant(std::move(*f));
      }
      sum.in = {y, bias};
      sum.main_inputs = 2;
      sum.program = std::move(plus);
      if (!g_.fits(moved) || !g_.fits(product) || !g_.fits(sum)) return false;
      g_.set_inputs(last, {in(last, 0), bias});  // so that its producer stays
      replace(s, std::move(moved));
      replace(add, std::move(product));
      replace(last, std::move(sum));
      return true;
    }
    if (!g_.fits(moved) || !g_.fits(product)) return false;
    replace(s, std::move(moved));
    replace(last, std::move(product));
    return true;
  }

  // The step in slot s is another one from now on.
  void replace(int s, PlanStep step) {
    std::vector<int> inputs = std::move(step.in);
    const std::vector<int> outputs = step.out;
    step.in = g_.step(s).in;
    g_.step(s) = std::move(step);
    for (size_t i = 0; i < outputs.size(); ++i) g_.set_output(s, i, outputs[i]);
    g_.set_inputs(s, std::move(inputs));
  }

  // w - zero in float; zero one number, or one for each index of the axis.
  static std::optional<Tensor> whole_floats(const Tensor& w, const Tensor* zero, size_t axis) {
    const int64_t n = w.dims()[axis];
    if (zero && zero->size() != 1 && (zero->rank() != 1 || zero->size() != n)) return std::nullopt;
    auto f = Tensor::allocate(DType::kFloat, w.dims());
    if (!f.ok()) return std::nullopt;
    int64_t inner = 1;
    for (size_t i = axis + 1; i < w.dims().size(); ++i) inner *= w.dims()[i];
    const auto codes = w.to_i64();
    const auto zeros = zero ? zero->to_i64() : std::vector<int64_t>{0};
    auto to = f->mut<float>();
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t k = i / static_cast<size_t>(inner) % static_cast<size_t>(n);
      to[i] = static_cast<float>(codes[i] - zeros[zeros.size() == 1 ? 0 : k]);
    }
    return std::move(*f);
  }

  Rewire& g_;
  const QuantizedConstants& constants_;
};

}  // namespace

void fuse_quantized(Rewire& g, const QuantizedConstants& constants) {
  Quantized(g, constants).run();
}

}  // namespace onnxtool
