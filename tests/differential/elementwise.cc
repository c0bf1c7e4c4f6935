// SPDX-License-Identifier: Apache-2.0
// Unary, binary and ternary operators, casts, batch normalization.
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

Case unary(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const std::string& n = c.op;
  DType t = g.float_type();
  if (n == "Shrink" && t == DType::kBfloat16) t = DType::kFloat;  // not allowed there
  c.add(g.tensor(t, g.dims(0, 4)), g.chance(0.1));
  if ((n == "LeakyRelu" || n == "ThresholdedRelu" || n == "Elu" || n == "Celu" || n == "Swish" ||
       n == "HardSigmoid" || n == "QuickGelu") &&
      g.chance(0.7))
    c.attr("alpha", static_cast<float>(g.uniform(0.1, 2)));
  if (n == "Selu" && g.chance(0.7)) c.attr("gamma", static_cast<float>(g.uniform(0.5, 2)));
  if (n == "HardSigmoid" && g.chance(0.5)) c.attr("beta", static_cast<float>(g.uniform(0, 1)));
  if (n == "Shrink" && g.chance(0.7)) {
    c.attr("lambd", static_cast<float>(g.uniform(0, 2)));
    c.attr("bias", static_cast<float>(g.uniform(-1, 1)));
  }
  if (n == "Gelu" && c.domain.empty() && g.chance(0.5)) c.attr("approximate", "tanh");
  c.of_scale = 1e-6;
  if (n == "Gelu" || n == "HardSwish") c.absolute = 1e-6;
  return c;
}

Case bias_gelu(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 3);
  c.add(g.tensor(DType::kFloat, d));
  if (c.op == "BiasGelu" || g.chance(0.6))
    c.add(g.tensor(DType::kFloat, {d.back()}, false), g.chance(0.5));
  c.absolute = 1e-6;
  return c;
}

// Two operands that broadcast, either of them the larger one, at times constant.
void pair_of(Gen& g, Case& c, DType t, bool special) {
  const Dims d = g.dims(0, 5, 6);
  Tensor x = g.tensor(t, g.chance(0.3) ? g.broadcastable(d) : d, special);
  Tensor y = g.tensor(t, g.chance(0.6) ? g.broadcastable(d) : d, special);
  if (c.op == "Div" || c.op == "Mod") {  // by zero is not defined for integers
    if (!is_float(t)) y = g.ints(y.dims(), 1, 9, t);
  }
  if (g.chance(0.5)) std::swap(x, y);
  if ((c.op == "Div" || c.op == "Mod") && !is_float(t)) c.in.clear();
  const int constant = static_cast<int>(g.below(4));
  if ((c.op == "Div" || c.op == "Mod") && !is_float(t)) y = g.ints(y.dims(), 1, 9, t);
  c.add(std::move(x), constant == 1);
  c.add(std::move(y), constant == 2);
}

Case binary(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool ints = g.chance(0.35);
  pair_of(
      g, c,
      ints ? g.pick({DType::kInt32, DType::kInt64, DType::kInt8, DType::kUint8}) : g.float_type(),
      true);
  return c;
}

Case power(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 4);
  c.add(g.chance(0.5) ? g.tensor(DType::kFloat, d) : g.floats(d, 0, 20));
  if (g.chance(0.5))
    c.add(Tensor::scalar<float>(g.pick<float>({2, 3, -1, 0.5f, -0.5f, 1, 0, 1.7f, 4, -2})),
          g.chance(0.8));
  else
    c.add(g.floats(g.broadcastable(d), -4, 4));
  return c;
}

Case variadic(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 4);
  const DType t = g.float_type();
  for (int64_t n = g.between(1, 4); n > 0; --n)
    c.add(g.tensor(t, g.broadcastable(d)), g.chance(0.15));
  c.of_scale = 1e-6;
  return c;
}

Case compare(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool boolean = c.op == "Equal" && g.chance(0.2);
  pair_of(g, c,
          boolean ? DType::kBool
                  : g.pick({DType::kFloat, DType::kFloat16, DType::kInt32, DType::kInt64}),
          true);
  return c;
}

Case logical(Gen& g, std::string_view op) {
  Case c = case_of(op);
  if (c.op == "Not")
    c.add(g.tensor(DType::kBool, g.dims(0, 4)));
  else
    pair_of(g, c, DType::kBool, false);
  return c;
}

Case is_nan(Gen& g, std::string_view op) {
  Case c = case_of(op);
  c.add(g.tensor(g.float_type(), g.dims(0, 4)));
  return c;
}

Case prelu(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4);
  c.add(g.tensor(g.chance(0.8) ? DType::kFloat : DType::kFloat16, d));
  c.add(g.tensor(c.in[0].tensor->dtype(), g.broadcastable(d), false), g.chance(0.5));
  return c;
}

