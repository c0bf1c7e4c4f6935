// SPDX-License-Identifier: Apache-2.0
// Gradient (ai.onnx.preview.training): derivatives of a value of the graph by reverse accumulation
// (Linnainmaa 1970). The nodes between the named inputs and the named output are evaluated again
// on the values given, then each passes its output's derivative on to its inputs.
#include <cmath>
#include <unordered_map>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

// Derivative of an elementwise operator by operand `k`, given operands a, b and the result y.
using Partial = double (*)(double a, double b, double y, size_t k);
struct Rule {
  const char* op;
  Partial partial;
};
constexpr Rule kRules[] = {
    {"Add", [](double, double, double, size_t) { return 1.0; }},
    {"Sub", [](double, double, double, size_t k) { return k == 0 ? 1.0 : -1.0; }},
    {"Mul", [](double a, double b, double, size_t k) { return k == 0 ? b : a; }},
    {"Div", [](double a, double b, double, size_t k) { return k == 0 ? 1 / b : -a / (b * b); }},
    {"Neg", [](double, double, double, size_t) { return -1.0; }},
    {"Identity", [](double, double, double, size_t) { return 1.0; }},
    {"Exp", [](double, double, double y, size_t) { return y; }},
    {"Log", [](double a, double, double, size_t) { return 1 / a; }},
    {"Sqrt", [](double, double, double y, size_t) { return 0.5 / y; }},
    {"Tanh", [](double, double, double y, size_t) { return 1 - y * y; }},
    {"Sigmoid", [](double, double, double y, size_t) { return y * (1 - y); }},
    {"Relu", [](double a, double, double, size_t) { return a > 0 ? 1.0 : 0.0; }},
};
const Rule* rule_of(const Node& node) {
  if (!node.domain.view().empty()) return nullptr;
  for (const Rule& r : kRules)
    if (node.op.view() == r.op) return &r;
  return nullptr;
}

std::vector<std::string> names_of(const Node& node) {
  std::vector<std::string> names;
  for (const char* attr : {"xs", "zs"})
    if (const auto* list = node.attr_strings(attr))
      names.insert(names.end(), list->begin(), list->end());
  return names;
}

ValueId find_value(const Model& m, GraphId g, std::string_view name) {
  for (uint32_t i = 0; i < m.num_values(); i++) {
    const Value& v = m.value(ValueId(i));
    if (v.kind != ValueKind::kNone && v.name == name && v.graph == g) return ValueId(i);
  }
  return ValueId();
}

Status infer(InferContext& ctx) {
  const auto* xs = ctx.node().attr_strings("xs");
  const size_t count = xs != nullptr ? xs->size() : 0;
  if (count == 0) return ctx.error("attribute 'xs' names no input");
  if (ctx.num_outputs() > count)
    return ctx.error(format("{} outputs, attribute 'xs' names {}", ctx.num_outputs(), count));
  if (ctx.num_inputs() != names_of(ctx.node()).size())
    return ctx.error(format("{} inputs, attributes 'xs' and 'zs' name {}", ctx.num_inputs(),
                            names_of(ctx.node()).size()));
  for (size_t i = 0; i < ctx.num_outputs(); i++)
    if (ctx.has_output(i)) TRY(ctx.set(i, ctx.input(i)));
  return ok();
}

class Tape {
 public:
  explicit Tape(EvalContext& ctx) : ctx_(ctx), m_(ctx.model()) {}

  Status forward(ValueId target) {
    const std::vector<std::string> names = names_of(ctx_.node());
    const auto* xs = ctx_.node().attr_strings("xs");
    if (xs == nullptr || names.size() != ctx_.num_inputs())
      return invalid("attributes 'xs' and 'zs' do not name the inputs");
    for (size_t i = 0; i < names.size(); i++) {
      const ValueId v = find_value(m_, ctx_.node().graph, names[i]);
      if (!v.valid()) return invalid(format("no value is named {}", quoted(names[i])));
      if (!ctx_.has(i)) return invalid(format("input {} is left out", i));
      value_[v.v] = ctx_.in(i);
      if (i < xs->size()) varies_[v.v] = true;
    }
    TRY_ASSIGN(const auto order, m_.topological_order(ctx_.node().graph));
    for (NodeId n : order) {
      if (value_.count(target.v) != 0) return ok();
      TRY(run(m_.node(n)));
    }
    return ok();
  }

