// SPDX-License-Identifier: Apache-2.0
// Text form: what is read, in the form in which it is written; what is dropped and refused.
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/wire_build.h"

#include <catch2/catch.hpp>

using namespace onnxtool;

namespace {

// The text as written after reading, or the error.
std::string again(std::string_view text) {
  auto w = text_to_wire(text);
  if (!w.ok()) return w.error().text();
  auto t = wire_to_text(*w);
  return t.ok() ? *t : t.error().text();
}
// The same for the part of a model that stands where '%' is in the frame; what stands around must
// come back as it was.
std::string part(std::string frame, const std::string& text) {
  const size_t at = frame.find('%');
  const std::string before = frame.substr(0, at), after = frame.substr(at + 1);
  const std::string all = again(before + text + after);
  if (!all.starts_with(before) || !all.ends_with(after)) return all;
  return all.substr(before.size(), all.size() - before.size() - after.size());
}
std::string node(const std::string& text) { return part("g () => () {\n   %\n}\n", text); }
std::string attr(const std::string& text) { return part("g () => () {\n   = A <%> ()\n}\n", text); }
std::string type(const std::string& text) { return part("g (% x) => () {\n}\n", text); }
std::string tensor(const std::string& text) {
  return part("g () => () {\n   = A <a: tensor = %> ()\n}\n", text);
}
// The data of a tensor in JSON.
std::string data(const std::string& text) {
  const auto w = text_to_wire("g () => () { = A <a = " + text + "> () }");
  if (!w.ok()) return w.error().text();
  const std::string j = wire_to_json(*w).value();
  std::string out;
  for (size_t i = j.find("Data\": [") + 8; j[i] != ']'; ++i)
    if (j[i] != ' ' && j[i] != '\n') out += j[i];
  return out;
}

}  // namespace

TEST_CASE("a whole model in its written form") {
  const std::string text = R"(<
   ir_version: 10,
   opset_import: ["" : 21, "my.domain" : 1],
   producer_name: "a \"tool\"",
   producer_version: "1",
   domain: "d",
   model_version: -2,
   doc_string: "back\\slash",
   metadata_props: ["key": "value", "": ""]
>
g (float[N,3] x, seq(int64[]) "a b") => (float[?,"2*N"] y)
<
   float[2] w = {1, -0.5},
   int64 n = {-7},
   string[2] s = {"a", "\""},
   float[1000] far = ["location": "w.bin", "offset": "4096"],
   bool[N] seen
>
{
   [first] h, "" = my.domain.Op:variant <k: int = 2> (x, "", w)
   y = If (n) <then_branch: graph = yes () => (float z)
   <
      float z = {1}
   >
   {
   }, else_branch: graph = no () => (float u) {
      u = Neg (w)
   }>
}
<
   domain: "my.domain",
   overload: "variant",
   opset_import: ["" : 21],
   doc_string: "what it does"
>
Op <k, alpha: float = 0.5> (a, b, c) => (d, e) <float[3] a, bool e>
{
   d = Add <to: int = @k> (a, b)
   e = Not (c)
}
)";
  CHECK(again(text) == text);
}

TEST_CASE("other ways to write the same model") {
  CHECK(again("g()=>(){}") == "g () => () {\n}\n");
  CHECK(again("\xEF\xBB\xBF# comment\ng # another\n() => () <> { # end\n}# last") ==
        "g () => () {\n}\n");
  CHECK(again("<ir_version:7>\"my graph\"()=>(){}") ==
        "<\n   ir_version: 7\n>\n\"my graph\" () => () {\n}\n");
  CHECK(again("g (float[2] w = {1,2}, x) => () {}") ==
        "g (float[2] w, x) => ()\n<\n   float[2] w = {1, 2}\n>\n{\n}\n");
  CHECK(again("g () => () {} f (float a, b) => (int64 c) { }") ==
        "g () => () {\n}\nf (a, b) => (c) <float a, int64 c>\n{\n}\n");
}

