// SPDX-License-Identifier: Apache-2.0
// The driver of inference: symbols, known contents, declarations, bodies, functions, updates.
#include <ctime>

#include <catch2/catch.hpp>
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/onnx/load.h"

using namespace onnxtool;

namespace {

const char* kHeader = "<ir_version: 10, opset_import: [\"\": 17, \"local\": 1]>\n";

Model parse(const std::string& text) {
  auto m = read_any(Bytes::copy(kHeader + text), "");
  if (!m.ok()) FAIL(m.error().text());
  return std::move(*m);
}

ValueId named(const Model& m, std::string_view name) {
  for (uint32_t v = 0; v < m.num_values(); ++v)
    if (m.value(ValueId(v)).name == name) return ValueId(v);
  return {};
}

std::string type_of_value(const Model& m, std::string_view name) {
  const ValueId v = named(m, name);
  return v.valid() ? m.value(v).type.text() : "no such value";
}

InferReport inferred(Model& m, const InferOptions& options = {}) {
  auto r = infer(m, options);
  if (!r.ok()) FAIL(r.error().text());
  return std::move(*r);
}

std::string partial_text(const InferReport& r, const Model& m, std::string_view name) {
  const PartialValue* p = r.partial(named(m, name));
  return p ? to_string(*p) : "none";
}

}  // namespace

TEST_CASE("infer: shape arithmetic stays symbolic", "[infer]") {
  Model m = parse(R"(g (float[N,C,H,W] x) => (float[a,b] y) {
    s = Shape(x)
    i0 = Constant <value = int64[1] {0}> ()
    n = Gather(s, i0)
    rest = Constant <value = int64[1] {-1}> ()
    to = Concat <axis = 0> (n, rest)
    y = Reshape(x, to)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
    q = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
  })");
  InferReport r = inferred(m);
  CHECK(partial_text(r, m, "s") == "[N,C,H,W]");
  CHECK(partial_text(r, m, "to") == "[N,-1]");
  CHECK(type_of_value(m, "y") == "float[N,C*H*W]");
  CHECK(type_of_value(m, "q") == "float[N,C,floor(H/4),floor(W/4)]");
}

TEST_CASE("infer: symbols and inputs are bound", "[infer]") {
  const char* text = R"(g (float[N,3] x, float[N,1] z) => (float[N,3] y) { y = Add(x, z) })";
  Model m = parse(text);
  InferOptions options;
  options.symbols["N"] = 7;
  inferred(m, options);
  CHECK(type_of_value(m, "y") == "float[7,3]");

  Model by_input = parse(text);
  options = {};
  options.inputs = {Type::tensor(DType::kFloat, Shape{5, 3})};
  inferred(by_input, options);
  CHECK(type_of_value(by_input, "z") == "float[5,1]");
  CHECK(type_of_value(by_input, "y") == "float[5,3]");

  Model clash = parse(text);
  options.inputs = {Type::tensor(DType::kFloat, Shape{5, 3}),
                    Type::tensor(DType::kFloat, Shape{1, 1})};
  InferReport r = inferred(clash, options);
  REQUIRE(r.findings.size() == 1);
  CHECK(std::string(r.findings[0].rule->code) == "W505");
  CHECK(type_of_value(clash, "y") == "float[5,3]");

  Model wrong = parse(text);
  options.inputs = {Type::tensor(DType::kFloat, Shape{5, 4})};
  auto e = infer(wrong, options);
  REQUIRE_FALSE(e.ok());
  CHECK(e.error().message == "input 'x' is declared float[N,3], given float[5,4]");
}

TEST_CASE("infer: known contents of an input", "[infer]") {
  Model m = parse(R"(g (float[6] x, int64[2] to) => (float[a,b] y) { y = Reshape(x, to) })");
  InferOptions options;
  options.input_values = {Tensor(), Tensor::ints({2, 3})};
  inferred(m, options);
  CHECK(type_of_value(m, "y") == "float[2,3]");
}

TEST_CASE("infer: small constants are evaluated", "[infer]") {
  Model m = parse(R"(g (float[4] x) => (float[a] y) {
    h = Constant <value_float = 2.0> ()
    t = Constant <value_float = 3.0> ()
    f = Mul(h, t)
    n = Cast <to = 7> (f)
    y = Sum(x, f)
    e = ConstantOfShape(i)
    o = Constant <value = int64[1] {1}> ()
    i = Unsqueeze(n, z)
    z = Constant <value = int64[1] {0}> ()
  })");
  // Listed out of order on purpose: only what comes before is known.
  InferReport r = inferred(m);
  REQUIRE(r.constant(named(m, "f")));
  CHECK(r.constant(named(m, "f"))->f64_at(0) == 6.0);
  CHECK(partial_text(r, m, "n") == "[6]");
}

