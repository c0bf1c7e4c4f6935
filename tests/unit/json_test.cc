// SPDX-License-Identifier: Apache-2.0
// JSON form: values both ways, what is dropped, limits and errors with their places.
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/wire_build.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace onnxtool;

namespace {

std::string json(std::string_view wire) {
  auto r = wire_to_json(wire);
  return r.ok() ? *r : "error: " + r.error().text();
}
// The wire of a JSON text, or the error.
std::string wire(std::string_view text) {
  auto r = json_to_wire(text);
  return r.ok() ? *r : r.error().text();
}
template <typename F>
std::string built(F f) {
  WireBuilder w;
  f(w);
  return w.take();
}
// A model whose graph holds one initializer with these fields.
template <typename F>
std::string with_tensor(F f) {
  return built([&](WireBuilder& w) {
    w.begin(7);
    w.begin(5);
    f(w);
    w.end();
    w.end();
  });
}
std::string tensor_json(std::string_view fields) {
  return "{\"graph\": {\"initializer\": [{" + std::string(fields) + "}]}}";
}

}  // namespace

TEST_CASE("a model as JSON text") {
  const std::string model = built([](WireBuilder& w) {
    w.varint(1, 8);
    w.bytes(2, "a\"\n\x01\xC3\xA9\xF0\x9F\x98\x80");
    w.begin(7);
    w.begin(1);
    w.bytes(1, "x");
    w.bytes(1, "");
    w.begin(5);
    w.bytes(1, "alpha");
    w.f32(2, 0.1F);
    w.varint(20, 1);
    w.end();
    w.end();
    w.end();
    w.begin(8);
    w.bytes(1, "");
    w.varint(2, 21);
    w.end();
  });
  const std::string text = R"({
  "irVersion": "8",
  "producerName": "a\"\n\u0001\u00e9\ud83d\ude00",
  "graph": {
    "node": [
      {
        "input": [
          "x",
          ""
        ],
        "attribute": [
          {
            "name": "alpha",
            "f": 0.1,
            "type": "FLOAT"
          }
        ]
      }
    ]
  },
  "opsetImport": [
    {
      "domain": "",
      "version": "21"
    }
  ]
})";
  CHECK(json(model) == text);
  CHECK(wire(text) == model);
}