TEST_CASE("text form of nodes") {
  CHECK(node("y=Add(a,b)") == "y = Add (a, b)");
  CHECK(node("y = Add (a, b) <axis = 1>") == "y = Add <axis: int = 1> (a, b)");
  CHECK(node("= Print (a)") == "= Print (a)");
  CHECK(node("a, , \"\" = Op (, x, \"y z\",)") == "a, \"\", \"\" = Op (\"\", x, \"y z\")");
  CHECK(node("y = Op (,)") == "y = Op (\"\")");
  CHECK(node("[\"a/b\"] y = a . b . Op ()") == "[\"a/b\"] y = a.b.Op ()");
  CHECK(node("y = \"my-domain.x\".\"op::name\":\"over load\" ()") ==
        "y = \"my-domain.x\".\"op::name\":\"over load\" ()");
  CHECK(node("y = \"a.b\" ()") == "y = \"a.b\" ()");
  CHECK(node("\"float\", \"inf\", undefined = Op (\"seq\", nano)") ==
        "\"float\", \"inf\", \"undefined\" = Op (\"seq\", nano)");
}

TEST_CASE("text form of attributes") {
  CHECK(attr("a = 1") == "a: int = 1");
  CHECK(attr("a = 1.0") == "a: float = 1");
  CHECK(attr("a: float = -0") == "a: float = -0");
  CHECK(attr("a = 1e-3, b = NaN, c = -Infinity") ==
        "a: float = 0.001, b: float = nan, c: float = -inf");
  CHECK(attr("a = 0.1") == "a: float = 0.1");
  CHECK(attr("a = 16777217.0") == "a: float = 16777216");
  CHECK(attr("a = 1e-60") == "a: float = 0");
  CHECK(attr("a = \"s\\\"\\\\\n\"") == "a: string = \"s\\\"\\\\\n\"");
  CHECK(attr("a = [1, 2]") == "a: ints = [1, 2]");
  CHECK(attr("a = [1.5, 2]") == "a: floats = [1.5, 2]");
  CHECK(attr("a: floats = [1, inf]") == "a: floats = [1, inf]");
  CHECK(attr("a = [\"x\", \"\"]") == "a: strings = [\"x\", \"\"]");
  CHECK(attr("a: strings = []") == "a: strings = []");
  CHECK(attr("a: ints = @b, c = @\"d e\"") == "a: ints = @b, c = @\"d e\"");
  CHECK(attr("\"a b\" = 1") == "\"a b\": int = 1");
  CHECK(attr("a = float[2]") == "a: type_proto = float[2]");
  CHECK(attr("a = [float, seq(int8[])]") == "a: type_protos = [float, seq(int8[])]");
  CHECK(attr("a = [float {1}, int64[1] n {2}]") == "a: tensors = [float {1}, int64[1] n {2}]");
  CHECK(attr("a = float[1] = {1}") == "a: tensor = float[1] {1}");
  CHECK(attr("a = int8[1] \"t t\" = [\"location\": \"f\"]") ==
        "a: tensor = int8[1] \"t t\" = [\"location\": \"f\"]");
  CHECK(attr("a: type_proto = undefined") == "a: type_proto = undefined");
  CHECK(node("= A () <a = [g () => () {}, \"h h\" () => () {}]>") ==
        "= A () <a: graphs = [g () => () {\n   }, \"h h\" () => () {\n   }]>");
}

TEST_CASE("text form of types") {
  for (const char* t :
       {"float", "float[]", "float[2,N,?,-1]", "bfloat16[\"a+1\"]", "float8e4m3fnuz", "int2[3]",
        "complex64", "seq(float[])", "optional(seq(string))", "map(int64, seq(float[N]))",
        "sparse_tensor(float[2,3])", "sparse_tensor(int64[])", "opaque()", "opaque(n)",
        "opaque(a.b, c)", "opaque(\"my-d\", n)", "undefined[2]", "undefined", "seq(undefined)"})
    CHECK(type(t) == t);
  CHECK(type("float[\"N\"]") == "float[N]");
  CHECK(type("float[\"int64\"]") == "float[\"int64\"]");
  CHECK(again("g (undefined, float float) => () {}") ==
        "g (\"undefined\", float \"float\") => () {\n}\n");
}

