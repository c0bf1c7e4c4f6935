// SPDX-License-Identifier: Apache-2.0
// The forward pass: graphs, nodes, and what a declaration adds (driver.h).
#include "libonnxtool/infer/driver.h"

#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool::inference {
namespace {

constexpr int kExactRuns = 16;  // later runs of a body see the join of all their input types

bool same_types(std::span<const Type> a, std::span<const Type> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Type& x, const Type& y) { return x.same(y); });
}

bool same_partial(const PartialValue& a, const PartialValue& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Dim x, Dim y) { return x == y || (x.is_unknown() && y.is_unknown()); });
}

}  // namespace

NodeContext::NodeContext(Driver& d, Frame& f, NodeId id, const Node& n) : d_(d), f_(f), id_(id) {
  model_ = &d.model;
  node_ = &n;
  types.resize(n.num_outputs());
  partials.resize(n.num_outputs());
}

const Type& NodeContext::input(size_t i) const { return d_.type(f_, node_->input(i)); }
const Tensor* NodeContext::constant(size_t i) const {
  const Tensor* t = d_.constant(f_, node_->input(i));
  if (t == nullptr || !t->is_string()) return t;
  // Rules read numbers of the inputs that cannot be strings.
  const Schema* s = find_schema(node_->domain.view(), node_->op.view(), node_->version);
  const ParamSpec* p = s ? s->input(i) : nullptr;
  return p && !tensor_allowed(s->types_of(*p), DType::kString) ? nullptr : t;
}
const PartialValue* NodeContext::partial(size_t i) const { return d_.partial(f_, node_->input(i)); }

Status NodeContext::set(size_t i, Type type) {
  if (!has_output(i)) return ok();
  if (!types[i].known()) {
    types[i] = std::move(type);
    return ok();
  }
  auto merged = merge(types[i], type);
  if (!merged)
    return error(format("output {} is {} and {} at once", i, types[i].text(), type.text()));
  types[i] = std::move(*merged);
  return ok();
}

void NodeContext::set_partial(size_t i, PartialValue v) {
  if (!has_output(i) || v.size() > 1024) return;
  if (!v.empty() && std::all_of(v.begin(), v.end(), [](Dim d) { return d.is_unknown(); })) return;
  partials[i] = std::make_shared<const PartialValue>(std::move(v));
}

Result<std::vector<Type>> NodeContext::infer_graph(GraphId g, std::span<const Type> inputs) {
  return d_.infer_graph(f_, g, inputs);
}

Dim NodeContext::fresh(size_t output, size_t axis) {
  if (!has_output(output)) return {};
  const ValueId v = node_->output(output);
  Type scratch;
  const Type& declared = d_.declared(v, scratch);
  const bool there = declared.shape && axis < declared.shape->size();
  return d_.fresh(f_, v, axis, there ? (*declared.shape)[axis] : Dim());
}

Status Driver::run() {
  main = Frame();
  main.dense.resize(model.num_values());
  findings.clear();
  noted_.clear();
  calls_.clear();
  calls_of_.clear();
  visits = evaluated = 0;
  if (model.num_graphs() == 0) return ok();
  for (uint32_t g = 0; g < model.num_graphs(); ++g) {
    const Graph& gr = model.graph(GraphId(g));
    for (size_t i = 0; i < std::min(gr.outputs.size(), gr.output_types.size()); ++i)
      if (gr.outputs[i].valid() && !model.value(gr.outputs[i]).declared.known())
        output_types_.emplace(gr.outputs[i].v, &gr.output_types[i]);
  }
  TRY(bind_inputs());
  TRY(visit_nodes(main, model.main()));
  return check_outputs();
}

Result<std::vector<Type>> Driver::infer_graph(Frame& f, GraphId g, std::span<const Type> inputs) {
  if (!g.valid() || g.v >= model.num_graphs() || model.graph(g).removed)
    return invalid("attribute holds no graph");
  const Graph& graph = model.graph(g);
  const bool here = graph.function < 0
                        ? f.function == nullptr
                        : f.function == &model.functions[static_cast<size_t>(graph.function)];
  // A graph handed to a function as an attribute sees values of the caller: not followed.
  if (!here) return std::vector<Type>(graph.outputs.size());
  if (depth >= options.max_depth)
    return unsupported(format("graphs and calls are nested deeper than {}", options.max_depth));

  GraphMemo& memo = f.graphs[g.v];
  std::vector<Type> given(inputs.begin(), inputs.end());
  if (memo.runs >= kExactRuns)
    for (size_t i = 0; i < std::min(given.size(), memo.inputs.size()); ++i)
      given[i] = join(given[i], memo.inputs[i]);
  if (memo.runs > 0 && memo.stamp == f.changes && same_types(given, memo.inputs))
    return memo.outputs;

  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ValueId v = graph.inputs[i];
    Type scratch;
    Type t = i < given.size() ? given[i] : Type();
    if (!t.known()) t = declared(v, scratch);
    ValueState& s = state(f, v);
    if (!s.type.same(t)) ++f.changes;
    if (writable && !f.function) writable->value(v).type = t;
    s.type = std::move(t);
    if (s.known && model.value(v).kind != ValueKind::kInitializer) s.known.reset();
  }
  ++depth;
  Status done = visit_nodes(f, g);
  --depth;
  TRY(std::move(done));

  std::vector<Type> outputs;
  outputs.reserve(graph.outputs.size());
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    outputs.push_back(type(f, graph.outputs[i]));
    if (!outputs.back().known() && i < graph.output_types.size())
      outputs.back() = graph.output_types[i];
  }
  GraphMemo& m = f.graphs[g.v];  // bodies inside may have moved the table
  m.inputs = std::move(given);
  m.outputs = outputs;
  m.stamp = f.changes;
  ++m.runs;
  return outputs;
}