TEST_CASE("numbers of tensors") {
  const std::string data = with_tensor([](WireBuilder& w) {
    w.varint(1, 2);
    w.varint(1, static_cast<uint64_t>(-1));
    w.varint(2, 1);
    w.begin(4);
    for (float v :
         {1.0F, -0.0F, 1e-5F, 3.4028235e38F, std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
      w.packed_fixed(&v, 4);
    w.end();
    w.begin(5);
    w.packed_varint(static_cast<uint64_t>(int64_t{-3}));
    w.end();
    w.begin(7);
    w.packed_varint(static_cast<uint64_t>(std::numeric_limits<int64_t>::min()));
    w.end();
    w.bytes(9, std::string_view("\x00\xFF\x7F\x80", 4));
    w.begin(10);
    const double d = 0.1;
    w.packed_fixed(&d, 8);
    w.end();
    w.begin(11);
    w.packed_varint(UINT64_MAX);
    w.end();
  });
  const std::string text = json(data);
  const auto has = [&](const char* part) {
    INFO(text << " has " << part);
    CHECK(text.find(part) != std::string::npos);
  };
  has("\"2\",\n          \"-1\"");
  has("\"dataType\": 1,");
  has("1.0,\n          -0.0,\n          1e-05,\n          3.4028235e+38,\n          \"Infinity\",\n"
      "          \"-Infinity\",\n          \"NaN\"");
  has("-3\n");
  has("\"-9223372036854775808\"");
  has("\"rawData\": \"AP9/gA==\"");
  has("\"doubleData\": [\n          0.1\n");
  has("\"18446744073709551615\"");
  CHECK(wire(text) == data);
}

TEST_CASE("ways to write the same") {
  const std::string one = with_tensor([](WireBuilder& w) {
    w.varint(2, 1);
    w.varint(14, 1);
  });
  CHECK(wire(tensor_json(R"("dataType": 1, "dataLocation": "EXTERNAL")")) == one);
  CHECK(wire(tensor_json(R"("data_type": "1", "data_location": 1)")) == one);
  CHECK(wire(tensor_json(R"("dataType": 1.0, "dataLocation": "1", "name": null, "dims": null)")) ==
        one);
  CHECK(wire(tensor_json(R"("data\u0054ype": 10e-1, "dataLocation": "EXTERNAL", "dims": [])")) ==
        one);
  CHECK(wire("\xEF\xBB\xBF\r\n" + tensor_json(R"("dataType": 1, "dataLocation": 1)") + "\n") ==
        one);

  const std::string bytes =
      with_tensor([](WireBuilder& w) { w.bytes(9, std::string_view("\xFB\xEF\xBE\xFF", 4)); });
  for (const char* s : {"++++/w==", "----_w==", "----_w", "++++/w"})
    CHECK(wire(tensor_json("\"rawData\": \"" + std::string(s) + "\"")) == bytes);
  CHECK(wire(tensor_json(R"("rawData": "")")) ==
        with_tensor([](WireBuilder& w) { w.bytes(9, ""); }));

  const std::string floats = with_tensor([](WireBuilder& w) {
    w.begin(4);
    for (float v : {1.5F, 0.0F, -std::numeric_limits<float>::infinity()}) w.packed_fixed(&v, 4);
    w.end();
  });
  CHECK(wire(tensor_json(R"("floatData": ["1.5", 1e-400, "-Infinity"])")) == floats);
}

TEST_CASE("what JSON cannot say is dropped, what protobuf merges is merged") {
  const std::string unknown = built([](WireBuilder& w) {
    w.varint(1, 8);
    w.bytes(999, "unknown");
    w.bytes(1, "another wire type");
    w.varint(1, 9);
  });
  CHECK(json(unknown) == "{\n  \"irVersion\": \"9\"\n}");
  const std::string merged = built([](WireBuilder& w) {
    w.begin(7);
    w.bytes(2, "a");
    w.end();
    w.begin(7);
    w.bytes(10, "b");
    w.end();
  });
  CHECK(json(merged) ==
        "{\n  \"graph\": {\n    \"name\": \"a\",\n    \"docString\": \"b\"\n  }\n}");
  const std::string oneof = built([](WireBuilder& w) {
    w.begin(7);
    w.begin(11);
    w.begin(2);
    w.begin(4);
    w.end();
    w.begin(1);
    w.varint(1, 7);
    w.end();
    w.end();
    w.end();
    w.end();
  });
  CHECK(json(oneof).find("sequenceType") == std::string::npos);
  CHECK(json(oneof).find("\"elemType\": 7") != std::string::npos);
}

TEST_CASE("errors of JSON say where") {
  const auto fails = [](std::string_view text, std::string_view why) {
    INFO(text);
    auto r = json_to_wire(text);
    REQUIRE(!r.ok());
    CHECK(r.error().message == why);
  };
  fails("", "1:1: a model is an object, not the end");
  fails("[]", "1:1: a model is an object, not '['");
  fails("{} x", "1:4: no JSON value begins with 'x'");
  fails("{} {", "1:4: the model ends before '{'");
  fails("{\"irVersion\": 1,}", "1:17: a comma with nothing after it");
  fails("{\"irVersion\" 1}", "1:14: a colon is expected, not the number 1");
  fails("{\n  \"nope\": 1}", "2:3: ModelProto has no field 'nope'");
  fails("{\"irVersion\": 1, \"ir_version\": 2}", "1:18: 'ir_version' is given twice");
  fails("{\"irVersion\": 1.5}",
        "1:15: 'ir_version' wants an integer of 64 bits, not the number 1.5");
  fails("{\"irVersion\": \"9223372036854775808\"}",
        "1:15: 'ir_version' wants an integer of 64 bits, not the string '9223372036854775808'");
  fails("{\"irVersion\": true}", "1:15: 'ir_version' wants an integer, not 'true'");
  fails("{\"producerName\": 1}", "1:18: 'producer_name' wants a string, not the number 1");
  fails("{\"graph\": []}", "1:11: 'graph' wants an object, not '['");
  fails("{\"opsetImport\": {}}", "1:17: 'opset_import' wants an array, not '{'");
  fails("{\"opsetImport\": [null]}", "1:18: 'opset_import' wants an object, not 'null'");
  fails("{\"producerName\": \"a\nb\"}", "1:20: a control character in a string");
  fails("{\"producerName\": \"a\\x\"}", "1:21: unknown escape sequence in a string");
  fails("{\"producerName\": \"\\ud800\"}", "1:20: half of a surrogate pair in a string");
  fails("{\"producerName\": \"\xC3\"}", "1:18: a string that is not UTF-8");
  fails("{\"producerName\": \"a", "1:18: a string that does not end");
  fails("{\"irVersion\": 01}", "1:15: a number with a leading zero");
  fails(tensor_json("\"rawData\": \"A\""),
        "1:40: 'raw_data' wants bytes in base64, not the string 'A'");
  fails(tensor_json("\"rawData\": \"A===\""),
        "1:40: 'raw_data' wants bytes in base64, not the string 'A==='");
  fails(tensor_json("\"rawData\": \"AA=A\""),
        "1:40: 'raw_data' wants bytes in base64, not the string 'AA=A'");
  fails(tensor_json("\"dataLocation\": \"FAR\""),
        "1:45: 'data_location' wants one of its names, not the string 'FAR'");
  fails(tensor_json("\"int32Data\": [2147483648]"),
        "1:43: 'int32_data' wants an integer of 32 bits, not the number 2147483648");
  fails(tensor_json("\"floatData\": [1e39]"),
        "1:43: 'float_data' wants a number within the range of float, not the number 1e39");
  fails(tensor_json("\"floatData\": [\"inf\"]"),
        "1:43: 'float_data' wants a number, not the string 'inf'");
  fails(R"({"graph": {"input": [{"type": {"tensorType": {}, "denotation": "", "mapType": {}}}]}})",
        "1:79: TypeProto takes one of its values, 'map_type' is another");
}

TEST_CASE("nesting has a limit both ways") {
  const auto nested = [](int levels) {
    std::string text = "{\"graph\": {\"input\": [{\"type\": ";
    for (int i = 0; i < levels; ++i) text += "{\"sequenceType\": {\"elemType\": ";
    text += "{}";
    for (int i = 0; i < levels; ++i) text += "}}";
    return text + "}]}}";
  };
  auto deepest = json_to_wire(nested(48));
  REQUIRE(deepest.ok());
  CHECK(wire_to_json(*deepest).ok());
  CHECK(json_to_wire(nested(49)).error().code == Code::kUnsupported);
  CHECK(json_to_wire(nested(100000)).error().code == Code::kUnsupported);
  std::string wire_bytes;
  for (int i = 0; i < 60; ++i)
    wire_bytes = built([&](WireBuilder& w) {
      w.begin(4);
      w.bytes(1, wire_bytes);
      w.end();
    });
  const std::string model = built([&](WireBuilder& w) {
    w.begin(7);
    w.begin(11);
    w.bytes(2, wire_bytes);
    w.end();
    w.end();
  });
  CHECK(wire_to_json(model).error().code == Code::kUnsupported);
}

TEST_CASE("a string that is not UTF-8 cannot be said in JSON") {
  const auto r = wire_to_json(built([](WireBuilder& w) { w.bytes(2, "\xFF"); }));
  REQUIRE(!r.ok());
  CHECK(r.error().code == Code::kInvalid);
  CHECK(r.error().message == "producer_name '\\xff' is not UTF-8, JSON cannot say it");
}
