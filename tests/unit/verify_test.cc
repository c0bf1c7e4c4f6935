// SPDX-License-Identifier: Apache-2.0
// The verifier: one case a rule or more, by its code.
#include <set>

#include <catch2/catch.hpp>
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/onnx/load.h"

using namespace onnxtool;

namespace {

Model parse(const std::string& text) {
  const std::string header =
      text[0] == '<' ? "" : "<ir_version: 10, opset_import: [\"\": 17, \"my\": 1]>\n";
  auto m = read_any(Bytes::copy(header + text), "");
  if (!m.ok()) FAIL(m.error().text());
  return std::move(*m);
}

// Codes of the findings, each once: "E103 W115".
std::string codes(Model& m, const VerifyOptions& options = {}) {
  auto r = check_model(m, options);
  if (!r.ok()) FAIL(r.error().text());
  std::set<std::string> found;
  for (const Finding& f : r->findings) found.insert(f.rule->code);
  std::string s;
  for (const std::string& c : found) s += (s.empty() ? "" : " ") + c;
  return s;
}
std::string codes(const std::string& text) {
  Model m = parse(text);
  return codes(m);
}
std::string body(const std::string& nodes) {
  return "g (float[2,3] x) => (float[2,3] y) { " + nodes + " }";
}

}  // namespace

TEST_CASE("verify: the table of rules", "[verify]") {
  std::string before;
  for (const Rule& r : all_rules()) {
    CHECK((r.code[0] == 'E') == (r.severity == Severity::kError));
    CHECK(std::string(r.code + 1) > before);
    before = r.code + 1;
    CHECK(find_rule(r.name) == &r);
    CHECK(std::string(r.explanation).back() == '.');
  }
}

TEST_CASE("verify: a good model has no findings", "[verify]") {
  CHECK(codes(body("h = Relu(x)  y = Add(h, x)")).empty());
}

TEST_CASE("verify: header", "[verify]") {
  CHECK(codes("<ir_version: 99, opset_import: [\"\": 17]> " + body("y = Relu(x)")) == "E101");
  CHECK(codes("<ir_version: 10, opset_import: [\"\": 999]> " + body("y = Relu(x)")) == "E102");
  CHECK(codes("<ir_version: 10, opset_import: [\"my\": 1]> " + body("y = Relu(x)")) == "E204");
}

TEST_CASE("verify: names and order", "[verify]") {
  CHECK(codes(body("y = Relu(x)  y = Neg(x)")) == "E103");
  CHECK(codes(body("y = Add(x, ghost)")) == "E104");
  CHECK(codes(body("h = Add(x, k)  k = Relu(h)  y = Neg(h)")) == "E105");
  CHECK(codes(body("y = Neg(h)  h = Relu(x)")) == "E106");
  CHECK(codes("g (float x, float x) => (float y) { y = Relu(x) }") == "E103");
}

TEST_CASE("verify: what is wrong is named", "[verify]") {
  Model m = parse(body("h = Add(x, k)  k = Relu(h)  y = Neg(h)"));
  auto r = check_model(m);
  REQUIRE(r.ok());
  CHECK(r->findings[0].message ==
        "depends on its own result: node making 'k' (Relu), node making 'h' (Add)");
}

TEST_CASE("verify: nodes out of order are sorted for use", "[verify]") {
  Model m = parse(body("y = Neg(h)  h = Relu(x)"));
  auto r = verify_and_infer(m);
  REQUIRE(r.ok());
  REQUIRE(r->findings.size() == 1);
  CHECK(r->findings[0].severity == Severity::kWarning);
  CHECK(m.node(m.graph(m.main()).nodes[0]).op.str() == "Relu");
  CHECK(m.value(m.graph(m.main()).outputs[0]).type.text() == "float[2,3]");
  Model cyclic = parse(body("h = Add(x, k)  k = Relu(h)  y = Neg(h)"));
  CHECK_FALSE(verify_and_infer(cyclic).ok());
  CHECK_FALSE(sort_nodes(cyclic).ok());
}

TEST_CASE("verify: scopes", "[verify]") {
  auto branch = [](const std::string& then, const std::string& around) {
    return "g (bool c, float[2] x) => (float[2] y) { h = Neg(x) y = If (c) < then_branch = t () => "
           "(float[2] p) { " +
           then + " }, else_branch = e () => (float[2] q) { q = Relu(h) } > " + around + " }";
  };
  CHECK(codes(branch("p = Abs(h)", "")).empty());
  CHECK(codes(branch("p = Abs(q)", "")) == "E104");
  CHECK(codes(branch("h = Abs(x)  p = Abs(h)", "")) == "E108");
  CHECK(codes(branch("p = Abs(late)", "late = Abs(x)")) == "E106");
  CHECK(codes(branch("p = Abs(late)", "late = Abs(y)")) == "E105");
}

TEST_CASE("verify: operators", "[verify]") {
  CHECK(codes(body("y = relu(x)")) == "E201");
  CHECK(codes(body("y = Gelu(x)")) == "E202");
  CHECK(codes(body("y = Upsample(x, x)")) == "E203");
  CHECK(codes(body("y = other.Foo(x)")) == "E204");
  CHECK(codes(body("y = my.Foo(x)")) == "W216");
  CHECK(codes(body("y = Relu(x, x)")) == "E205");
  CHECK(codes(body("y = Add(x)")) == "E205");
  CHECK(codes(body("y = Add(, x)")) == "E206");
}

