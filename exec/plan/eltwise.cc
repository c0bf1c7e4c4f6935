// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/eltwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace onnxtool {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Param {
  const char* attr = nullptr;
  float def = 0;
};
struct UnaryRow {
  const char* op;
  Elt elt;
  Param a, b;
};
constexpr UnaryRow kUnary[] = {
    {"Neg", Elt::kNeg},
    {"Abs", Elt::kAbs},
    {"Sign", Elt::kSign},
    {"Floor", Elt::kFloor},
    {"Ceil", Elt::kCeil},
    {"Round", Elt::kRound},
    {"Reciprocal", Elt::kReciprocal},
    {"Sqrt", Elt::kSqrt},
    {"Exp", Elt::kExp},
    {"Log", Elt::kLog},
    {"Sin", Elt::kSin},
    {"Cos", Elt::kCos},
    {"Tanh", Elt::kTanh},
    {"Erf", Elt::kErf},
    {"Sigmoid", Elt::kSigmoid},
    {"Softplus", Elt::kSoftplus},
    {"Softsign", Elt::kSoftsign},
    {"Relu", Elt::kRelu},
    {"Mish", Elt::kMish},
    {"HardSwish", Elt::kHardSwish},
    {"LeakyRelu", Elt::kLeakyRelu, {"alpha", 0.01f}},
    {"ThresholdedRelu", Elt::kThresholdedRelu, {"alpha", 1.0f}},
    {"Elu", Elt::kElu, {"alpha", 1.0f}},
    {"Selu",
     Elt::kSelu,
     {"alpha", 1.67326319217681884765625f},
     {"gamma", 1.05070102214813232421875f}},
    {"Celu", Elt::kCelu, {"alpha", 1.0f}},
    {"HardSigmoid", Elt::kHardSigmoid, {"alpha", 0.2f}, {"beta", 0.5f}},
    {"Swish", Elt::kSilu, {"alpha", 1.0f}},
    {"Shrink", Elt::kShrink, {"lambd", 0.5f}, {"bias", 0.0f}},
    {"com.microsoft.Gelu", Elt::kGelu, {nullptr, 1.0f}},
    {"com.microsoft.QuickGelu", Elt::kSilu, {"alpha", 1.702f}},
};
struct BinaryRow {
  const char* op;
  Elt elt;
};
constexpr BinaryRow kBinary[] = {{"Add", Elt::kAdd}, {"Sub", Elt::kSub}, {"Mul", Elt::kMul},
                                 {"Div", Elt::kDiv}, {"Pow", Elt::kPow}, {"PRelu", Elt::kPRelu},
                                 {"Sum", Elt::kAdd}, {"Max", Elt::kMax}, {"Min", Elt::kMin},
                                 {"Mean", Elt::kAdd}};
constexpr BinaryRow kCompare[] = {{"Equal", Elt::kEq},
                                  {"Less", Elt::kLt},
                                  {"LessOrEqual", Elt::kLe},
                                  {"Greater", Elt::kGt},
                                  {"GreaterOrEqual", Elt::kGe}};

// What Builder::make() has code of its own for.
constexpr const char* kOthers[] = {"And",
                                   "BatchNormalization",
                                   "Cast",
                                   "CastLike",
                                   "Clip",
                                   "DequantizeLinear",
                                   "Gelu",
                                   "IsNaN",
                                   "Mod",
                                   "Not",
                                   "Or",
                                   "QuantizeLinear",
                                   "Where",
                                   "Xor",
                                   "com.microsoft.BiasGelu",
                                   "com.microsoft.FastGelu"};

bool real_float(DType t) {
  return t == DType::kFloat || t == DType::kFloat16 || t == DType::kBfloat16;
}

class Builder {
 public:
  Builder(Plan& plan, const PlanStep& step, const Model& model)
      : plan_(plan), step_(step), node_(step.node.valid() ? &model.node(step.node) : nullptr) {}

  std::optional<EltForm> build() {
    if (!node_ || step_.dynamic || step_.out.empty() || step_.out[0] < 0) return std::nullopt;
    for (size_t i = 1; i < step_.out.size(); ++i)
      if (step_.out[i] >= 0) return std::nullopt;
    for (int v : step_.in)
      if (v >= 0 && (!at(v).known || at(v).size() == 0)) return std::nullopt;
    if (!at(step_.out[0]).known || at(step_.out[0]).size() == 0) return std::nullopt;
    if (!make() || form_.in.size() > 12) return std::nullopt;
    form_.program.results = {static_cast<uint8_t>(form_.program.ops.size() - 1)};
    return std::move(form_);
  }

