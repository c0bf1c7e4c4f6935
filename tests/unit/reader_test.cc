// SPDX-License-Identifier: Apache-2.0
// Reading: a message field given in several parts.
#include <catch2/catch.hpp>

#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/onnx/wire.h"

using namespace onnxtool;

namespace {

const char kText[] = R"(<ir_version: 10, opset_import: ["" : 17]>
agraph (float[2, 3] x, bool c) => (float[2, 3] z)
<float[3] w = {1, 2, 3}>
{
   y = Add (x, w)
   z = If (c) <
      then_branch = a () => (float[2, 3] p) { k = Constant <value = float[1] {0.5}> ()
         p = Mul (y, k) },
      else_branch = b () => (float[2, 3] q) { q = Neg (y) }>
})";

// The same model, its graph in as many parts as it has fields.
std::string in_parts(const std::string& wire) {
  const auto* p = reinterpret_cast<const std::byte*>(wire.data());
  std::string bytes;
  const auto append = [&](const WireField& f) {
    bytes.append(reinterpret_cast<const char*>(f.start), static_cast<size_t>(f.end - f.start));
  };
  REQUIRE(for_each_field(p, wire.size(), p, [&](const WireField& f) -> Status {
            if (f.number != 7) {
              append(f);
              return ok();
            }
            return for_each_field(f.data, f.size, p, [&](const WireField& g) -> Status {
              Rope part;
              part.raw(std::string_view(reinterpret_cast<const char*>(g.start),
                                        static_cast<size_t>(g.end - g.start)));
              Rope whole;
              whole.message(7, std::move(part));
              bytes += whole.flat();
              return ok();
            });
          }).ok());
  return bytes;
}

}  // namespace

TEST_CASE("a message in parts is read as their sum, and lives as long as what views it") {
  const auto wire = text_to_wire(kText);
  REQUIRE(wire.ok());
  const std::string parts = in_parts(*wire);
  REQUIRE(parts.size() > wire->size());
  Result<Model> model = read_model(Bytes::copy(parts), "parts");
  REQUIRE(model.ok());
  const auto written = model_bytes(*model);
  REQUIRE(written.ok());
  CHECK(wire_to_text(*written).value() == wire_to_text(*wire).value());
}

TEST_CASE("a message in many parts takes linear time") {
  const auto wire = text_to_wire(kText);
  REQUIRE(wire.ok());
  std::string many = *wire;
  const std::string empty_doc("\x3a\x02\x52\x00", 4);  // graph { doc_string: "" }
  for (int i = 0; i < 2'000'000; ++i) many += empty_doc;
  CHECK(read_model(Bytes::copy(std::move(many)), "many").ok());
}

TEST_CASE("a producer's name does not make it another kind of file") {
  const auto wire = text_to_wire(kText);
  REQUIRE(wire.ok());
  // ir_version: 10, producer_name: "ORTModule", as the first bytes
  CHECK(read_model(Bytes::copy("\x08\x0a\x12\x09ORTModule" + wire->substr(2)), "named").ok());
  const auto other = read_model(Bytes::copy(std::string("\x18\0\0\0ORTM\0\0\0\0", 12)), "other");
  REQUIRE(!other.ok());
  CHECK(other.error().text().find("an ORT-format model") != std::string::npos);
}