TEST_CASE("elements of every type") {
  CHECK(tensor("float[2] {1, 0.1}") == "float[2] {1, 0.1}");
  CHECK(tensor("double[1] {0.1}") == "double[1] {0.1}");
  CHECK(tensor("double[1] {5e-324}") == "double[1] {5e-324}");
  CHECK(tensor("float[1] {1e-45}") == "float[1] {1e-45}");
  CHECK(tensor("complex64[2] {1, 2, 3, -nan}") == "complex64[2] {1, 2, 3, -nan}");
  CHECK(tensor("int64[2] {-9223372036854775808, 9223372036854775807}") ==
        "int64[2] {-9223372036854775808, 9223372036854775807}");
  CHECK(tensor("uint64[1] {18446744073709551615}") == "uint64[1] {18446744073709551615}");
  CHECK(tensor("uint32[1] {4294967295}") == "uint32[1] {4294967295}");
  CHECK(tensor("int8[2] {-128, 127}") == "int8[2] {-128, 127}");
  CHECK(tensor("bool[2] {0, 1}") == "bool[2] {0, 1}");
  CHECK(tensor("string[0,2] {}") == "string[0,2] {}");
  // Integers are codes of narrow floats, reals are values.
  CHECK(data("float16[4] {15360, 1.0, -inf, 65504.0}") == "15360,15360,64512,31743");
  CHECK(data("bfloat16[2] {1.0, 16256}") == "16256,16256");
  CHECK(data("float8e4m3fn[3] {1.0, 56, 1e9}") == "56,56,126");
  CHECK(data("float4e2m1[2] {6.0, -0.5}") == "151");
  CHECK(data("float6e2m3[2] {1.0, 63}") == "8,63");
  // Below 8 bits: one number for each element, or for each byte.
  CHECK(data("int4[3] {-1, 7, -8}") == "127,8");
  CHECK(data("int4[3] {127, 8}") == "127,8");
  CHECK(data("uint2[5] {3, 2, 1, 0, 3}") == "27,3");
  CHECK(data("int4[1] {-3}") == "13");
  CHECK(data("int4[1] {13}") == "13");
  CHECK(tensor("int4[3] {-1, 7, -8}") == "int4[3] {127, 8}");
}

TEST_CASE("raw data is written as numbers") {
  const auto with_raw = [](int dtype, int64_t n, std::string_view raw) {
    WireBuilder w;
    w.begin(7);
    w.bytes(2, "g");
    w.begin(5);
    w.varint(1, static_cast<uint64_t>(n));
    w.varint(2, static_cast<uint64_t>(dtype));
    w.bytes(8, "t");
    w.bytes(9, raw);
    w.end();
    w.end();
    auto t = wire_to_text(w.take());
    if (!t.ok()) return t.error().text();
    const size_t from = t->find("t = ") + 4;
    return t->substr(from, t->find('\n', from) - from);
  };
  using namespace std::string_view_literals;
  CHECK(with_raw(1, 1, "\0\0\x80\x3F"sv) == "{1}");
  CHECK(with_raw(1, 1, "\0\0\xC0\x7F"sv) == "{nan}");
  CHECK(with_raw(3, 2, "\xFF\x7F"sv) == "{-1, 127}");
  CHECK(with_raw(2, 1, "\xFF"sv) == "{255}");
  CHECK(with_raw(10, 1, "\x00\xBC"sv) == "{48128}");
  CHECK(with_raw(5, 1, "\xFE\xFF"sv) == "{-2}");
  CHECK(with_raw(22, 3, "\x21\x0F"sv) == "{33, 15}");
  CHECK(with_raw(27, 4, "\x41\x20\x0C"sv) == "{1, 1, 2, 3}");
  CHECK(with_raw(7, 0, ""sv) == "{}");
  CHECK(with_raw(1, 2, "\0\0\x80\x3F"sv) == "initializer 't': 4 bytes of data for float[2]");
  CHECK(with_raw(1, 1, ""sv) == "initializer 't': 0 values of data for float[1]");
  CHECK(with_raw(99, 1, "a"sv) ==
        "initializer 't': the text form cannot say element type 99; JSON can");
}

