// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/interpreter.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/bind.h"
#include "libonnxtool/infer/operands.h"

namespace onnxtool {
namespace {

constexpr size_t kKeepAligned = 1 << 20;  // bytes of an initializer whose aligned copy is kept

// What runs in a graph, in order, and which values end after which node.
struct GraphPlan {
  struct Step {
    NodeId node;
    const OpDef* def = nullptr;
    const Schema* schema = nullptr;
    const Function* function = nullptr;
    std::vector<ValueId> release;
  };
  std::vector<Step> steps;
};

struct Slot {
  Datum datum;
  int64_t bytes = 0;
};

// Values of the main graph or of one call, bodies included.
struct Frame {
  const Function* function = nullptr;
  const std::vector<Attribute>* attrs = nullptr;
  const OuterValues* outer = nullptr;  // run_node: what is not in `values`
  std::unordered_map<uint32_t, Slot> values;
};

const void* bytes_owner(const Datum& d) { return d.is_tensor() ? d.tensor.raw() : nullptr; }

}  // namespace

struct Interpreter::Impl {
  const Model& model;
  InterpreterOptions options;
  std::unordered_map<uint32_t, GraphPlan> plans;
  std::unordered_map<uint32_t, Datum> constants;
  int64_t live = 0, pending = 0, steps = 0;
  uint64_t draws = 0;
  int depth = 0;

  struct Host;

  Impl(const Model& m, InterpreterOptions o) : model(m), options(std::move(o)) {}

  Status reserve(int64_t bytes) {
    auto total = checked_add(live, pending);
    if (total) total = checked_add(*total, bytes);
    if (!total || (options.memory_limit > 0 && *total > options.memory_limit))
      return unsupported(format("a result of {} exceeds the memory limit of {}",
                                human_bytes(static_cast<uint64_t>(bytes)),
                                human_bytes(static_cast<uint64_t>(options.memory_limit))));
    pending += bytes;
    return ok();
  }

  Status step() {
    if (options.max_steps > 0 && ++steps > options.max_steps)
      return unsupported(format("evaluation takes more than {} steps", options.max_steps));
    return ok();
  }

  Result<const GraphPlan*> plan(GraphId g);
  GraphPlan::Step make_step(NodeId id, const Node& node) const;
  Result<Datum> value_of(Frame& f, ValueId v);
  Result<Datum> constant_of(ValueId v);
  void store(Frame& f, ValueId v, Datum d, std::span<const Datum> inputs);
  void release(Frame& f, ValueId v);

