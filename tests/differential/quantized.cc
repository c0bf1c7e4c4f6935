// SPDX-License-Identifier: Apache-2.0
// Operators on integers that stand for real numbers.
#include <cmath>

#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

Case linear(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 7);
  const int64_t axis = g.below(static_cast<int64_t>(d.size()));
  const DType code = g.pick({DType::kUint8, DType::kInt8}),
              real = g.pick({DType::kFloat, DType::kFloat, DType::kFloat16});
  const bool per_axis = g.chance(0.5), constant = g.chance(0.8);
  const Dims p = per_axis ? Dims{d[static_cast<size_t>(axis)]} : Dims{};
  if (c.op == "QuantizeLinear") {
    // Away from halves, where the error of a quotient would decide.
    c.add(g.floats(d, -3, 3, real));
    c.add(Tensor::from_f64(real, p,
                           std::vector<double>(static_cast<size_t>(per_axis ? p[0] : 1),
                                               g.pick({0.5, 0.03125, 0.25})))
              .value(),
          constant);
  } else {
    c.add(g.tensor(code, d));
    c.add(g.floats(p, 0.01, 0.1, real), constant);
  }
  if (g.chance(0.8)) c.add(g.tensor(code, p), constant);
  if (per_axis) c.attr("axis", axis);
  return c;
}

Tensor scale(Gen& g, double low, double high) { return g.floats({}, low, high); }
// Scale and zero point of one tensor.
void parameters(Gen& g, Case& c, DType t, double low, double high, bool constant) {
  c.add(scale(g, low, high), constant);
  c.add(g.chance(0.3) ? Tensor::from_i64(t, {}, std::vector<int64_t>{0}).value()
                      : g.ints({}, t == DType::kUint8 ? 90 : -20, t == DType::kUint8 ? 150 : 20, t),
        constant);
}
// Weights, their scales and zero points: most of them symmetric, by tensor or by column.
struct Weights {
  DType type;
  bool each;
};
Weights weights(Gen& g, Case& c, const Dims& d, int64_t n, bool constant) {
  Weights w{g.pick({DType::kInt8, DType::kInt8, DType::kUint8}), g.chance(0.5)};
  const bool s = w.type == DType::kInt8, full = g.chance(0.3);
  c.add(g.ints(d, s ? (full ? -128 : -100) : (full ? 0 : 60),
               s ? (full ? 127 : 100) : (full ? 255 : 200), w.type),
        constant);
  c.add(g.floats(w.each ? Dims{n} : Dims{}, 0.002, 0.02), constant);
  const Dims z = w.each ? Dims{n} : Dims{};
  c.add(s && g.chance(0.7)
            ? Tensor::from_i64(w.type, z,
                               std::vector<int64_t>(static_cast<size_t>(w.each ? n : 1), 0))
                  .value()
            : g.ints(z, s ? -10 : 120, s ? 10 : 136, w.type),
        constant);
  return w;
}
DType code(Gen& g) { return g.pick({DType::kUint8, DType::kInt8}); }

Case conv(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t spatial = g.pick<int64_t>({1, 2, 2, 2, 3});
  const bool depthwise = g.chance(0.2);
  const int64_t groups = depthwise ? g.between(2, 40) : g.pick<int64_t>({1, 1, 1, 2});
  const int64_t ci = depthwise ? 1 : g.pick<int64_t>({1, 3, 4, 8, 17, 32});
  const int64_t co = groups * (depthwise ? 1 : g.pick<int64_t>({1, 3, 8, 16, 33}));
  Dims x = {g.between(1, 2), ci * groups}, w = {co, ci};
  std::vector<int64_t> strides, dilations, pads(static_cast<size_t>(2 * spatial));
  for (int64_t i = 0; i < spatial; ++i) {
    w.push_back(g.pick<int64_t>({1, 1, 2, 3, 3}));
    strides.push_back(g.pick<int64_t>({1, 1, 2}));
    dilations.push_back(g.chance(0.85) ? 1 : 2);
    x.push_back(g.between((w.back() - 1) * dilations.back() + 1, 11));
    pads[static_cast<size_t>(i)] = g.below(w.back());
    pads[static_cast<size_t>(i + spatial)] = g.below(w.back());
  }
  const DType t = code(g);
  const bool constant = g.chance(0.95);
  c.add(g.tensor(t, x));
  parameters(g, c, t, 0.01, 0.1, constant);
  weights(g, c, w, co, constant);
  parameters(g, c, t, 0.02, 0.5, constant);
  if (g.chance(0.7)) c.add(g.ints({co}, -5000, 5000, DType::kInt32), constant);
  c.attr("strides", strides);
  c.attr("dilations", dilations);
  c.attr("group", groups);
  if (g.chance(0.6)) c.attr("pads", pads);
  c.steps = 1;
  return c;
}

