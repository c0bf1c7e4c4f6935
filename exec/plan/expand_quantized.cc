// SPDX-License-Identifier: Apache-2.0
// Operators on quantized tensors (ONNX QLinearConv, QLinearMatMul; com.microsoft QLinearAdd and
// others) become dequantize, operator in float, quantize. fuse_quantized() then finds the products
// and takes the integers back.
#include <algorithm>

#include "exec/plan/eltwise.h"
#include "exec/plan/expand.h"

namespace onnxtool {
namespace {

class Quantized final : public Expander {
 public:
  Quantized(Plan& plan, const Model& model, const KernelIndex& kernels,
            QuantizedConstants& constants)
      : Expander(plan, model, kernels), constants_(constants) {}

 private:
  static bool byte(DType t) { return t == DType::kUint8 || t == DType::kInt8; }

  // Scale and zero point of one tensor at inputs i and i + 1.
  struct Linear {
    float scale = 1;
    int64_t zero = 0;
  };
  std::optional<Linear> linear(const PlanStep& s, size_t i) {
    const Tensor* scale = constant(in(s, i));
    const Tensor* zero = constant(in(s, i + 1));
    if (!scale || scale->size() != 1 || scale->dtype() != DType::kFloat) return std::nullopt;
    if (in(s, i + 1) >= 0 && (!zero || zero->size() != 1)) return std::nullopt;
    return Linear{static_cast<float>(scale->f64_at(0)), zero ? zero->i64_at(0) : 0};
  }

  int dequantized(const PlanStep& from, int v, Linear l) {
    const int f = new_value(DType::kFloat, at(v).dims);
    program(dequantize_program(l.scale, l.zero), from, {v}, f);
    return f;
  }
  void quantized(const PlanStep& from, int f, Linear l) {
    program(quantize_program(l.scale, l.zero, at(from.out[0]).dtype), from, {f}, from.out[0]);
  }
  // Constant weights in float, remembered as integers. nullopt: not constant or of another form.
  std::optional<int> weights(int q, int scale, int zero, int64_t axis) {
    const Tensor* w = constant(q);
    const Tensor* s = constant(scale);
    const Tensor* z = constant(zero);
    if (!w || !s || !byte(w->dtype()) || s->dtype() != DType::kFloat || (zero >= 0 && !z) ||
        w->rank() <= axis)
      return std::nullopt;
    const int64_t n = w->dims()[static_cast<size_t>(axis)];
    QuantizedConstant c{w->to_aligned(), *s, z ? *z : Tensor(), axis};
    for (const Tensor* p : {&c.scale, &c.zero})
      if (p->defined() && p->size() != 1 && (p->rank() != 1 || p->size() != n)) return std::nullopt;
    const auto v = add_plan_constant(plan_, DType::kFloat, w->dims(), [c] { return floats(c); });
    if (!v.ok()) return std::nullopt;
    constants_[*v] = std::move(c);
    return *v;
  }
  static Result<Tensor> floats(const QuantizedConstant& c) {
    const Dims& d = c.q.dims();
    TRY_ASSIGN(Tensor f, Tensor::allocate(DType::kFloat, d));
    const auto axis = static_cast<size_t>(c.axis), n = static_cast<size_t>(d[axis]);
    size_t inner = 1;
    for (size_t i = axis + 1; i < d.size(); ++i) inner *= static_cast<size_t>(d[i]);
    auto to = f.mut<float>();
    const auto scales = c.scale.to_f64();
    const auto zeros = c.zero.defined() ? c.zero.to_f64() : std::vector<double>{0};
    const bool sign = c.q.dtype() == DType::kInt8;
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t k = i / inner % n;
      const std::byte b = c.q.raw()[i];
      const double code = sign ? static_cast<double>(static_cast<int8_t>(b))
                               : static_cast<double>(static_cast<uint8_t>(b));
      to[i] = static_cast<float>(code - zeros[zeros.size() == 1 ? 0 : k]) *
              static_cast<float>(scales[scales.size() == 1 ? 0 : k]);
    }
    return f;
  }
  // A bias of 32-bit integers in units of x_scale * w_scale[k].
  std::optional<int> bias(int b, float x_scale, int w_scale, int64_t n) {
    if (b < 0) return -1;
    const Tensor* t = constant(b);
    const Tensor* s = constant(w_scale);
    if (!t || !s || t->dtype() != DType::kInt32 || t->size() != n || t->dims().back() != n)
      return std::nullopt;
    std::vector<double> v = t->to_f64(), scale = s->to_f64();
    for (size_t i = 0; i < v.size(); ++i)
      v[i] *= static_cast<double>(x_scale) * scale[scale.size() == 1 ? 0 : i];
    auto f = Tensor::from_f64(DType::kFloat, {n}, v);
    if (!f.ok()) return std::nullopt;
    return add_plan_constant(plan_, std::move(*f));
  }