  Result<std::vector<double>> backward(ValueId target, ValueId x) {
    grad_.clear();
    const auto y = value_.find(target.v);
    if (y == value_.end() || !varies_[target.v])
      return unsupported("attribute 'y' does not depend on 'xs' through nodes that can be run");
    grad_[target.v].assign(static_cast<size_t>(y->second.size()), 1.0);
    for (size_t i = ran_.size(); i-- > 0;) TRY(pass_on(*ran_[i]));
    std::vector<double>& g = grad_[x.v];
    g.resize(static_cast<size_t>(value_[x.v].size()));
    return std::move(g);
  }

 private:
  // Runs a node that depends on what varies; the others stay out unless they are constants.
  Status run(const Node& node) {
    if (node.num_outputs() != 1 || value_.count(node.output(0).v) != 0) return ok();
    bool varies = false;
    std::vector<Datum> inputs;
    for (size_t i = 0; i < node.num_inputs(); i++) {
      const ValueId v = node.input(i);
      const auto known = v.valid() ? value_.find(v.v) : value_.end();
      const Tensor* constant = v.valid() ? m_.constant(v) : nullptr;
      if (known == value_.end() && constant == nullptr) return ok();
      varies |= known != value_.end() && varies_[v.v];
      inputs.emplace_back(known != value_.end() ? known->second : constant->to_aligned());
    }
    const OpDef* op = find_op(node);
    if (!varies) return ok();
    if (rule_of(node) == nullptr || op == nullptr || op->eval == nullptr)
      return unsupported(format("the derivative of {}", node.op.view()));
    std::vector<Datum> outputs(1);
    EvalContext inner(m_, node, inputs, outputs, ctx_.host());
    TRY(op->eval(inner));
    value_[node.output(0).v] = outputs[0].tensor;
    varies_[node.output(0).v] = true;
    ran_.push_back(&node);
    return ok();
  }

  Tensor tensor_of(ValueId v) {
    const auto known = value_.find(v.v);
    return known != value_.end() ? known->second : m_.constant(v)->to_aligned();
  }

  Status pass_on(const Node& node) {
    const auto g = grad_.find(node.output(0).v);
    if (g == grad_.end()) return ok();
    const std::vector<double> dy = g->second;
    const Rule* rule = rule_of(node);
    const Tensor y = value_[node.output(0).v], a = tensor_of(node.input(0));
    const Tensor b = node.num_inputs() > 1 ? tensor_of(node.input(1)) : a;
    for (size_t k = 0; k < node.num_inputs(); k++) {
      const ValueId v = node.input(k);
      if (!varies_[v.v]) continue;
      std::vector<double>& to = grad_[v.v];
      to.resize(static_cast<size_t>((k == 0 ? a : b).size()));
      BroadcastWalk walk(y.dims(), {a.dims(), b.dims()});
      for (int64_t i = 0; i < y.size(); i++, walk.next()) {
        const double part =
            rule->partial(a.f64_at(walk.offset(0)), b.f64_at(walk.offset(1)), y.f64_at(i), k);
        to[static_cast<size_t>(walk.offset(k))] += dy[static_cast<size_t>(i)] * part;
      }
    }
    return ok();
  }

  EvalContext& ctx_;
  const Model& m_;
  std::unordered_map<uint32_t, Tensor> value_;
  std::unordered_map<uint32_t, bool> varies_;
  std::unordered_map<uint32_t, std::vector<double>> grad_;
  std::vector<const Node*> ran_;
};

Status eval(EvalContext& ctx) {
  const std::string_view y = ctx.node().attr_str("y", "");
  const ValueId target = find_value(ctx.model(), ctx.node().graph, y);
  if (!target.valid()) return ctx.error(format("no value is named {}", quoted(y)));
  const auto* xs = ctx.node().attr_strings("xs");
  if (xs == nullptr) return ctx.error("attribute 'xs' is missing");
  Tape tape(ctx);
  TRY(tape.forward(target));
  for (size_t i = 0; i < xs->size(); i++) {
    if (!ctx.wants(i)) continue;
    const ValueId x = find_value(ctx.model(), ctx.node().graph, (*xs)[i]);
    TRY_ASSIGN(const auto g, tape.backward(target, x));
    TRY(ctx.set_f64(i, ctx.in(i).dtype(), ctx.in(i).dims(), g));
  }
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(gradient, {.name = "Gradient",
                        .domain = "ai.onnx.preview.training",
                        .infer = infer,
                        .eval = eval})