Case product(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t m = g.extent(20), k = g.pick<int64_t>({1, 5, 16, 33, 64, 130}),
                n = g.pick<int64_t>({1, 3, 16, 33, 64, 100});
  const bool constant = g.chance(0.9);
  Dims a = g.dims(0, 2, 3);
  a.push_back(m);
  a.push_back(k);
  const DType t = code(g);
  c.of_scale = 1e-5;
  c.steps = 1;
  if (c.op == "QLinearMatMul") {
    c.add(g.tensor(t, a));
    parameters(g, c, t, 0.01, 0.1, constant);
    weights(g, c, {k, n}, n, constant);
    parameters(g, c, t, 0.02, 0.5, constant);
  } else if (c.op == "QGemm") {
    const bool turned = g.chance(0.5);
    c.add(g.tensor(t, {m, k}));
    parameters(g, c, t, 0.01, 0.1, constant);
    weights(g, c, turned ? Dims{n, k} : Dims{k, n}, n, constant);
    if (g.chance(0.7))
      c.add(g.ints({n}, -5000, 5000, DType::kInt32), constant);
    else
      c.skip();
    if (g.chance(0.7)) parameters(g, c, t, 0.02, 0.5, constant);
    c.attr("transB", int64_t{turned});
  } else {
    const bool dynamic = c.op == "DynamicQuantizeMatMul";
    c.add(dynamic ? g.floats(a, -3, 3) : g.tensor(t, a));
    Case w;
    weights(g, w, {k, n}, n, constant);
    c.in.push_back(w.in[0]);
    if (!dynamic) c.add(scale(g, 0.01, 0.1), g.chance(0.5));
    c.in.push_back(w.in[1]);
    if (!dynamic) {
      if (g.chance(0.8))
        c.add(g.ints({}, t == DType::kUint8 ? 100 : -20, t == DType::kUint8 ? 150 : 20, t),
              g.chance(0.3));
      else
        c.skip();
    }
    c.in.push_back(w.in[2]);
    if (g.chance(0.5)) c.add(g.floats({n}, -2, 2), g.chance(0.6));
    if (dynamic) c.of_scale = 2e-3;  // a code of the input may differ by one at a half
  }
  return c;
}

Case eltwise(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const DType t = code(g);
  const Dims d = g.dims(1, 4, 7);
  c.steps = 1;
  if (c.op == "QLinearConcat") {
    const int64_t axis = g.below(static_cast<int64_t>(d.size()));
    parameters(g, c, t, 0.02, 0.2, true);
    for (int64_t i = g.between(1, 3); i > 0; --i) {
      Dims part = d;
      part[static_cast<size_t>(axis)] = g.between(1, 5);
      c.add(g.tensor(t, part));
      if (g.chance(0.4)) {
        c.in.push_back(c.in[0]);
        c.in.push_back(c.in[1]);
      } else {
        parameters(g, c, t, 0.02, 0.2, g.chance(0.9));
      }
    }
    c.attr("axis", axis);
    return c;
  }
  c.add(g.tensor(t, d));
  parameters(g, c, t, 0.02, 0.2, true);
  if (c.op == "QLinearAdd" || c.op == "QLinearMul") {
    c.add(g.tensor(t, g.broadcastable(d)), g.chance(0.2));
    parameters(g, c, t, 0.02, 0.2, g.chance(0.9));
  }
  parameters(g, c, t, c.op == "QLinearSigmoid" ? 0.004 : 0.02, 0.2, true);
  return c;
}

Case pool(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const DType t = code(g);
  c.add(g.tensor(t, {g.extent(2), g.extent(9), g.between(2, 9), g.between(2, 9)}));
  parameters(g, c, t, 0.02, 0.2, true);
  parameters(g, c, t, 0.02, 0.2, true);
  if (c.op == "QLinearAveragePool") c.attr("kernel_shape", std::vector<int64_t>{2, 2});
  c.steps = 1;
  return c;
}

Case dynamic(Gen& g, std::string_view op) {
  Case c = case_of(op);
  c.add(g.floats(g.dims(1, 3, 40), -3, g.uniform(-2.5, 9)));
  c.outputs = 3;
  c.steps = 1;
  return c;
}

// Weights of 4 or 8 bits in blocks along K.
Case nbits(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t block = g.pick<int64_t>({16, 32, 64}), bits = g.pick<int64_t>({4, 4, 8}),
                k = g.pick<int64_t>({1, 16, 31, 64, 130, 400}),
                n = g.pick<int64_t>({1, 5, 33, 64, 100}), blocks = (k + block - 1) / block,
                blob = block * bits / 8;
  Dims a = g.dims(0, 2, 3);
  a.push_back(g.extent(20));
  a.push_back(k);
  c.add(g.floats(a, -2, 2));
  const bool constant = g.chance(0.9);
  c.add(g.tensor(DType::kUint8, {n, blocks, blob}), constant);
  c.add(g.floats({n, blocks}, 0.01, 0.1), constant);
  if (g.chance(0.5))
    c.add(g.tensor(DType::kUint8, {n, (blocks * bits + 7) / 8}), constant);
  else
    c.skip();
  c.skip();
  if (g.chance(0.5)) c.add(g.floats({n}, -2, 2), constant);
  c.attr("K", k);
  c.attr("N", n);
  c.attr("block_size", block);
  c.attr("bits", bits);
  c.of_scale = 1e-5;
  if (g.chance(0.4)) {  // the input may be rounded to 8 bits, block by block
    c.attr("accuracy_level", int64_t{4});
    c.absolute = 0.018 * (bits == 4 ? 1.5 : 25.5) * std::sqrt(static_cast<double>(k));
  }
  return c;
}

}  // namespace

void add_quantized(std::vector<Recipe>& to) {
  for (const char* op : {"QuantizeLinear", "DequantizeLinear"}) to.push_back({op, linear});
  to.push_back({"QLinearConv", conv});
  for (const char* op :
       {"QLinearMatMul", "com.microsoft.QGemm", "com.microsoft.MatMulIntegerToFloat",
        "com.microsoft.DynamicQuantizeMatMul"})
    to.push_back({op, product});
  for (const char* op :
       {"com.microsoft.QLinearAdd", "com.microsoft.QLinearMul", "com.microsoft.QLinearSigmoid",
        "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearConcat"})
    to.push_back({op, eltwise});
  for (const char* op :
       {"com.microsoft.QLinearGlobalAveragePool", "com.microsoft.QLinearAveragePool"})
    to.push_back({op, pool});
  to.push_back({"DynamicQuantizeLinear", dynamic});
  to.push_back({"com.microsoft.MatMulNBits", nbits});
}

}  // namespace onnxtool::differential