  bool expand(const PlanStep& s) override {
    if (s.out.size() != 1) return false;
    const std::string_view op = s.op.view();
    if (op == "QLinearConv") return conv(s);
    if (op == "QLinearMatMul" || op == "com.microsoft.QLinearMatMul") return matmul(s);
    if (op == "com.microsoft.QGemm") return gemm(s);
    if (op == "com.microsoft.QLinearAdd") return binary(s, Elt::kAdd);
    if (op == "com.microsoft.QLinearMul") return binary(s, Elt::kMul);
    if (op == "com.microsoft.QLinearSigmoid") return unary(s, Elt::kSigmoid, 0);
    if (op == "com.microsoft.QLinearLeakyRelu")
      return unary(s, Elt::kLeakyRelu, node(s).attr_float("alpha", 0.01f));
    if (op == "com.microsoft.QLinearGlobalAveragePool") return pool(s, "GlobalAveragePool");
    if (op == "com.microsoft.QLinearAveragePool") return pool(s, "AveragePool");
    if (op == "com.microsoft.QLinearConcat") return concat(s);
    if (op == "com.microsoft.MatMulIntegerToFloat") return to_float(s);
    if (op == "com.microsoft.DynamicQuantizeMatMul") return dynamic(s);
    return false;
  }

  bool conv(const PlanStep& s) {
    const auto x = linear(s, 1), y = linear(s, 6);
    if (!x || !y || !byte(at(s.in[0]).dtype) || at(s.in[3]).dims.empty()) return false;
    const auto w = weights(in(s, 3), in(s, 4), in(s, 5), 0);
    if (!w) return false;
    const auto b = bias(in(s, 8), x->scale, in(s, 4), at(s.in[3]).dims[0]);
    if (!b) return false;
    const int f = new_value(DType::kFloat, at(s.out[0]).dims);
    const int from = dequantized(s, s.in[0], *x);
    std::vector<int> inputs = {from, *w};
    if (*b >= 0) inputs.push_back(*b);
    if (!main_step("Conv", s, inputs, f)) return false;
    quantized(s, f, *y);
    return true;
  }

  bool matmul(const PlanStep& s) {
    const auto a = linear(s, 1), y = linear(s, 6);
    if (!a || !y || !byte(at(s.in[0]).dtype) || at(s.in[3]).dims.size() != 2) return false;
    const auto w = weights(in(s, 3), in(s, 4), in(s, 5), 1);
    if (!w) return false;
    const int f = new_value(DType::kFloat, at(s.out[0]).dims);
    const int from = dequantized(s, s.in[0], *a);
    if (!main_step("MatMul", s, {from, *w}, f)) return false;
    quantized(s, f, *y);
    return true;
  }

