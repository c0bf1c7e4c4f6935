// SPDX-License-Identifier: Apache-2.0
// Version steps there and back: an old node is held at its newest form, and lowered again it is the
// node that was read.
#include "libonnxtool/ops/lift.h"

#include <catch2/catch.hpp>
#include <string>
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/ops/schema.h"

using namespace onnxtool;

namespace {

std::string model_text(int opset, const std::string& graph) {
  return "<ir_version: 8, opset_import: [\"\" : " + std::to_string(opset) + "]>\ng " + graph;
}

Model read(const std::string& text, bool lift) {
  LoadOptions options;
  options.lift = lift;
  auto m = read_text_model(Bytes::copy(text), "", options);
  INFO(text << "\n" << (m.ok() ? "" : m.error().text()));
  REQUIRE(m.ok());
  return std::move(m).value();
}

std::string text_of(const Model& m) {
  auto t = to_text(m);
  INFO((t.ok() ? "" : t.error().text()));
  REQUIRE(t.ok());
  return *t;
}

int newest(const Node& n) {
  const auto versions = schema_versions(n.domain.view(), n.op.view());
  int v = 0;
  for (const Schema* s : versions)
    if (!s->deprecated) v = s->since_version;
  return v;
}

struct Case {
  int opset;
  const char* graph;
};

}  // namespace

TEST_CASE("old forms are lifted to the newest and come back as they were") {
  const auto c = GENERATE(
      Case{4, "(float[2,3] x) => (float[3,2] y) { y = Reshape <shape = [3, 2]> (x) }"},
      Case{10, "(float[1,3] x) => (float[3] y) { y = Squeeze <axes = [0]> (x) }"},
      Case{12, "(float[1,3] x) => (float[3] y) { y = Squeeze (x) }"},
      Case{9, "(float[3] x) => (float[1,3] y) { y = Unsqueeze <axes = [0]> (x) }"},
      Case{11,
           "(float[4] x) => (float[1] a, float[3] b) { a, b = Split <axis = 0, split = [1, 3]> (x) "
           "}"},
      Case{9,
           "(float[4,4] x) => (float[2,4] y) { y = Slice <axes = [0], ends = [3], starts = [1]> "
           "(x) }"},
      Case{9, "(float[4] x) => (float[2] v, int64[2] i) { v, i = TopK <axis = 0, k = 2> (x) }"},
      Case{10, "(float[2] x) => (float[4] y) { y = Pad <mode = \"edge\", pads = [1, 1]> (x) }"},
      Case{2, "(float[2] x) => (float[4] y) { y = Pad <pads = [1, 1], value = 2.5> (x) }"},
      Case{1, "(float[2] x) => (float[4] y) { y = Pad <paddings = [1, 1]> (x) }"},
      Case{16,
           "(float[1,1,2,2] x, float[1,1,1,2] g) => (float[1,1,1,1] y) { y = GridSample <mode = "
           "\"bicubic\"> (x, g) }"},
      Case{12,
           "(float[2] x, int64[1] i, float[1] u) => (float[2] y) { y = ScatterElements <axis = 0> "
           "(x, i, u) }"});
  const std::string text = model_text(c.opset, c.graph);
  Model lifted = read(text, true);
  const Graph& g = lifted.graph(lifted.main());
  REQUIRE(g.nodes.size() == 1);
  const Node& n = lifted.node(g.nodes[0]);
  INFO(text);
  CHECK(n.version == newest(n));
  lifted.touch(g.nodes[0]);
  CHECK(text_of(lifted) == text_of(read(text, false)));
}

TEST_CASE("forms without a newest equal stay what they are") {
  const auto c =
      GENERATE(Case{13, "(float[4] x) => (float[2] a, float[2] b) { a, b = Split (x) }"},
               Case{5, "(float[2] x, float t, float a) => (float[4] y) { y = Tile (x, t, a) }"},
               Case{9, "(float[1,1,2,2] x, float[4] s) => (y) { y = Upsample (x, s) }"},
               Case{10, "(float[1,1,2,2] x, float[4] s) => (y) { y = Resize (x, s) }"},
               Case{12,
                    "(float[4] x, float[1] s, float[0] r) => (y) { y = Resize "
                    "<coordinate_transformation_mode = \"tf_half_pixel_for_nn\"> (x, r, s) }"},
               Case{18, "(float[4] x, int64[2] p) => (y) { y = Pad <mode = \"wrap\"> (x, p) }"});
  const std::string text = model_text(c.opset, c.graph);
  Model lifted = read(text, true);
  const NodeId n = lifted.graph(lifted.main()).nodes[0];
  INFO(text);
  CHECK(lifted.node(n).version <
        newest(lifted.node(n)) + (lifted.node(n).op.view() == "Upsample" ? 1 : 0));
  CHECK(lifted.node(n).version <= c.opset);
  lifted.touch(n);
  CHECK(text_of(lifted) == text_of(read(text, false)));
}

TEST_CASE("lowering rewrites what has an equal and names what has none") {
  struct Down {
    const char* graph;
    int64_t opset;
    const char* expected;  // a part of the text of the lowered model, or of the message
    bool fails;
  };
  const auto c = GENERATE(
      Down{"(float[1,3] x) => (y) <int64[1] a = {-2}> { y = Squeeze (x, a) }", 10,
           "axes: ints = [0]", false},
      Down{"(float[3] x) => (y) <int64[1] a = {-1}> { y = Unsqueeze (x, a) }", 10,
           "axes: ints = [1]", false},
      Down{"(float[4] x) => (a, b) { a, b = Split <num_outputs = 2> (x) }", 11,
           "split: ints = [2, 2]", false},
      Down{"(float[2,2] x) => (y) <int64[2] p = {0, 1}, int64[1] a = {1}> { y = Pad (x, p, , a) }",
           10, "pads: ints = [0, 0, 0, 1]", false},
      Down{"(float[4] x) => (y) <int64[1] b = {0}, int64[1] e = {2}> { y = Slice (x, b, e) }", 9,
           "starts: ints = [0]", false},
      Down{"(float[4] x, int64[1] k) => (v, i) { v, i = TopK (x, k) }", 9, "k is not constant",
           true},
      Down{"(float[4] x) => (y) <int64[1] b = {3}, int64[1] e = {0}, int64[1] a = {0}, int64[1] s "
           "= {-1}> { y = Slice (x, b, e, a, s) }",
           9, "step -1", true},
      Down{"(float[2] x) => (y) <int64[2] p = {1, 1}> { y = Pad <mode = \"wrap\"> (x, p) }", 18,
           "wrap", true},
      Down{"(float[2] x, int64[1] i, float[1] u) => (y) { y = ScatterElements <reduction = "
           "\"max\"> (x, i, u) }",
           16, "max", true},
      Down{"(float[1,1,2,2] x, float[1,4] r) => (y) <int64[1] i = {0}> { y = RoiAlign (x, r, i) }",
           10, "half_pixel", true});
  Model m = read(model_text(25, c.graph), true);
  const NodeId n = m.graph(m.main()).nodes[0];
  const Status done = lower_node(m, n, c.opset);
  INFO(c.graph);
  if (c.fails) {
    REQUIRE(!done.ok());
    CHECK(done.error().text().find(c.expected) != std::string::npos);
    return;
  }
  INFO((done.ok() ? "" : done.error().text()));
  REQUIRE(done.ok());
  m.opset_imports[0].version = c.opset;
  const std::string text = text_of(m);
  INFO(text);
  CHECK(text.find(c.expected) != std::string::npos);
}