Case mod(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool floats = g.chance(0.5);
  pair_of(g, c, floats ? DType::kFloat : g.pick({DType::kInt32, DType::kInt64}), false);
  if (floats) c.attr("fmod", int64_t{1});
  if (!floats && g.chance(0.3)) c.attr("fmod", int64_t{1});
  c.of_scale = 1e-5;
  return c;
}

Case where(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 4);
  const DType t = g.pick({DType::kFloat, DType::kFloat, DType::kFloat16, DType::kInt64,
                          DType::kInt32, DType::kUint8, DType::kDouble, DType::kBool});
  c.add(g.tensor(DType::kBool, g.broadcastable(d)), g.chance(0.2));
  c.add(g.tensor(t, g.broadcastable(d)), g.chance(0.2));
  c.add(g.tensor(t, g.broadcastable(d)), g.chance(0.2));
  return c;
}

Case cast(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const auto type = [&] {
    return g.pick({DType::kFloat, DType::kFloat, DType::kFloat16, DType::kBfloat16, DType::kDouble,
                   DType::kInt32, DType::kInt64, DType::kInt8, DType::kUint8, DType::kBool,
                   DType::kInt16, DType::kUint32});
  };
  const DType from = type(), to = type();
  const Dims d = g.dims(0, 4);
  // Numbers that an integer type cannot hold have no defined result.
  if (is_float(from) && is_integer(to))
    c.add(g.floats(d, is_signed_integer(to) ? -100 : 0, 100, from));
  else
    c.add(g.tensor(from, d));
  if (c.op == "Cast")
    c.attr("to", static_cast<int64_t>(to));
  else
    c.add(g.tensor(to, {g.below(3)}, false));
  return c;
}

Case clip(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const DType t =
      g.chance(0.7) ? g.float_type() : g.pick({DType::kInt32, DType::kInt64, DType::kInt8});
  c.add(g.tensor(t, g.dims(0, 4)));
  const bool constant = g.chance(0.7);
  const auto bound = [&](int64_t low, int64_t high) {
    if (g.chance(0.25))
      c.skip();
    else
      c.add(g.ints({}, low, high, t), constant);
  };
  bound(-3, 1);
  bound(0, 4);
  return c;
}

Case batch_norm(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(2, 5, 6);
  const bool constant = g.chance(0.7);
  c.add(g.tensor(g.chance(0.8) ? DType::kFloat : DType::kFloat16, d, g.chance(0.5)));
  const DType t = c.in[0].tensor->dtype();
  for (int i = 0; i < 3; ++i) c.add(g.floats({d[1]}, -2, 2, t), constant);
  c.add(g.floats({d[1]}, 0.1, 3, t), constant);
  if (g.chance(0.5)) c.attr("epsilon", static_cast<float>(g.uniform(1e-6, 1e-2)));
  c.of_scale = 2e-6;
  return c;
}

}  // namespace

void add_elementwise(std::vector<Recipe>& to) {
  for (const char* op : {"Neg",
                         "Abs",
                         "Sign",
                         "Floor",
                         "Ceil",
                         "Round",
                         "Reciprocal",
                         "Sqrt",
                         "Exp",
                         "Log",
                         "Sin",
                         "Cos",
                         "Tanh",
                         "Erf",
                         "Sigmoid",
                         "Softplus",
                         "Softsign",
                         "Relu",
                         "Mish",
                         "HardSwish",
                         "LeakyRelu",
                         "ThresholdedRelu",
                         "Elu",
                         "Selu",
                         "Celu",
                         "HardSigmoid",
                         "Swish",
                         "Shrink",
                         "Gelu",
                         "com.microsoft.Gelu",
                         "com.microsoft.QuickGelu"})
    to.push_back({op, unary});
  for (const char* op : {"com.microsoft.FastGelu", "com.microsoft.BiasGelu"})
    to.push_back({op, bias_gelu});
  for (const char* op : {"Add", "Sub", "Mul", "Div"}) to.push_back({op, binary});
  for (const char* op : {"Sum", "Max", "Min", "Mean"}) to.push_back({op, variadic});
  for (const char* op : {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})
    to.push_back({op, compare});
  for (const char* op : {"And", "Or", "Xor", "Not"}) to.push_back({op, logical});
  to.push_back({"Pow", power});
  to.push_back({"IsNaN", is_nan});
  to.push_back({"PRelu", prelu});
  to.push_back({"Mod", mod});
  to.push_back({"Where", where});
  to.push_back({"Cast", cast});
  to.push_back({"CastLike", cast});
  to.push_back({"Clip", clip});
  to.push_back({"BatchNormalization", batch_norm});
}

}  // namespace onnxtool::differential
