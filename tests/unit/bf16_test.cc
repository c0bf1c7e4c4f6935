// SPDX-License-Identifier: Apache-2.0
// Precision::kBf16: products and convolutions of operands rounded to bfloat16, summed in fp32.
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "exec/engine.h"
#include "libonnxtool/base/dtype.h"

using namespace onnxtool;

namespace {

std::vector<float> numbers(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> u(-1, 1);
  std::vector<float> v(n);
  for (float& f : v) f = u(random);
  return v;
}

// op(x, w, b?) with x as input and the others constant.
Model one_node(const char* op, const Dims& x, const Dims& w, const Dims& b,
               std::vector<Attribute> attrs) {
  Model m;
  m.ir_version = 10;
  const GraphId g = m.add_graph();
  OpsetImport opset;
  opset.version = 21;
  m.opset_imports.push_back(opset);
  const auto constant = [&](const char* name, const Dims& d, unsigned seed) {
    size_t n = 1;
    for (int64_t e : d) n *= static_cast<size_t>(e);
    const std::vector<float> v = numbers(n, seed);
    return m.add_initializer(g, name, Tensor::of<float>(d, std::span<const float>(v)));
  };
  std::vector<ValueId> in = {m.add_input(g, "x", Type::tensor(DType::kFloat, to_shape(x))),
                             constant("w", w, 2)};
  if (!b.empty()) in.push_back(constant("b", b, 3));
  m.add_graph_output(g, m.node(m.add_node(g, Sym(op), in, {"y"}, std::move(attrs))).output(0));
  return m;
}

// Empty where the machine cannot compute so.
std::vector<float> run(const Model& m, const Dims& dims, std::vector<float> x, Precision p) {
  auto engine = Engine::compile(m, {.threads = 1, .precision = p});
  if (!engine.ok()) {
    REQUIRE(engine.error().code == Code::kUnsupported);
    return {};
  }
  const Datum input(Tensor::of<float>(dims, std::span<const float>(x)));
  auto out = engine->run(std::span(&input, 1));
  REQUIRE(out.ok());
  const auto y = (*out)[0].tensor.as<float>();
  return {y.begin(), y.end()};
}

float rounded(float f) { return bfloat16_to_float(float_to_bfloat16(f)); }

// What comes out is what fp32 gives for rounded operands, and not what it gives for these.
void check(Model m, const Dims& dims) {
  size_t n = 1;
  for (int64_t d : dims) n *= static_cast<size_t>(d);
  std::vector<float> x = numbers(n, 1);
  const std::vector<float> got = run(m, dims, x, Precision::kBf16);
  if (got.empty()) return;
  const std::vector<float> exact = run(m, dims, x, Precision::kFp32Strict);
  for (float& f : x) f = rounded(f);
  const ValueId w = m.node(m.graph(m.main()).nodes[0]).input(1);
  const Tensor& stored = *m.constant(w);
  std::vector<float> weights(stored.as<float>().begin(), stored.as<float>().end());
  for (float& f : weights) f = rounded(f);
  m.set_constant(w, Tensor::of<float>(stored.dims(), std::span<const float>(weights)));
  const std::vector<float> want = run(m, dims, x, Precision::kFp32Strict);
  REQUIRE(got.size() == want.size());
  double error = 0, change = 0, most = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::fabs(double{got[i]} - want[i]));
    change = std::max(change, std::fabs(double{got[i]} - exact[i]));
    most = std::max(most, std::fabs(double{want[i]}));
  }
  CHECK(error < 1e-5 * most);
  CHECK(change > 1e-4 * most);
}

}  // namespace

TEST_CASE("bf16 rounds operands and nothing else") {
  check(one_node("MatMul", {40, 96}, {96, 48}, {}, {}), {40, 96});
  check(one_node("MatMul", {2, 7, 96}, {96, 48}, {}, {}), {2, 7, 96});
  check(one_node("MatMul", {1, 512}, {512, 33}, {}, {}), {1, 512});
  check(one_node("Gemm", {5, 64}, {24, 64}, {24}, {Attribute::of("transB", int64_t{1})}), {5, 64});
  check(one_node("Conv", {1, 24, 9, 9}, {32, 24, 1, 1}, {32}, {}), {1, 24, 9, 9});
  check(one_node("Conv", {2, 24, 9, 9}, {16, 24, 3, 3}, {16},
                 {Attribute::of("strides", std::vector<int64_t>{2, 2})}),
        {2, 24, 9, 9});
}