 private:
  PlanValue& at(int v) { return plan_.values[static_cast<size_t>(v)]; }
  DType in_type(size_t i) { return has(i) ? at(step_.in[i]).dtype : DType::kUndefined; }
  DType out_type() { return at(step_.out[0]).dtype; }
  bool has(size_t i) const { return i < step_.in.size() && step_.in[i] >= 0; }
  std::optional<float> scalar(size_t i) {
    if (!has(i)) return std::nullopt;
    const Tensor& t = at(step_.in[i]).constant;
    if (!t.defined() || t.size() != 1 || t.is_string()) return std::nullopt;
    return static_cast<float>(t.f64_at(0));
  }
  EltRef value(int v) {
    const Tensor& t = at(v).constant;
    if (t.defined() && t.size() == 1 && (real_float(t.dtype()) || t.dtype() == DType::kBool))
      return EltRef::immediate(static_cast<float>(t.f64_at(0)));
    auto it = std::find(form_.in.begin(), form_.in.end(), v);
    if (it == form_.in.end()) it = form_.in.insert(form_.in.end(), v);
    return EltRef::input(static_cast<size_t>(it - form_.in.begin()));
  }
  EltRef input(size_t i) { return value(step_.in[i]); }
  EltRef push(Elt op, EltRef x, EltRef y = {}, EltRef z = {}, float a = 0, float b = 0) {
    form_.program.ops.push_back({op, {x, y, z}, a, b});
    return EltRef::op(form_.program.ops.size() - 1);
  }
  EltRef unary(Elt op, EltRef x, float a = 0, float b = 0) { return push(op, x, {}, {}, a, b); }

  bool all_float() {
    for (size_t i = 0; i < step_.in.size(); ++i)
      if (has(i) && !real_float(in_type(i))) return false;
    return real_float(out_type());
  }

  bool make() {
    std::string_view op = step_.op.view();
    if (!has(0)) return false;
    if (op == "Cast" || op == "CastLike") return cast();
    if (op == "And" || op == "Or" || op == "Xor" || op == "Not") return logical(op);
    if (op == "Where") {
      if (in_type(0) != DType::kBool || !real_float(in_type(1)) || !real_float(out_type()))
        return false;
      push(Elt::kWhere, input(0), input(1), input(2));
      return true;
    }
    for (const BinaryRow& r : kCompare)
      if (op == r.op) {
        bool bools = op == "Equal" && in_type(0) == DType::kBool;
        if (step_.in.size() != 2 || !(real_float(in_type(0)) || bools)) return false;
        push(r.elt, input(0), input(1));
        return true;
      }
    if (op == "IsNaN") {
      if (!real_float(in_type(0))) return false;
      EltRef x = input(0);
      push(Elt::kNe, x, x);
      return true;
    }
    if (op == "QuantizeLinear") return quantize();
    if (op == "DequantizeLinear") return dequantize();
    if (op == "BatchNormalization") return batch_norm();
    if (op == "Clip") return clip();
    if (op == "Pow") return power();
    if (!all_float()) return false;
    for (const UnaryRow& r : kUnary) {
      if (op != r.op || step_.in.size() != 1) continue;
      unary(r.elt, input(0), r.a.attr ? node_->attr_float(r.a.attr, r.a.def) : r.a.def,
            r.b.attr ? node_->attr_float(r.b.attr, r.b.def) : 0);
      return true;
    }
    if (op == "Gelu") {
      unary(node_->attr_str("approximate", "none") == "tanh" ? Elt::kGeluTanh : Elt::kGelu,
            input(0), 1);
      return true;
    }
    if (op == "com.microsoft.FastGelu" || op == "com.microsoft.BiasGelu") {
      EltRef x = input(0);
      if (has(1)) x = push(Elt::kAdd, x, input(1));
      unary(op == "com.microsoft.BiasGelu" ? Elt::kGelu : Elt::kGeluTanh, x, 1);
      return true;
    }
    if (op == "Mod") {
      if (node_->attr_int("fmod", 0) != 1) return false;
      push(Elt::kFmod, input(0), input(1));
      return true;
    }
    for (const BinaryRow& r : kBinary) {
      if (op != r.op) continue;
      if (node_->attr("broadcast") || node_->attr("axis")) return false;  // old broadcasting
      EltRef x = input(0);
      for (size_t i = 1; i < step_.in.size(); ++i) x = push(r.elt, x, input(i));
      if (op == "Mean") push(Elt::kDiv, x, EltRef::immediate(static_cast<float>(step_.in.size())));
      return !form_.program.ops.empty();
    }
    return false;
  }

