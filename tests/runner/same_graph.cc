// SPDX-License-Identifier: Apache-2.0
#include "tests/runner/same_graph.h"

#include <cmath>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "tests/runner/values.h"

namespace onnxtool::cases {
namespace {

class Matcher {
 public:
  Matcher(const Model& got, const Model& want) : got_(got), want_(want) {}
  std::string graphs(GraphId g, GraphId w);

 private:
  std::string values(ValueId g, ValueId w);
  std::string nodes(NodeId g, NodeId w);
  std::string attributes(const Attribute& g, const Attribute& w);
  std::string operands(std::span<const ValueId> g, std::span<const ValueId> w, const char* what);
  static size_t live(const Model& m, GraphId g) {
    size_t n = 0;
    for (NodeId id : m.graph(g).nodes) n += !m.node(id).removed() && !m.node(id).is("Constant");
    return n;
  }

  const Model& got_;
  const Model& want_;
  std::unordered_map<uint32_t, uint32_t> nodes_, inputs_;
};

std::vector<ValueId> inputs_of(const Node& n) {
  std::vector<ValueId> v;
  for (size_t i = 0; i < n.num_inputs(); ++i) v.push_back(n.input(i));
  return v;
}

std::string Matcher::operands(std::span<const ValueId> g, std::span<const ValueId> w,
                              const char* what) {
  if (g.size() != w.size()) return format("{} {}, expected {}", g.size(), what, w.size());
  for (size_t i = 0; i < g.size(); ++i)
    if (std::string why = values(g[i], w[i]); !why.empty()) return why;
  return "";
}

std::string Matcher::graphs(GraphId g, GraphId w) {
  const Graph& a = got_.graph(g);
  const Graph& b = want_.graph(w);
  if (a.inputs.size() != b.inputs.size())
    return format("{} inputs, expected {}", a.inputs.size(), b.inputs.size());
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    if (g == got_.main() && got_.value(a.inputs[i]).name != want_.value(b.inputs[i]).name)
      return format("input {}, expected {}", quoted(got_.value(a.inputs[i]).name),
                    quoted(want_.value(b.inputs[i]).name));
    inputs_[a.inputs[i].v] = b.inputs[i].v;
  }
  if (g == got_.main())
    for (size_t i = 0; i < std::min(a.outputs.size(), b.outputs.size()); ++i)
      if (got_.value(a.outputs[i]).name != want_.value(b.outputs[i]).name)
        return format("output {}, expected {}", quoted(got_.value(a.outputs[i]).name),
                      quoted(want_.value(b.outputs[i]).name));
  if (std::string why = operands(a.outputs, b.outputs, "outputs"); !why.empty()) return why;
  if (live(got_, g) != live(want_, w))
    return format("{} nodes, expected {}", live(got_, g), live(want_, w));
  return "";
}

std::string Matcher::values(ValueId g, ValueId w) {
  if (g.valid() != w.valid())
    return g.valid() ? got_.describe(g) + " where none is expected" : "an input is missing";
  if (!g.valid()) return "";
  const Tensor* a = got_.constant(g);
  const Tensor* b = want_.constant(w);
  if ((a == nullptr) != (b == nullptr))
    return format("{} is {}a constant, {} is not", a ? got_.describe(g) : want_.describe(w),
                  a ? "" : "expected as ", a ? want_.describe(w) : got_.describe(g));
  if (a != nullptr) {
    const std::string why =
        difference(Datum(a->to_aligned()), Datum(b->to_aligned()), Tolerance{1e-5, 1e-6});
    return why.empty() ? why : format("constant {}: {}", got_.describe(g), why);
  }
  const Value& x = got_.value(g);
  const Value& y = want_.value(w);
  if (x.kind == ValueKind::kInput || y.kind == ValueKind::kInput) {
    const auto it = inputs_.find(g.v);
    if (it != inputs_.end() && it->second == w.v) return "";
    return format("{} where {} is expected", got_.describe(g), want_.describe(w));
  }
  if (!x.producer.valid() || !y.producer.valid())
    return format("{} and {} have no producer", got_.describe(g), want_.describe(w));
  if (x.output_index != y.output_index)
    return format("output {} of {}, expected output {}", x.output_index, got_.describe(x.producer),
                  y.output_index);
  return nodes(x.producer, y.producer);
}

std::string Matcher::nodes(NodeId g, NodeId w) {
  if (const auto it = nodes_.find(g.v); it != nodes_.end())
    return it->second == w.v ? ""
                             : format("{} stands for {} too", got_.describe(g), want_.describe(w));
  nodes_[g.v] = w.v;
  const Node& a = got_.node(g);
  const Node& b = want_.node(w);
  if (a.op.view() != b.op.view() || a.domain.view() != b.domain.view())
    return format("{} where {} is expected", got_.describe(g), want_.describe(w));
  for (const Attribute& x : a.attrs) {
    const Attribute* y = b.attr(x.name);
    if (y == nullptr)
      return format("{}: attribute {} is not expected", got_.describe(g), quoted(x.name));
    if (std::string why = attributes(x, *y); !why.empty())
      return format("{}: attribute {}: {}", got_.describe(g), quoted(x.name), why);
  }
  for (const Attribute& y : b.attrs)
    if (a.attr(y.name) == nullptr)
      return format("{}: attribute {} is missing", got_.describe(g), quoted(y.name));
  const std::string why = operands(inputs_of(a), inputs_of(b), "inputs");
  return why.empty() ? why : format("{} <- {}", got_.describe(g), why);
}

std::string Matcher::attributes(const Attribute& g, const Attribute& w) {
  if (g.type != w.type || g.ref != w.ref) return "another type";
  const auto near = [](float a, float b) {
    return a == b || std::fabs(a - b) <= 1e-6F + 1e-5F * std::fabs(b);
  };
  switch (g.type) {
    case AttrType::kFloat: return near(g.f(), w.f()) ? "" : format("{}, expected {}", g.f(), w.f());
    case AttrType::kInt: return g.i() == w.i() ? "" : format("{}, expected {}", g.i(), w.i());
    case AttrType::kString:
      return g.s() == w.s() ? "" : format("{}, expected {}", quoted(g.s()), quoted(w.s()));
    case AttrType::kInts:
      return g.ints() == w.ints() ? "" : to_string(g.ints()) + ", expected " + to_string(w.ints());
    case AttrType::kStrings: return g.strings() == w.strings() ? "" : "other strings";
    case AttrType::kFloats:
      return std::equal(g.floats().begin(), g.floats().end(), w.floats().begin(), w.floats().end(),
                        near)
                 ? ""
                 : "other numbers";
    case AttrType::kTensor:
      return difference(Datum(g.t().to_aligned()), Datum(w.t().to_aligned()),
                        Tolerance{1e-5, 1e-6});
    case AttrType::kGraph: return graphs(g.g(), w.g());
    default: return "";
  }
}

}  // namespace

std::string graph_difference(const Model& got, const Model& want) {
  return Matcher(got, want).graphs(got.main(), want.main());
}

}  // namespace onnxtool::cases