  Status execute(Frame& f, GraphId g);
  Result<std::vector<Datum>> body(Frame& f, GraphId g, std::vector<Datum> inputs);
  Result<std::vector<Datum>> apply(Frame& f, const GraphPlan::Step& s, const Node& node,
                                   std::span<const Datum> inputs);
  Result<std::vector<Datum>> call(const Function& fn, const Node& node,
                                  std::span<const Datum> inputs);
  Error at(Error e, const Frame& f, NodeId n, std::span<const Datum> inputs) const;
};

struct Interpreter::Impl::Host final : EvalHost {
  Impl& in;
  Frame& frame;
  const int64_t before;
  Host(Impl& i, Frame& f) : in(i), frame(f), before(i.pending) {}
  ~Host() override { in.pending = before; }
  Result<std::vector<Datum>> run_graph(GraphId g, std::vector<Datum> inputs) override {
    return in.body(frame, g, std::move(inputs));
  }
  Status reserve(int64_t bytes) override { return in.reserve(bytes); }
  Status step() override { return in.step(); }
  uint64_t random_seed() override { return in.options.seed + 0x9E3779B97F4A7C15ull * ++in.draws; }
};

namespace {

Error no_evaluation(const Node& node) {
  const std::string op =
      node.domain.view().empty() ? node.op.str() : node.domain.str() + "." + node.op.str();
  return unsupported(format("operator {} has no evaluation", quoted(op)));
}

}  // namespace

GraphPlan::Step Interpreter::Impl::make_step(NodeId id, const Node& node) const {
  GraphPlan::Step s;
  s.node = id;
  s.function =
      model.functions.empty() ? nullptr : model.find_function(node.domain, node.op, node.overload);
  if (s.function) return s;
  s.def = find_op(node);
  const auto schema = [&](int64_t version) {
    return find_schema(node.domain.view(), node.op.view(), version);
  };
  s.schema = node.version > 0 ? schema(node.version) : nullptr;
  // Evaluation relies on operands that the schema has checked.
  if (!s.schema && schema(INT64_MAX)) s.def = nullptr;
  return s;
}

Result<const GraphPlan*> Interpreter::Impl::plan(GraphId g) {
  if (auto it = plans.find(g.v); it != plans.end()) return &it->second;
  const Graph& graph = model.graph(g);
  std::vector<NodeId> order;
  std::unordered_set<uint32_t> done;
  std::unordered_map<uint32_t, std::vector<ValueId>> captured;
  bool sorted = true;
  for (NodeId n : graph.nodes) {
    const Node& node = model.node(n);
    if (node.removed()) continue;
    order.push_back(n);
    auto ready = [&](ValueId v) {
      if (!v.valid()) return true;
      const Value& value = model.value(v);
      return value.kind != ValueKind::kOutput || value.graph != g ||
             done.count(value.producer.v) != 0;
    };
    for (size_t i = 0; i < node.num_inputs(); ++i) sorted = sorted && ready(node.input(i));
    if (node.has_subgraphs()) {
      std::vector<ValueId>& list = captured[n.v] = model.captures(n);
      for (ValueId v : list) sorted = sorted && ready(v);
    }
    done.insert(n.v);
  }
  if (!sorted) {
    TRY_ASSIGN(order, model.topological_order(g));
  }
  // Backwards: what the outputs need, and after which node each value of this graph ends.
  std::unordered_set<uint32_t> needed;
  for (ValueId v : graph.outputs)
    if (v.valid()) needed.insert(v.v);
  std::vector<GraphPlan::Step> steps;
  for (auto n = order.rbegin(); n != order.rend(); ++n) {
    const Node& node = model.node(*n);
    bool wanted = false;
    for (ValueId v : node.outputs()) wanted = wanted || (v.valid() && needed.count(v.v));
    if (!wanted) continue;
    GraphPlan::Step s = make_step(*n, node);
    auto use = [&](ValueId v) {
      if (v.valid() && needed.insert(v.v).second && model.value(v).graph == g &&
          model.value(v).kind != ValueKind::kInitializer)
        s.release.push_back(v);
    };
    for (size_t i = 0; i < node.num_inputs(); ++i) use(node.input(i));
    for (ValueId v : captured[n->v]) use(v);
    for (ValueId v : node.outputs())
      if (v.valid() && !needed.count(v.v)) s.release.push_back(v);
    steps.push_back(std::move(s));
  }
  std::reverse(steps.begin(), steps.end());
  GraphPlan& made = plans[g.v];
  made.steps = std::move(steps);
  return &made;
}

Result<Datum> Interpreter::Impl::constant_of(ValueId v) {
  if (auto it = constants.find(v.v); it != constants.end()) return it->second;
  const Constant& c = *model.value(v).constant;
  Tensor t;
  if (c.sparse) {
    TRY_ASSIGN(t, densify(*c.sparse, [&](int64_t bytes) { return reserve(bytes); }));
  } else {
    t = c.dense.tensor.to_aligned();
  }
  if (!t.defined())
    return invalid(format("initializer {} has no data", quoted(model.value(v).name)));
  if (t.bytes() <= kKeepAligned || c.sparse) constants.emplace(v.v, t);
  return Datum(std::move(t));
}

Result<Datum> Interpreter::Impl::value_of(Frame& f, ValueId v) {
  if (!v.valid()) return Datum();
  const Value& value = model.value(v);
  if (value.kind == ValueKind::kInitializer && value.constant) return constant_of(v);
  if (auto it = f.values.find(v.v); it != f.values.end()) return it->second.datum;
  if (f.outer && *f.outer)
    if (Datum d = (*f.outer)(v); d.has_value()) return d;
  if (f.function && value.kind == ValueKind::kInput) return Datum();  // argument not given
  return invalid(format("value {} is used before it is computed", quoted(value.name)));
}

void Interpreter::Impl::store(Frame& f, ValueId v, Datum d, std::span<const Datum> inputs) {
  release(f, v);
  int64_t bytes = datum_bytes(d);
  for (const Datum& i : inputs)
    if (bytes_owner(d) && bytes_owner(i) == bytes_owner(d)) bytes = 0;  // a view
  live += bytes;
  f.values[v.v] = {std::move(d), bytes};
}

void Interpreter::Impl::release(Frame& f, ValueId v) {
  auto it = f.values.find(v.v);
  if (it == f.values.end()) return;
  live -= it->second.bytes;
  f.values.erase(it);
}

Error Interpreter::Impl::at(Error e, const Frame& f, NodeId n,
                            std::span<const Datum> inputs) const {
  std::string where = model.describe(n);
  for (size_t i = 0; i < std::min<size_t>(inputs.size(), 4); ++i)
    where += (i ? ", " : " of ") + (inputs[i].has_value() ? type_of(inputs[i]).text() : "nothing");
  if (f.function) where += format(" in function {}", quoted(f.function->name));
  e.context.push_back(std::move(where));
  return e;
}

Result<std::vector<Datum>> Interpreter::Impl::apply(Frame& f, const GraphPlan::Step& s,
                                                    const Node& node,
                                                    std::span<const Datum> inputs) {
  TRY(step());
  if (s.function) return call(*s.function, node, inputs);
  if (!s.def || !s.def->eval) return no_evaluation(node);
  if (s.schema) {
    std::vector<Type> types(inputs.size());
    std::vector<OperandType> operands(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].is_tensor())
        types[i] = Type::tensor(inputs[i].tensor.dtype());
      else
        types[i] = type_of(inputs[i]);
      operands[i] = {inputs[i].has_value(), &types[i]};
    }
    const auto faults = check_operands(*s.schema, operands, {});
    if (!faults.empty()) return invalid(faults.front().message);
  }
  std::vector<Datum> outputs(node.num_outputs());
  Host host(*this, f);
  EvalContext ctx(model, node, inputs, outputs, host);
  TRY(s.def->eval(ctx));
  return outputs;
}

