// SPDX-License-Identifier: Apache-2.0
// The reference interpreter: values, bodies, functions, budgets, the observer.
#include "libonnxtool/infer/interpreter.h"
#include <catch2/catch.hpp>
#include "libonnxtool/onnx/load.h"

using namespace onnxtool;

namespace {

Model parse(const std::string& text) {
  auto m = read_any(
      Bytes::copy("<ir_version: 10, opset_import: [\"\": 17, \"local\": 1]>\n" + text), "");
  if (!m.ok()) FAIL(m.error().text());
  return std::move(*m);
}

Datum floats(Dims dims, std::initializer_list<float> values) {
  return Tensor::of<float>(std::move(dims), values);
}

std::vector<double> run_one(const Model& m, std::vector<Datum> inputs, size_t output = 0) {
  auto r = Interpreter(m).run(inputs);
  if (!r.ok()) FAIL(r.error().text());
  return (*r)[output].tensor.to_f64();
}

}  // namespace

TEST_CASE("interpreter: values, defaults and left out inputs", "[interpreter]") {
  Model m = parse(R"(g (float[2] x, float[2] d = {10.0, 20.0}) => (float[2] y, float[2] z) {
    y = Add(x, d)
    zero = Constant <value_float = 0.0> ()
    z = Clip(x, zero)
  })");
  CHECK(run_one(m, {floats({2}, {-1, 2})}) == std::vector<double>{9, 22});
  CHECK(run_one(m, {floats({2}, {-1, 2})}, 1) == std::vector<double>{0, 2});
  CHECK(run_one(m, {floats({2}, {-1, 2}), floats({2}, {1, 1})}) == std::vector<double>{0, 3});
  auto missing = Interpreter(m).run({});
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().message == "input 'x' is not given");
  std::vector<Datum> wrong = {Tensor::ints({1, 2})};
  CHECK_FALSE(Interpreter(m).run(wrong).ok());
}

TEST_CASE("interpreter: loops with captures", "[interpreter]") {
  Model m = parse(R"(g (int64 n, float[1] x) => (float[1] y, float[k,1] s) {
    c = Constant <value = bool {1}> ()
    y, s = Loop (n, c, x) <
      body = b (int64 i, bool ci, float[1] v) => (bool co, float[1] vo, float[1] so) {
        co = Identity(ci)
        vo = Add(v, x)
        so = Mul(v, v)
      }
    >
  })");
  std::vector<Datum> in = {Tensor::scalar<int64_t>(3), floats({1}, {2})};
  CHECK(run_one(m, in, 0) == std::vector<double>{8});
  CHECK(run_one(m, in, 1) == std::vector<double>{4, 16, 36});
}

TEST_CASE("interpreter: functions and their attributes", "[interpreter]") {
  Model m = parse(R"(g (float[2] x) => (float[2] y) {
    a = local.scale <by = 3.0> (x)
    y = local.scale (a)
  }
  <opset_import: ["": 17], domain: "local">
  scale <by: float = 0.5> (v) => (w) {
    k = Constant <value_float: float = @by> ()
    w = Mul(v, k)
  })");
  CHECK(run_one(m, {floats({2}, {2, 4})}) == std::vector<double>{3, 6});
}

TEST_CASE("interpreter: sparse initializers are made dense", "[interpreter]") {
  SparseTensor s;
  s.values.tensor = Tensor::of<float>({2}, {5, 7});
  s.indices.tensor = Tensor::ints({1, 3});
  s.dims = {2, 2};
  auto dense = densify(s, [](int64_t) { return ok(); });
  REQUIRE(dense.ok());
  CHECK(dense->to_f64() == std::vector<double>{0, 5, 0, 7});
  s.indices.tensor = Tensor::ints({1, 4});
  CHECK_FALSE(densify(s, [](int64_t) { return ok(); }).ok());
  s.dims = {int64_t{1} << 40, int64_t{1} << 40};
  CHECK_FALSE(densify(s, [](int64_t) { return ok(); }).ok());
}

TEST_CASE("interpreter: budgets", "[interpreter]") {
  Model big = parse(R"(g (int64[1] n) => (float[a] y) {
    y = ConstantOfShape(n)
  })");
  InterpreterOptions options;
  options.memory_limit = 1 << 20;
  std::vector<Datum> in = {Tensor::ints({int64_t{1} << 40})};
  auto r = Interpreter(big, options).run(in);
  REQUIRE_FALSE(r.ok());
  CHECK(r.error().code == Code::kUnsupported);

  Model endless = parse(R"(g (bool c, float[1] x) => (float[1] y) {
    y = Loop (, c, x) <
      body = b (int64 i, bool ci, float[1] v) => (bool co, float[1] vo) { co = Identity(ci)  vo = Neg(v) }
    >
  })");
  options.max_steps = 1000;
  std::vector<Datum> forever = {Tensor::of<bool>({}, {true}), floats({1}, {1})};
  auto e = Interpreter(endless, options).run(forever);
  REQUIRE_FALSE(e.ok());
  CHECK(e.error().text().find("more than 1000 steps") != std::string::npos);
}

TEST_CASE("interpreter: memory is that of living values", "[interpreter]") {
  std::string text = "g (float[1024] v0) => (float[1024] v200) {\n";
  for (int i = 0; i < 200; ++i)
    text += "v" + std::to_string(i + 1) + " = Neg(v" + std::to_string(i) + ")\n";
  Model m = parse(text + "}");
  InterpreterOptions options;
  options.memory_limit = 3 * 4096;
  auto x = Tensor::allocate(DType::kFloat, {1024});
  std::vector<Datum> in = {*x};
  auto r = Interpreter(m, options).run(in);
  if (!r.ok()) FAIL(r.error().text());
}

TEST_CASE("interpreter: the observer sees each node and may end the run", "[interpreter]") {
  Model m = parse(R"(g (float[1] x) => (float[1] z) { y = Neg(x)  z = Abs(y)  dead = Relu(x) })");
  std::vector<std::string> seen;
  InterpreterOptions options;
  options.observe = [&](const NodeRun& run) -> Status {
    seen.push_back(m.node(run.node).op.str() + " " +
                   std::to_string(run.outputs[0].tensor.f64_at(0)));
    return seen.size() == 2 ? Status(invalid("enough")) : ok();
  };
  std::vector<Datum> in = {floats({1}, {4})};
  auto r = Interpreter(m, options).run(in);
  CHECK_FALSE(r.ok());
  CHECK(seen == std::vector<std::string>{"Neg -4.000000", "Abs 4.000000"});
}

TEST_CASE("evaluate: one node", "[interpreter]") {
  Model m = parse(R"(g (float[2] x, int64[2] k) => (float[2] y) { y = Add(x, x) })");
  const Node& add = m.node(m.graph(m.main()).nodes[0]);
  std::vector<Datum> in = {floats({2}, {1, 2}), floats({2}, {3, 4})};
  auto r = evaluate_node(m, add, in, {});
  REQUIRE(r.ok());
  CHECK((*r)[0].tensor.to_f64() == std::vector<double>{4, 6});
  std::vector<Datum> mixed = {floats({2}, {1, 2}), Tensor::ints({1, 2})};
  auto e = evaluate_node(m, add, mixed, {});
  REQUIRE_FALSE(e.ok());
  CHECK(e.error().message.find("have type T") != std::string::npos);
  std::vector<Datum> few = {floats({2}, {1, 2}), Datum()};
  CHECK_FALSE(evaluate_node(m, add, few, {}).ok());
}