TEST_CASE("infer: a wrong declaration warns, or fails in a strict run", "[infer]") {
  const char* text = R"(g (float[2,3] x) => (float[4,3] y) { y = Relu(x) })";
  Model m = parse(text);
  InferReport r = inferred(m);
  CHECK(type_of_value(m, "y") == "float[2,3]");
  REQUIRE(r.findings.size() == 1);
  CHECK(r.findings[0].text() ==
        "W504: node making 'y' (Relu) of 'x' float[2,3]: 'y' is declared float[4,3], inferred "
        "float[2,3]");
  Model again = parse(text);
  InferOptions strict;
  strict.strict = true;
  CHECK_FALSE(infer(again, strict).ok());

  Model symbolic = parse(R"(g (float[N,3] x) => (float[1,s,3] y) { y = Relu(x) })");
  CHECK(inferred(symbolic, strict).findings.size() == 1);  // a warning still

  Model type = parse(R"(g (float[2,3] x) => (int64[2,3] y) { y = Relu(x) })");
  auto e = infer(type);
  REQUIRE_FALSE(e.ok());
  CHECK(e.error().text().find("'y' is declared int64[2,3], inferred float[2,3]") !=
        std::string::npos);
}

TEST_CASE("infer: unknown sizes are named after their value", "[infer]") {
  Model m = parse(R"(g (float[N] x, float[?,3] w) => (int64[1,M] y, float[?,3] v) {
    y = NonZero(x)
    z = NonZero(x)
    v = Relu(w)
    u = Foo(w)
  })");
  m.node(m.value(named(m, "u")).producer).domain = Sym("custom");
  inferred(m);
  CHECK(type_of_value(m, "y") == "int64[1,M]");
  CHECK(type_of_value(m, "z") == "int64[1,z_d1]");
  CHECK(type_of_value(m, "v") == "float[w_d0,3]");
  CHECK(type_of_value(m, "u") == "?");
}

TEST_CASE("infer: errors name the node, its tensors and their shapes", "[infer]") {
  Model m = parse(R"(g (float[2,3] x, float[4,5] w) => (float[a,b] y) { y = MatMul(x, w) })");
  auto e = infer(m);
  REQUIRE_FALSE(e.ok());
  CHECK(e.error().code == Code::kInvalid);
  CHECK(e.error().text().find("node making 'y' (MatMul) of 'x' float[2,3], 'w' float[4,5]: ") == 0);

  InferOptions collect;
  collect.collect = true;
  Model two = parse(R"(g (float[2,3] x, float[4,5] w) => (float[a,b] y, float[a,b] z) {
    y = MatMul(x, w)
    z = Add(x, w)
  })");
  CHECK(inferred(two, collect).findings.size() == 2);
}

TEST_CASE("infer: branches and loops", "[infer]") {
  Model m = parse(
      R"(g (bool c, float[N,2] x, int64 trips) => (float[a,b] y, float[e,f] z, float[?,?,?] s) {
    y = If (c) <
      then_branch = t () => (float[?,?] p) { p = Relu(x) },
      else_branch = e () => (float[?,?] q) { q = Concat <axis = 0> (x, x) }
    >
    z, s = Loop (trips, c, x) <
      body = b (int64 i, bool ci, float[?,?] v) => (bool co, float[?,?] vo, float[?,?] so) {
        co = Identity(ci)
        vo = Concat <axis = 0> (v, x)
        so = Relu(x)
      }
    >
  })");
  inferred(m);
  CHECK(type_of_value(m, "p") == "float[N,2]");
  CHECK(type_of_value(m, "q") == "float[2*N,2]");
  CHECK(m.value(named(m, "y")).type.shape->at(1).is_const(2));
  CHECK_FALSE(m.value(named(m, "y")).type.shape->at(0).is_const());
  CHECK(m.value(named(m, "z")).type.shape->at(1).is_const(2));
  CHECK(m.value(named(m, "s")).type.shape->at(1) == Dim::symbol("N"));
}

TEST_CASE("infer: the branch of a known condition tells its contents", "[infer]") {
  Model m = parse(R"(g (float[N,2] x) => (int64[?] y) {
    c = Constant <value = bool {1}> ()
    y = If (c) <
      then_branch = t () => (int64[?] p) { p = Shape(x) },
      else_branch = e () => (int64[?] q) { q = Constant <value = int64[3] {1, 2, 3}> () }
    >
  })");
  InferReport r = inferred(m);
  CHECK(partial_text(r, m, "y") == "[N,2]");
}