Result<std::vector<Datum>> Interpreter::Impl::call(const Function& fn, const Node& node,
                                                   std::span<const Datum> inputs) {
  if (depth >= options.max_depth)
    return unsupported(format("bodies and calls are nested deeper than {}", options.max_depth));
  const Graph& graph = model.graph(fn.body);
  if (inputs.size() > graph.inputs.size() || node.num_outputs() > graph.outputs.size())
    return invalid(format("function {} has {} inputs and {} outputs", quoted(fn.name),
                          graph.inputs.size(), graph.outputs.size()));
  Frame inner;
  inner.function = &fn;
  inner.attrs = &node.attrs;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].has_value()) inner.values[graph.inputs[i].v] = {inputs[i], 0};
  ++depth;
  Status done = execute(inner, fn.body);
  --depth;
  std::vector<Datum> outputs;
  for (size_t i = 0; done.ok() && i < node.num_outputs(); ++i) {
    auto v = value_of(inner, graph.outputs[i]);
    if (!v.ok())
      done = std::move(v).error();
    else
      outputs.push_back(std::move(*v));
  }
  for (auto& [id, slot] : inner.values) live -= slot.bytes;
  TRY(std::move(done));
  return outputs;
}

Result<std::vector<Datum>> Interpreter::Impl::body(Frame& f, GraphId g, std::vector<Datum> inputs) {
  if (!g.valid() || g.v >= model.num_graphs()) return invalid("attribute holds no graph");
  const Graph& graph = model.graph(g);
  const Function* home =
      graph.function < 0 ? nullptr : &model.functions[static_cast<size_t>(graph.function)];
  if (home != f.function && !f.outer)
    return unsupported("a graph handed to a function as an attribute cannot be run");
  if (depth >= options.max_depth)
    return unsupported(format("bodies and calls are nested deeper than {}", options.max_depth));
  if (inputs.size() > graph.inputs.size())
    return invalid(format("body {} has {} inputs, {} are given", quoted(graph.name),
                          graph.inputs.size(), inputs.size()));
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ValueId v = graph.inputs[i];
    release(f, v);
    if (i < inputs.size() && inputs[i].has_value()) {
      f.values[v.v] = {std::move(inputs[i]), 0};
    } else if (model.value(v).constant) {
      TRY_ASSIGN(Datum d, constant_of(v));
      f.values[v.v] = {std::move(d), 0};
    }
  }
  ++depth;
  Status done = execute(f, g);
  --depth;
  TRY(std::move(done));
  std::vector<Datum> outputs;
  for (ValueId v : graph.outputs) {
    TRY_ASSIGN(Datum d, value_of(f, v));
    outputs.push_back(std::move(d));
  }
  for (ValueId v : graph.inputs) release(f, v);
  for (ValueId v : graph.outputs)
    if (v.valid() && model.value(v).graph == g) release(f, v);
  return outputs;
}