Status Driver::visit_nodes(Frame& f, GraphId g) {
  for (NodeId n : model.graph(g).nodes)
    if (!model.node(n).removed()) TRY(visit(f, n));
  return ok();
}

std::string Driver::where(const Frame& f, NodeId n) const {
  const Node& node = model.node(n);
  std::string s = model.describe(n);
  for (size_t i = 0; i < std::min<size_t>(node.num_inputs(), 4); ++i) {
    const ValueId v = node.input(i);
    s += i ? ", " : " of ";
    s += v.valid() ? quoted(model.value(v).name) + " " + type(f, v).text() : "nothing";
  }
  if (node.num_inputs() > 4) s += ", ...";
  if (f.function) s += format(" in function {}", quoted(f.function->name));
  return s;
}

// The innermost places are the ones that tell something.
Error Driver::with_place(Error e, const Frame& f, NodeId n) const {
  if (e.context.size() < 3) e.context.push_back(where(f, n));
  return e;
}

Status Driver::note(const char* code, std::string message, std::string place, NodeId n, ValueId v) {
  Finding finding;
  finding.rule = find_rule(code);
  ONNXTOOL_CHECK(finding.rule != nullptr);
  finding.severity = finding.rule->severity;
  finding.message = std::move(message);
  finding.where = std::move(place);
  finding.node = n;
  finding.value = v;
  if (n.valid()) finding.graph = model.node(n).graph;
  const bool fatal = finding.severity == Severity::kError && !options.collect;
  if (fatal) return to_error(finding);
  if (findings.size() < options.max_findings && noted_.insert(finding.text()).second)
    findings.push_back(std::move(finding));
  return ok();
}

Status Driver::visit(Frame& f, NodeId id) {
  if (++visits > options.max_visits)
    return unsupported(
        format("inference needs more than {} applications of shape rules", options.max_visits));
  const Node& node = bound(f, id);
  if (const Function* fn = function_of(node)) return call(f, id, node, *fn);
  const OpDef* def = find_op(node);
  NodeContext ctx(*this, f, id, node);
  if (def && def->infer) {
    Status s = def->infer(ctx);
    if (!s.ok()) {
      if (s.error().code != Code::kInvalid || !options.collect)
        return with_place(std::move(s).error(), f, id);
      TRY(note("E501", s.error().message, where(f, id), id, node.output(0)));
      ctx.types.assign(node.num_outputs(), Type());
      ctx.partials.assign(node.num_outputs(), nullptr);
    }
    if (options.strict && (def->flags & kControlFlow)) TRY(visit_dead_bodies(f, id, node));
  }
  std::vector<Tensor> constants(node.num_outputs());
  if (def && options.evaluate) {
    if (def->flags & kControlFlow)
      take_branch(f, node, ctx.partials, constants);
    else
      evaluate(f, node, *def, ctx.types, ctx.partials, constants);
  }
  return commit(f, id, std::move(ctx.types), std::move(ctx.partials), std::move(constants));
}

Status Driver::visit_dead_bodies(Frame& f, NodeId id, const Node& node) {
  for (const Attribute& a : node.attrs) {
    if (a.type != AttrType::kGraph || !std::holds_alternative<GraphId>(a.value)) continue;
    if (!a.g().valid() || f.graphs.count(a.g().v)) continue;
    auto r = infer_graph(f, a.g(), {});
    if (!r.ok()) return with_place(std::move(r).error(), f, id);
  }
  return ok();
}

GraphId Driver::taken_branch(Frame& f, const Node& node) {
  if (!node.is("If")) return {};
  const Tensor* cond = constant(f, node.input(0));
  if (!cond || cond->size() != 1 || cond->dtype() != DType::kBool) return {};
  return node.attr_graph(cond->i64_at(0) ? "then_branch" : "else_branch");
}