TEST_CASE("infer: functions are inferred for each list of argument types", "[infer]") {
  Model m = parse(
      R"(g (float[N,2] x, int64[4] k) => (float[a,b] y, int64[c] z, float[d,e] w, int64[1,M] u, int64[1,L] v) {
    y = local.twice <axis = 0> (x)
    z = local.twice <axis = 0> (k)
    w = local.twice <axis = 1> (x)
    u = local.find (x1)
    v = local.find (x1)
    x1 = Identity(k)
  }
  <opset_import: ["": 17], domain: "local">
  twice <axis> (a) => (b) { b = Concat <axis: int = @axis> (a, a) }
  <opset_import: ["": 17], domain: "local">
  find (a) => (b) { b = NonZero(a) })");
  inferred(m);
  CHECK(type_of_value(m, "y") == "float[2*N,2]");
  CHECK(type_of_value(m, "z") == "int64[8]");
  CHECK(type_of_value(m, "w") == "float[N,4]");
  // Sizes that depend on data differ from call to call.
  CHECK_FALSE(m.value(named(m, "u")).type.shape->at(1) == m.value(named(m, "v")).type.shape->at(1));
}

TEST_CASE("infer: update follows a change as far as it goes", "[infer]") {
  Model m = parse(R"(g (float[N,2] x, float[N,2,2] t) => (float[a,b] y) {
    h = Relu(x)
    k = Neg(h)
    y = Concat <axis = 1> (k, k)
    other = Abs(x)
  })");
  Inference state(m);
  REQUIRE(state.run().ok());
  CHECK(type_of_value(m, "y") == "float[N,4]");
  const NodeId relu = m.value(named(m, "h")).producer;
  const NodeId wide = m.add_node(m.main(), "Concat", {named(m, "x"), named(m, "x")}, {"xx"},
                                 {Attribute::of("axis", int64_t{1})}, {}, 0);
  m.node(wide).version = 13;
  REQUIRE(state.update(wide).ok());
  m.set_input(relu, 0, named(m, "xx"));
  REQUIRE(state.update(relu).ok());
  CHECK(type_of_value(m, "k") == "float[N,4]");
  CHECK(type_of_value(m, "y") == "float[N,8]");
  CHECK(type_of_value(m, "other") == "float[N,2]");
}

TEST_CASE("infer: without writing", "[infer]") {
  Model m = parse(R"(g (float[N,2] x) => (float[a,b] y) { h = Relu(x)  y = Neg(h) })");
  const Model& fixed = m;
  InferOptions options;
  options.symbols["N"] = 3;
  Inference state(fixed, options);
  REQUIRE(state.run().ok());
  CHECK(state.type(named(m, "h")).text() == "float[3,2]");
  CHECK(type_of_value(m, "h") == "?");
}

TEST_CASE("infer: a long chain takes linear time", "[infer]") {
  auto time = [](int n) {
    Model m;
    m.opset_imports.push_back({Sym(), 17});
    const GraphId g = m.add_graph();
    ValueId v = m.add_input(g, "x", Type::tensor(DType::kFloat, Shape{Dim::symbol("N"), 8}));
    for (int i = 0; i < n; ++i) {
      const NodeId node = m.add_node(g, "Relu", {v}, {"v" + std::to_string(i)});
      m.node(node).version = 14;
      v = m.node(node).output(0);
    }
    const std::clock_t start = std::clock();  // of this process: others may be busy
    REQUIRE(infer(m).ok());
    CHECK(m.value(v).type.text() == "float[N,8]");
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  const double small = time(10000);
  CHECK(time(100000) < 40 * small + 0.05);
}

TEST_CASE("infer: defaults of inputs", "[infer]") {
  const char* text =
      R"(g (float[6] x, int64[2] to = {2, 3}) => (float[a,b] y) { y = Reshape(x, to) })";
  Model m = parse(text);
  inferred(m);
  CHECK_FALSE(m.value(named(m, "y")).type.is_static());
  InferOptions options;
  options.defaults_hold = true;
  inferred(m, options);
  CHECK(type_of_value(m, "y") == "float[2,3]");
  options.input_values = {Tensor(), Tensor::ints({6, 1})};
  inferred(m, options);
  CHECK(type_of_value(m, "y") == "float[6,1]");
}

TEST_CASE("infer: a placeholder for unknown sizes is no symbol", "[infer]") {
  Model m = parse(R"(g (float["?","?"] x) => (float["?","?"] y) { y = Relu(x) })");
  inferred(m);
  CHECK(type_of_value(m, "y") == "float[x_d0,x_d1]");
}