  bool cast() {
    DType from = in_type(0), to = out_type();
    bool from_ok = real_float(from) || from == DType::kBool || from == DType::kUint8 ||
                   from == DType::kInt8 || from == DType::kInt32 || from == DType::kInt64;
    bool to_ok = real_float(to) || to == DType::kBool;
    // Truncation to integers is exact only for what a float holds.
    if (real_float(from) && (to == DType::kInt32 || to == DType::kUint8 || to == DType::kInt8))
      to_ok = true;
    // bool(1e-40 as int) and the like never pass through float: only small types go to bool.
    if (to == DType::kBool && (from == DType::kInt32 || from == DType::kInt64)) return false;
    if (!from_ok || !to_ok) return false;
    unary(Elt::kCopy, value_as_input(step_.in[0]));
    return true;
  }
  // Never an immediate: a program needs an input.
  EltRef value_as_input(int v) {
    form_.in.push_back(v);
    return EltRef::input(form_.in.size() - 1);
  }

  bool logical(std::string_view op) {
    if (in_type(0) != DType::kBool || out_type() != DType::kBool) return false;
    if (op == "Not") {
      unary(Elt::kAffine, input(0), -1, 1);
      return true;
    }
    push(op == "And" ? Elt::kMin : op == "Or" ? Elt::kMax : Elt::kNe, input(0), input(1));
    return true;
  }

  bool clip() {
    if (!real_float(in_type(0)) || !real_float(out_type())) return false;
    float lo = -kInf, hi = kInf;
    if (node_->version >= 11) {
      if (has(1)) {
        auto v = scalar(1);
        if (!v) return false;
        lo = *v;
      }
      if (has(2)) {
        auto v = scalar(2);
        if (!v) return false;
        hi = *v;
      }
    } else {
      lo = node_->attr_float("min", -kInf);
      hi = node_->attr_float("max", kInf);
    }
    if (std::isnan(lo) || std::isnan(hi)) return false;
    lo = std::min(lo, hi);  // crossed bounds give the upper one
    if (lo == 0 && hi == kInf)
      unary(Elt::kRelu, input(0));
    else
      unary(Elt::kClip, input(0), lo, hi);
    return true;
  }

  bool power() {
    if (!real_float(in_type(0)) || !real_float(out_type())) return false;
    auto e = scalar(1);
    if (!e) {
      if (!real_float(in_type(1))) return false;
      push(Elt::kPow, input(0), input(1));
      return true;
    }
    EltRef x = input(0);
    if (*e == 2.0f)
      unary(Elt::kSquare, x);
    else if (*e == 3.0f)
      unary(Elt::kCube, x);
    else if (*e == 1.0f)
      unary(Elt::kCopy, x);
    else if (*e == -1.0f)
      unary(Elt::kReciprocal, x);
    else
      unary(Elt::kPowImm, x, *e);
    return true;
  }

  // A per-axis parameter as a constant that broadcasts over the data.
  std::optional<EltRef> along_axis(const Tensor& t, const Dims& data, int64_t axis) {
    if (t.size() == 1) return EltRef::immediate(static_cast<float>(t.f64_at(0)));
    auto rank = static_cast<int64_t>(data.size());
    if (axis < 0) axis += rank;
    if (t.rank() != 1 || axis < 0 || axis >= rank || t.size() != data[static_cast<size_t>(axis)])
      return std::nullopt;
    auto f = Tensor::from_f64(DType::kFloat, t.dims(), t.to_f64());
    if (!f.ok()) return std::nullopt;
    Dims dims(static_cast<size_t>(rank - axis), 1);
    dims[0] = t.size();
    int v = add_plan_constant(plan_, f->reshaped(dims));
    form_.in.push_back(v);
    return EltRef::input(form_.in.size() - 1);
  }

  const Tensor* constant(size_t i) {
    if (!has(i)) return nullptr;
    const PlanValue& v = at(step_.in[i]);
    return v.is_constant() && !v.make ? &v.constant : nullptr;
  }