TEST_CASE("errors of text say where") {
  const auto fails = [](std::string_view text, std::string_view why) {
    INFO(text);
    auto r = text_to_wire(text);
    REQUIRE(!r.ok());
    CHECK(r.error().message == why);
  };
  fails("", "1:1: the name of a graph is expected, not the end");
  fails("<nope: 1>", "1:2: a model has no key 'nope'");
  fails("<ir_version: \"1\">", "1:14: a number is expected, not '\"'");
  fails("<ir_version: 1.5>", "1:14: '1.5' is no integer of 64 bits");
  fails("<ir_version: 99999999999999999999>",
        "1:14: '99999999999999999999' is no integer of 64 bits");
  fails("g () = > () {}", "1:6: '=>' is expected, not '='");
  fails("g (float[2 x) => () {}", "1:12: ']' is expected, not 'x'");
  fails("g (floot x) => () {}", "1:10: ')' is expected, not 'x'");
  fails("g () => () {\n  y Add (x)\n}", "2:5: '=' is expected, not 'Add'");
  fails("g () => () {\n  y = Add (x\n}", "3:1: ')' is expected, not '}'");
  fails("g () => () {", "1:13: '}' is expected, not the end");
  fails("g () => () { y = A <a = > () }", "1:25: a number is expected, not '>'");
  fails("g () => () { y = A <a = []> () }",
        "1:27: an empty list needs a type, as in 'axes: ints = []'");
  fails("g () => () { y = A <a: int = []> () }", "1:32: a list is no int");
  fails("g () => () { y = A <a: int = 1.5> () }",
        "1:33: a value of type int is expected, not float");
  fails("g () => () { y = A <a = [1, \"s\"]> () }",
        "1:32: a value of type int is expected, not string");
  fails("g () => () { y = A <a: real = 1> () }", "1:24: there is no type of attribute 'real'");
  fails("g () => () { y = A <a = 1e39> () }", "1:25: '1e39' is beyond the range of float");
  fails("g () => () { y = A <a = [@b]> () }", "1:27: a list cannot hold references");
  fails("g () => () <float[2] w = {1}> {}", "1:28: 1 values for float[2]");
  fails("g () => () <int8[1] w = {300}> {}", "1:26: '300' is no int8");
  fails("g () => () <int8[1] w = {1.0}> {}", "1:26: '1.0' is no int8");
  fails("g () => () <uint64[1] w = {-1}> {}", "1:28: '-1' is no uint64");
  fails("g () => () <int4[2] w = {9, 1}> {}", "1:30: values beyond the range of int4");
  fails("g () => () <float[N] w = {1}> {}", "1:26: a tensor's dims must be numbers");
  fails("g () => () <float[] w = {1}> {}", "1:25: a tensor's dims must be numbers");
  fails("g () => () <seq(float) w = {1}> {}", "1:28: only a tensor has elements here");
  fails("g () => () <float[4294967296,4294967296] w = {}> {}",
        "1:47: no tensor has the dims [4294967296,4294967296]");
  fails("g () => () <string w = {\"a}> {}", "1:25: a string that does not end");
  fails("g () => () <float w = {1e}> {}", "1:24: a number without digits in its exponent");
  fails("g () => () <float w = {\xC3\xA9}> {}", "1:24: a number is expected, not '\\xc3'");
}

TEST_CASE("nesting has a limit in text") {
  std::string types = "g (", graphs;
  for (int i = 0; i < 100000; ++i) types += "seq(";
  CHECK(text_to_wire(types).error().code == Code::kUnsupported);
  for (int i = 0; i < 100000; ++i) graphs += "g () => () { = A <a = ";
  CHECK(text_to_wire(graphs).error().code == Code::kUnsupported);
  std::string fine, end;
  for (int i = 0; i < 33; ++i) fine += "g () => () { = A () <a = ", end += "> }";
  const auto deep = text_to_wire(fine + "1" + end);
  REQUIRE(deep.ok());
  CHECK(wire_to_text(*deep).ok());
}

TEST_CASE("what text cannot say is refused, docs are dropped") {
  const auto written = [](auto f) {
    WireBuilder w;
    w.begin(7);
    w.bytes(2, "g");
    f(w);
    w.end();
    auto t = wire_to_text(w.take());
    return t.ok() ? *t : t.error().text();
  };
  CHECK(written([](WireBuilder& w) { w.bytes(14, ""); }) ==
        "the text form cannot say quantization_annotation; JSON can");
  CHECK(written([](WireBuilder& w) { w.bytes(15, ""); }) ==
        "the text form cannot say sparse_initializer; JSON can");
  CHECK(written([](WireBuilder& w) {
          w.begin(1);
          w.bytes(4, "Op");
          w.begin(5);
          w.bytes(1, "a");
          w.bytes(22, "");
          w.end();
          w.end();
        }) == "node '' (Op): attribute 'a': the text form cannot say sparse tensors; JSON can");
  CHECK(written([](WireBuilder& w) {
          w.bytes(10, "doc");
          w.bytes(999, "unknown");
          w.begin(1);
          w.bytes(4, "Op");
          w.bytes(6, "doc");
          w.end();
        }) == "g () => () {\n   = Op ()\n}\n");
  CHECK(wire_to_text("").error().code == Code::kUnsupported);
  CHECK(wire_to_text("\x0A").error().code == Code::kInvalid);
}