Status Interpreter::Impl::execute(Frame& f, GraphId g) {
  TRY_ASSIGN(const GraphPlan* p, plan(g));
  for (const GraphPlan::Step& s : p->steps) {
    const Node& node = model.node(s.node);
    std::vector<Datum> inputs;
    inputs.reserve(node.num_inputs());
    for (size_t i = 0; i < node.num_inputs(); ++i) {
      auto d = value_of(f, node.input(i));
      if (!d.ok()) return at(std::move(d).error(), f, s.node, inputs);
      inputs.push_back(std::move(*d));
    }
    auto outputs = f.function && refers_to_call(node)
                       ? apply(f, s, bind_attributes(node, *f.function, *f.attrs), inputs)
                       : apply(f, s, node, inputs);
    if (!outputs.ok()) return at(std::move(outputs).error(), f, s.node, inputs);
    if (options.observe) {
      NodeRun run{s.node, f.function, inputs, *outputs};
      if (Status seen = options.observe(run); !seen.ok())
        return at(std::move(seen).error(), f, s.node, inputs);
    }
    for (size_t i = 0; i < outputs->size(); ++i)
      if (node.has_output(i)) store(f, node.output(i), std::move((*outputs)[i]), inputs);
    for (ValueId v : s.release) release(f, v);
  }
  return ok();
}

Interpreter::Interpreter(const Model& model, InterpreterOptions options)
    : impl_(std::make_unique<Impl>(model, std::move(options))) {}
Interpreter::Interpreter(Interpreter&&) noexcept = default;
Interpreter& Interpreter::operator=(Interpreter&&) noexcept = default;
Interpreter::~Interpreter() = default;

Result<std::vector<Datum>> Interpreter::run(std::span<const Datum> inputs) {
  Impl& in = *impl_;
  in.live = in.pending = in.steps = 0;
  in.draws = 0;
  const Graph& graph = in.model.graph(in.model.main());
  if (inputs.size() > graph.inputs.size())
    return invalid(
        format("the model has {} inputs, {} are given", graph.inputs.size(), inputs.size()));
  Frame f;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ValueId v = graph.inputs[i];
    const Value& value = in.model.value(v);
    Datum d;
    if (i < inputs.size() && inputs[i].has_value()) {
      d = inputs[i];
      if (d.is_tensor()) d.tensor = d.tensor.to_aligned();
    } else if (value.constant) {
      TRY_ASSIGN(d, in.constant_of(v));
    } else {
      return invalid(format("input {} is not given", quoted(value.name)));
    }
    if (!merge(type_of(d), value.declared))
      return invalid(format("input {} is declared {}, given {}", quoted(value.name),
                            value.declared.text(), type_of(d).text()));
    f.values[v.v] = {std::move(d), 0};
  }
  TRY(in.execute(f, in.model.main()));
  std::vector<Datum> outputs;
  for (ValueId v : graph.outputs) {
    TRY_ASSIGN(Datum d, in.value_of(f, v));
    outputs.push_back(std::move(d));
  }
  return outputs;
}

Result<std::vector<Datum>> Interpreter::run_node(const Node& node, std::span<const Datum> inputs,
                                                 const OuterValues& outer) {
  Impl& in = *impl_;
  Frame f;
  f.outer = &outer;
  if (node.graph.valid() && in.model.graph(node.graph).function >= 0)
    f.function = &in.model.functions[static_cast<size_t>(in.model.graph(node.graph).function)];
  static const std::vector<Attribute> kNone;
  f.attrs = &kNone;
  std::vector<Datum> aligned(inputs.begin(), inputs.end());
  for (Datum& d : aligned)
    if (d.is_tensor()) d.tensor = d.tensor.to_aligned();
  return in.apply(f, in.make_step(NodeId(), node), node, aligned);
}

}  // namespace onnxtool