  bool gemm(const PlanStep& s) {
    const auto a = linear(s, 1);
    const bool integers = in(s, 8) >= 0;
    const auto y = integers ? linear(s, 7) : std::optional<Linear>(Linear{});
    if (!a || !y || !byte(at(s.in[0]).dtype) || node(s).attr_int("transA", 0) != 0 ||
        node(s).attr_float("alpha", 1) != 1)
      return false;
    const int64_t axis = node(s).attr_int("transB", 0) != 0 ? 0 : 1;
    const auto w = weights(in(s, 3), in(s, 4), in(s, 5), axis);
    if (!w) return false;
    const auto b = bias(in(s, 6), a->scale, in(s, 4), at(*w).dims[static_cast<size_t>(axis)]);
    if (!b) return false;
    const int f = integers ? new_value(DType::kFloat, at(s.out[0]).dims) : s.out[0];
    const int from = dequantized(s, s.in[0], *a);
    std::vector<int> inputs = {from, *w};
    if (*b >= 0) inputs.push_back(*b);
    if (!main_step("Gemm", s, inputs, f)) return false;
    if (integers) quantized(s, f, *y);
    return true;
  }

  // (x - zero) * scale inside a longer program.
  static EltRef dequantize(EltProgram& p, size_t i, Linear l) {
    EltRef r = EltRef::input(i);
    const auto add = [&](Elt op, float imm) {
      p.ops.push_back({op, {r, EltRef::immediate(imm)}});
      r = EltRef::op(p.ops.size() - 1);
    };
    if (l.zero != 0) add(Elt::kSub, static_cast<float>(l.zero));
    add(Elt::kMul, l.scale);
    return r;
  }
  void finish(EltProgram p, const PlanStep& s, std::vector<int> inputs, Linear y) {
    const EltProgram q = quantize_program(y.scale, y.zero, at(s.out[0]).dtype);
    const size_t shift = p.ops.size();
    for (EltOp op : q.ops) {
      for (EltRef& r : op.src) {
        if (r.kind == EltRef::kInput)
          r = EltRef::op(shift - 1);
        else if (r.kind == EltRef::kOp)
          r.index = static_cast<uint8_t>(r.index + shift);
      }
      p.ops.push_back(op);
    }
    p.results = {static_cast<uint8_t>(p.ops.size() - 1)};
    program(std::move(p), s, std::move(inputs), s.out[0]);
  }

  bool binary(const PlanStep& s, Elt op) {
    const auto a = linear(s, 1), b = linear(s, 4), y = linear(s, 6);
    if (!a || !b || !y || !byte(at(s.in[0]).dtype)) return false;
    EltProgram p;
    const EltRef x = dequantize(p, 0, *a), z = dequantize(p, 1, *b);
    p.ops.push_back({op, {x, z}});
    finish(std::move(p), s, {s.in[0], s.in[3]}, *y);
    return fits();
  }

  bool unary(const PlanStep& s, Elt op, float a) {
    const auto x = linear(s, 1), y = linear(s, 3);
    if (!x || !y || !byte(at(s.in[0]).dtype)) return false;
    EltProgram p;
    p.ops.push_back({op, {dequantize(p, 0, *x)}, a});
    finish(std::move(p), s, {s.in[0]}, *y);
    return fits();
  }

  bool pool(const PlanStep& s, std::string_view op) {
    const auto x = linear(s, 1), y = linear(s, 3);
    if (!x || !y || !byte(at(s.in[0]).dtype) || node(s).attr_int("channels_last", 0) != 0)
      return false;
    const int f = new_value(DType::kFloat, at(s.out[0]).dims);
    const int from = dequantized(s, s.in[0], *x);
    if (!main_step(op, s, {from}, f)) return false;
    quantized(s, f, *y);
    return true;
  }

  bool concat(const PlanStep& s) {
    const auto y = linear(s, 0);
    if (!y || s.in.size() < 5 || (s.in.size() - 2) % 3 != 0) return false;
    std::vector<int> parts;
    for (size_t i = 2; i < s.in.size(); i += 3) {
      const auto x = linear(s, i + 1);
      if (!x || !byte(at(s.in[i]).dtype) || at(s.in[i]).dtype != at(s.out[0]).dtype) return false;
      int v = s.in[i];
      if (x->scale != y->scale || x->zero != y->zero) {
        v = new_value(at(v).dtype, at(v).dims);
        EltProgram p;
        dequantize(p, 0, *x);
        PlanStep part = s;
        part.out = {v};
        finish(std::move(p), part, {s.in[i]}, *y);
      }
      parts.push_back(v);
    }
    return main_step("Concat", s, std::move(parts), s.out[0]);
  }