  bool quantize() {
    DType to = out_type();
    if (!real_float(in_type(0)) || (to != DType::kUint8 && to != DType::kInt8)) return false;
    if (node_->attr_int("block_size", 0) != 0) return false;
    const Tensor* scale = constant(1);
    const Tensor* zero = constant(2);
    if (!scale || !real_float(scale->dtype()) || (has(2) && !zero)) return false;
    int64_t axis = node_->attr_int("axis", 1);
    EltRef x = input(0);
    auto s = along_axis(*scale, at(step_.in[0]).dims, axis);
    if (!s) return false;
    x = push(Elt::kDiv, x, *s);
    x = unary(Elt::kRound, x);
    if (zero && !all_zero(*zero)) {
      auto z = along_axis(*zero, at(step_.in[0]).dims, axis);
      if (!z) return false;
      x = push(Elt::kAdd, x, *z);
    }
    if (to == DType::kUint8)
      unary(Elt::kClip, x, 0, 255);
    else
      unary(Elt::kClip, x, -128, 127);
    return true;
  }

  static bool all_zero(const Tensor& t) {
    auto v = t.to_f64();
    return std::all_of(v.begin(), v.end(), [](double x) { return x == 0; });
  }

  bool dequantize() {
    DType from = in_type(0);
    if (!real_float(out_type()) || (from != DType::kUint8 && from != DType::kInt8)) return false;
    if (node_->attr_int("block_size", 0) != 0) return false;
    const Tensor* scale = constant(1);
    const Tensor* zero = constant(2);
    if (!scale || !real_float(scale->dtype()) || (has(2) && !zero)) return false;
    int64_t axis = node_->attr_int("axis", 1);
    const Dims& dims = at(step_.in[0]).dims;
    EltRef x = input(0);
    if (x.kind != EltRef::kInput) return false;
    if (zero && !all_zero(*zero)) {
      auto z = along_axis(*zero, dims, axis);
      if (!z) return false;
      x = push(Elt::kSub, x, *z);
    }
    auto s = along_axis(*scale, dims, axis);
    if (!s) return false;
    push(Elt::kMul, x, *s);
    return true;
  }

  bool batch_norm() {
    if (!real_float(in_type(0)) || node_->attr_int("training_mode", 0) != 0) return false;
    if (node_->version < 9 && node_->attr_int("spatial", 1) == 0) return false;
    if (node_->version < 7 && node_->attr_int("is_test", 0) == 0) return false;
    const Tensor* p[4];
    int64_t channels = 0;
    for (size_t i = 0; i < 4; ++i) {
      p[i] = constant(i + 1);
      if (!p[i] || p[i]->rank() != 1 || (i && p[i]->size() != channels)) return false;
      channels = p[i]->size();
    }
    const Dims& dims = at(step_.in[0]).dims;
    if (dims.size() < 2 || dims[1] != channels) return false;
    auto gamma = p[0]->to_f64(), beta = p[1]->to_f64(), mean = p[2]->to_f64(), var = p[3]->to_f64();
    double eps = node_->attr_float("epsilon", 1e-5f);
    std::vector<double> scale(gamma.size()), shift(gamma.size());
    for (size_t i = 0; i < gamma.size(); ++i) {
      scale[i] = gamma[i] / std::sqrt(var[i] + eps);
      shift[i] = beta[i] - mean[i] * scale[i];
    }
    auto s = Tensor::from_f64(DType::kFloat, {channels}, scale);
    auto h = Tensor::from_f64(DType::kFloat, {channels}, shift);
    if (!s.ok() || !h.ok()) return false;
    EltRef x = input(0);
    auto rs = along_axis(*s, dims, 1);
    if (!rs) return false;
    x = push(Elt::kMul, x, *rs);
    auto rh = along_axis(*h, dims, 1);
    if (!rh) return false;
    push(Elt::kAdd, x, *rh);
    return true;
  }

  Plan& plan_;
  const PlanStep& step_;
  const Node* node_;
  EltForm form_;
};

}  // namespace

std::vector<std::string_view> elementwise_ops() {
  std::vector<std::string_view> r(std::begin(kOthers), std::end(kOthers));
  for (const UnaryRow& u : kUnary) r.emplace_back(u.op);
  for (const BinaryRow& b : kBinary) r.emplace_back(b.op);
  for (const BinaryRow& b : kCompare) r.emplace_back(b.op);
  return r;
}

std::optional<EltForm> elementwise_form(Plan& plan, const PlanStep& step, const Model& model) {
  return Builder(plan, step, model).build();
}

}  // namespace onnxtool