TEST_CASE("verify: operand types", "[verify]") {
  CHECK(codes("g (string[2] x) => (string[2] y) { y = Relu(x) }") == "E207");
  CHECK(codes("g (float[2] x, int64[2] z) => (float[2] y) { y = Add(x, z) }") == "E208");
  // Relu of integers came with operator set 14.
  const std::string relu = "g (int32[2] x) => (int32[2] y) { y = Relu(x) }";
  CHECK(codes("<ir_version: 10, opset_import: [\"\": 13]> " + relu) == "E207");
  CHECK(codes("<ir_version: 10, opset_import: [\"\": 14]> " + relu).empty());
}

TEST_CASE("verify: attributes", "[verify]") {
  CHECK(codes(body("y = Relu <slope = 1> (x)")) == "E209");
  CHECK(codes(body("y = Concat (x)")) == "E210");
  CHECK(codes(body("y = Softmax <axis = 1.0> (x)")) == "E211");
  CHECK(codes(body("y = Softmax <axis: int = @outer> (x)")) == "E213");
  CHECK(codes(body("y = Add(x, k)  k = Constant <value_float = 1.0, value_int = 1> ()"))
            .find("E214") != std::string::npos);
  CHECK(codes("g (float[1,1,4,4] x) => (float[1,1,3,3] y) { y = MaxPool <kernel_shape = [2,2], "
              "auto_pad = \"VALID!\"> (x) }")
            .find("W217") != std::string::npos);
}

TEST_CASE("verify: bodies fit their operator", "[verify]") {
  CHECK(codes(R"(g (bool c, float[2] x) => (float[2] y) { y = If (c) <
    then_branch = t () => (float[2] p, float[2] r) { p = Abs(x) r = Neg(x) },
    else_branch = e () => (float[2] q) { q = Relu(x) } > })") == "E215");
  CHECK(codes(R"(g (bool c, int64 n, float[2] x) => (float[2] y) { y = Loop (n, c, x) <
    body = b (int64 i, bool k) => (bool ko, float[2] v) { ko = Identity(k) v = Relu(x) } > })") ==
        "E215");
}

TEST_CASE("verify: sparse tensors", "[verify]") {
  auto make = [](std::vector<int64_t> indices, Dims dims) {
    Model m = parse(body("y = Relu(x)"));
    auto c = std::make_shared<Constant>();
    c->sparse = std::make_unique<SparseTensor>();
    c->sparse->values.tensor = Tensor::of<float>({2}, {1, 2});
    c->sparse->indices.tensor = Tensor::ints(indices);
    c->sparse->dims = dims;
    const ValueId v = m.add_initializer(m.main(), "s", Tensor::scalar(1.0f));
    m.value(v).constant = c;
    return codes(m);
  };
  CHECK(make({0, 3}, {2, 2}).empty());
  CHECK(make({0, 4}, {2, 2}) == "E304");
  CHECK(make({3, 0}, {2, 2}) == "E304");
  CHECK(make({-1, 0}, {2, 2}) == "E304");
  CHECK(make({0}, {2, 2}) == "E303");
  CHECK(make({0, 1}, {}) == "E303");
  CHECK(make({0, 1}, {-2}) == "E303");
}

TEST_CASE("verify: functions", "[verify]") {
  auto with = [](const std::string& call, const std::string& functions) {
    return codes(body("y = " + call) + functions);
  };
  const std::string head = "<opset_import: [\"\": 17, \"my\": 1], domain: \"my\"> ";
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = Relu(a) }").empty());
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = my.f(a) }") == "E402");
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = my.h(a) }" + head +
                            "h (a) => (b) { b = my.f(a) }") == "E402");
  CHECK(with("my.f(x, x)", head + "f (a) => (b) { b = Relu(a) }") == "E404");
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = Relu(a) }" + head +
                            "f (a) => (b) { b = Neg(a) }") == "E401");
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = Relu(ghost) }") == "E104");
  CHECK(with("my.f(x)",
             "<opset_import: [\"\": 11], domain: \"my\"> f (a) => (b) { b = Softmax(a) }") ==
        "E406");
  CHECK(with("my.f(x)", head + "f (a) => (b) { b = Softmax <axis: int = @k> (a) }") == "W408");
}

TEST_CASE("verify: types and shapes", "[verify]") {
  CHECK(codes("g (float[2,3] x, float[2,4] z) => (float[2,3] y) { y = Add(x, z) }") == "E501");
  CHECK(codes("g (float[2,3] x) => (int64[2,3] y) { y = Relu(x) }") == "E502");
  CHECK(codes("g (float[2,3] x) => (float[2,4] y) { y = Relu(x) }") == "E503");
  CHECK(codes("g (float[N,3] x) => (float[N,4] y) { y = Relu(x) }") == "W504");
}

TEST_CASE("verify: the number of findings is limited", "[verify]") {
  std::string nodes;
  for (int i = 0; i < 300; ++i) nodes += "v" + std::to_string(i) + " = relu(x) ";
  Model m = parse(body(nodes + "y = Relu(x)"));
  VerifyOptions options;
  options.max_findings = 20;
  auto r = check_model(m, options);
  REQUIRE(r.ok());
  CHECK(r->findings.size() == 20);
  CHECK(r->truncated);
}
