// SPDX-License-Identifier: Apache-2.0
// Inlining of local functions: names, missing operands, bodies, operator sets; the same values.
#include "libonnxtool/infer/inline.h"
#include <catch2/catch.hpp>
#include <set>
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/onnx/load.h"

using namespace onnxtool;

namespace {

Model parse(const std::string& text) {
  auto m = read_any(
      Bytes::copy("<ir_version: 10, opset_import: [\"\": 17, \"local\": 1]>\n" + text), "");
  if (!m.ok()) FAIL(m.error().text());
  return std::move(*m);
}

// As written and read again.
Model rewritten(const Model& m) {
  auto bytes = model_bytes(m);
  if (!bytes.ok()) FAIL(bytes.error().text());
  auto r = read_model(Bytes::copy(std::move(*bytes)), "");
  if (!r.ok()) FAIL(r.error().text());
  return std::move(*r);
}

std::vector<std::vector<double>> run(const Model& m, float x) {
  auto r = Interpreter(m).run(std::vector<Datum>{Tensor::of<float>({2}, {x, 2 * x})});
  if (!r.ok()) FAIL(r.error().text());
  std::vector<std::vector<double>> values;
  for (const Datum& d : *r) values.push_back(d.tensor.to_f64());
  return values;
}

Model inlined(const std::string& text, int64_t calls) {
  Model m = parse(text);
  const auto before = run(m, 3), negative = run(m, -1);
  auto n = inline_functions(m);
  if (!n.ok()) FAIL(n.error().text());
  CHECK(*n == calls);
  CHECK(m.functions.empty());
  Model again = rewritten(m);
  auto checked = check_model(again);
  REQUIRE(checked.ok());
  for (const Finding& f : checked->findings) INFO(f.text());
  CHECK(checked->errors == 0);
  CHECK(run(again, 3) == before);
  CHECK(run(again, -1) == negative);
  std::set<std::string> names;
  for (uint32_t v = 0; v < again.num_values(); ++v) {
    const Value& value = again.value(ValueId(v));
    if (value.kind != ValueKind::kNone) CHECK(names.insert(value.name).second);
  }
  std::set<std::string> nodes;
  for (uint32_t n = 0; n < again.num_nodes(); ++n)
    if (const Node& node = again.node(NodeId(n)); !node.removed() && !node.name.empty())
      CHECK(nodes.insert(node.name).second);
  return again;
}

}  // namespace

TEST_CASE("inline: calls of calls, results keep their names", "[inline]") {
  const Model m = inlined(R"(g (float[2] x) => (float[2] y, float[2] z) {
    t = local.twice (x)
    y = local.twice (t)
    z = local.pass (t)
  }
  <domain: "local", opset_import: ["" : 17, "local" : 1]>
  twice (t) => (r) { y = local.pass (t)  r = Add (y, t) }
  <domain: "local", opset_import: ["" : 17]>
  pass (a) => (a) { unused = Neg (a) })",
                          5);
  CHECK(m.value(m.graph(m.main()).outputs[0]).name == "y");
  CHECK(m.value(m.graph(m.main()).outputs[1]).name == "z");
  CHECK(m.opset_imports.size() == 1);
}

TEST_CASE("inline: attributes, defaults and arguments left out", "[inline]") {
  inlined(R"(g (float[2] x) => (float[2] y, float[2] z) {
    y = local.f <alpha = 0.5> (x)
    z = local.f <beta = 1.0> (x, x)
  }
  <domain: "local", opset_import: ["" : 17]>
  f <alpha : float = 0.1, beta : float = -1.0> (a, low) => (r) {
    l = LeakyRelu <alpha : float = @alpha> (a)
    c = Constant <value_float : float = @beta> ()
    m = Max (l, c)
    r = Clip (m)
  })",
          2);
}

TEST_CASE("inline: bodies inside and around calls", "[inline]") {
  inlined(R"(g (float[2] x) => (float[2] y) {
    s = ReduceSum <keepdims = 0> (x)
    zero = Constant <value_float = 0.0> ()
    c = Greater (s, zero)
    y = If (c) <
      then_branch = a () => (float[2] p) { p = local.choose (x, c) },
      else_branch = b () => (float[2] q) { q = local.choose (x, c) }
    >
  }
  <domain: "local", opset_import: ["" : 17]>
  choose (v, c) => (r) {
    d = Mul (v, v)
    r = If (c) <
      then_branch = a () => (t) { t = Add (d, v) },
      else_branch = b () => (f) { e = Sub (d, v)  f = Neg (e) }
    >
  })",
          2);
}

TEST_CASE("inline: the function has another operator set", "[inline]") {
  const Model m = inlined(R"(g (float[2] x) => (float y) {
    y = local.mean (x)
  }
  <domain: "local", opset_import: ["" : 18]>
  mean (v) => (r) {
    axes = Constant <value_ints = [0]> ()
    r = ReduceMean <keepdims = 0> (v, axes)
  })",
                          1);
  CHECK(m.opset(m.main(), Sym()) == 17);
}

TEST_CASE("inline: what cannot be", "[inline]") {
  Model loop = parse(R"(g (float[2] x) => (float[2] y) { y = local.f (x) }
  <domain: "local", opset_import: ["" : 17, "local" : 1]> f (a) => (b) { b = local.f (a) })");
  auto r = inline_functions(loop);
  REQUIRE_FALSE(r.ok());
  CHECK(r.error().message == "function 'f' calls itself");
  Model many = parse(R"(g (float[2] x) => (float[2] y) { y = local.f (x) }
  <domain: "local", opset_import: ["" : 17]> f (a) => (d) { b = Neg (a)  c = Neg (b)  d = Neg (c) })");
  auto limit = inline_functions(many, {.max_nodes = 2});
  REQUIRE_FALSE(limit.ok());
  CHECK(limit.error().code == Code::kUnsupported);
  Model custom =
      read_any(Bytes::copy(R"(<ir_version: 10, opset_import: ["": 17, "local": 1, "x": 1]>
  g (float[2] x) => (float[2] y) { y = local.f (x) }
  <domain: "local", opset_import: ["x" : 2]> f (a) => (b) { b = x.Op (a) })"),
               "")
          .value();
  auto other = inline_functions(custom);
  REQUIRE_FALSE(other.ok());
  CHECK(other.error().message.find("imports operator set 2 of 'x', the model 1") !=
        std::string::npos);
}