bool Driver::never_runs(Frame& f, GraphId g) {
  for (; model.graph(g).owner.valid(); g = model.graph(g).parent) {
    const GraphId taken = taken_branch(f, model.node(model.graph(g).owner));
    if (taken.valid() && taken != g) return true;
  }
  return false;
}

void Driver::take_branch(Frame& f, const Node& node,
                         std::vector<std::shared_ptr<const PartialValue>>& partials,
                         std::vector<Tensor>& constants) {
  const GraphId g = taken_branch(f, node);
  if (!g.valid() || !f.graphs.count(g.v)) return;
  const std::vector<ValueId>& outputs = model.graph(g).outputs;
  for (size_t i = 0; i < std::min(outputs.size(), node.num_outputs()); ++i) {
    partial(f, outputs[i]);  // of a constant: made when asked for
    if (const Tensor* c = constant(f, outputs[i]); c && c->size() <= 1024) constants[i] = *c;
    const ValueState* s = find(f, outputs[i]);
    if (s && s->known) partials[i] = s->known->partial;
  }
}

Status Driver::commit(Frame& f, NodeId id, std::vector<Type> types,
                      std::vector<std::shared_ptr<const PartialValue>> partials,
                      std::vector<Tensor> constants) {
  const Node& node = model.node(id);
  for (size_t i = 0; i < node.num_outputs(); ++i) {
    const ValueId v = node.output(i);
    if (!v.valid()) continue;
    Type t = std::move(types[i]);
    if (constants[i].defined())
      t = Type::tensor(constants[i].dtype(), to_shape(constants[i].dims()));
    if (partials[i] && !fits(*partials[i], t)) partials[i] = nullptr;
    TRY(merge_declared(f, id, v, t));
    name_unknown_dims(f, v, t);
    ValueState& s = state(f, v);
    const bool new_type = !s.type.same(t);
    if (new_type) {
      s.type = std::move(t);
      if (writable && !f.function) writable->value(v).type = s.type;
    }
    const bool new_content = set_known(f, v, std::move(partials[i]), std::move(constants[i]));
    if (!new_type && !new_content) continue;
    ++f.changes;
    if (track_ && !f.function) changed_.push_back(v);
  }
  return ok();
}

bool Driver::fits(const PartialValue& p, Type& t) {
  if (!t.is_tensor() || (!is_integer(t.dtype) && t.dtype != DType::kBool)) return false;
  if (!t.shape || t.shape->size() > 1) return false;
  if (t.shape->empty()) return p.size() == 1;
  Dim& n = t.shape->front();
  const int64_t size = static_cast<int64_t>(p.size());
  if (n.is_const()) return n.value() == size;
  n = size;
  return true;
}

// Nodes that a change of a value reaches are taken in the order of their graphs; the count of
// visits is limited, beyond it a whole run is cheaper.
Status Driver::update(NodeId start) {
  if (!start.valid() || model.node(start).removed()) return ok();
  if (model.graph(model.node(start).graph).function >= 0) return ok();
  main.dense.resize(std::max(main.dense.size(), model.num_values()));
  const size_t limit = 4 * model.num_nodes() + 1000;
  std::vector<NodeId> queue{start};
  std::unordered_set<uint32_t> waiting{start.v};
  auto push = [&](NodeId n) {
    if (n.valid() && waiting.insert(n.v).second) queue.push_back(n);
  };
  track_ = true;
  Status result;
  for (size_t at = 0; at < queue.size() && result.ok(); ++at) {
    if (at > limit) {
      track_ = false;
      return run();
    }
    const NodeId n = queue[at];
    waiting.erase(n.v);
    if (model.node(n).removed()) continue;
    changed_.clear();
    result = visit(main, n);
    if (!result.ok() && never_runs(main, model.node(n).graph)) result = ok();
    for (ValueId v : changed_) {
      model.for_each_use(v, [&](Use u) { push(u.node); });
      if (model.value(v).graph_output) push(model.graph(model.value(v).graph).owner);
    }
  }
  track_ = false;
  return result;
}

bool Driver::set_known(Frame& f, ValueId v, std::shared_ptr<const PartialValue> p, Tensor c) {
  ValueState& s = state(f, v);
  if (c.defined() && !p) p = partial_of_tensor(c);
  if (!s.known) {
    if (!p && !c.defined()) return false;
    s.known = std::make_unique<Known>();
  }
  Known& k = *s.known;
  const bool same = (p ? k.partial && same_partial(*p, *k.partial) : !k.partial) &&
                    (c.defined() ? k.constant.defined() && c.same_bytes(k.constant) : !k.evaluated);
  if (same) return false;
  k = Known();
  k.partial = std::move(p);
  k.evaluated = c.defined();
  k.constant = std::move(c);
  return true;
}

}  // namespace onnxtool::inference