  // What follows a product of integers: * a_scale * b_scale + bias; scales are not constant.
  bool scaled(const PlanStep& s, int product, int a_scale, const Tensor& b_scale, int bias_in) {
    const Dims dims = at(s.out[0]).dims;
    EltProgram p;
    std::vector<int> inputs = {product, a_scale};
    p.ops.push_back({Elt::kMul, {EltRef::input(0), EltRef::input(1)}});
    if (b_scale.size() == 1) {
      p.ops.push_back(
          {Elt::kMul, {EltRef::op(0), EltRef::immediate(static_cast<float>(b_scale.f64_at(0)))}});
    } else {
      if (b_scale.rank() != 1 || b_scale.size() != dims.back()) return false;
      inputs.push_back(add_plan_constant(plan_, b_scale.to_aligned()));
      p.ops.push_back({Elt::kMul, {EltRef::op(0), EltRef::input(2)}});
    }
    if (bias_in >= 0) {
      inputs.push_back(bias_in);
      p.ops.push_back({Elt::kAdd, {EltRef::op(1), EltRef::input(inputs.size() - 1)}});
    }
    p.results = {static_cast<uint8_t>(p.ops.size() - 1)};
    program(std::move(p), s, std::move(inputs), s.out[0]);
    return fits();
  }

  bool product(const PlanStep& s, int a, int a_zero, int b, int b_zero, int a_scale, int b_scale,
               int bias_in) {
    const Tensor* w = constant(b);
    const Tensor* scale = constant(b_scale);
    const Tensor* zero = constant(b_zero);
    if (!w || !scale || (b_zero >= 0 && !zero) || w->rank() != 2 || at(a_scale).size() != 1 ||
        (a_zero >= 0 && at(a_zero).size() != 1) || at(a).dims.size() < 2)
      return false;
    const float one = 1;
    auto weights = integer_weights(
        {w->to_aligned(), Tensor::scalar<float>(one), zero ? *zero : Tensor(), 1}, 1);
    if (!weights) return false;
    const int n = add_plan_constant(
        plan_, Tensor::of<float>({w->dims()[1]}, std::span<const float>(weights->scale)));
    const int f = new_value(DType::kFloat, at(s.out[0]).dims);
    std::vector<int> inputs = {a, add_plan_constant(plan_, std::move(weights->w)), -1, n, a_zero};
    if (!weights->zero.empty())
      inputs.push_back(add_plan_constant(
          plan_, Tensor::of<int32_t>({w->dims()[1]}, std::span<const int32_t>(weights->zero))));
    push(step_kind::kQMatMul, s, std::move(inputs), f);
    if (!fits()) return false;
    return scaled(s, f, a_scale, *scale, bias_in);
  }

  bool to_float(const PlanStep& s) {
    if (!byte(at(s.in[0]).dtype)) return false;
    return product(s, s.in[0], in(s, 4), s.in[1], in(s, 5), s.in[2], s.in[3], in(s, 6));
  }

  bool dynamic(const PlanStep& s) {
    const int x = s.in[0];
    if (at(x).dtype != DType::kFloat) return false;
    PlanStep q;
    q.op = Sym("DynamicQuantizeLinear");
    q.nodes = s.nodes;
    q.in = {x};
    q.main_inputs = 1;
    const int codes = new_value(DType::kUint8, at(x).dims), scale = new_value(DType::kFloat, {}),
              zero = new_value(DType::kUint8, {});
    q.out = {codes, scale, zero};
    made_.push_back(std::move(q));
    if (!fits()) return false;
    return product(s, codes, zero, s.in[1], in(s, 3), scale, s.in[2], in(s, 4));
  }

  QuantizedConstants& constants_;
};

}  // namespace

void expand_quantized(Plan& plan, const Model& model, const KernelIndex& kernels,
                      QuantizedConstants& constants) {
  Quantized(plan, model, kernels, constants).run();
}

}  // namespace onnxtool
