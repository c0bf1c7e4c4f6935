// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/concretize.h"

#include <algorithm>
#include <unordered_map>

#include "exec/plan/fold.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/base/threads.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

constexpr int kMaxDepth = 64;               // graphs in graphs and calls in calls
constexpr int64_t kMaxWalked = 20'000'000;  // nodes, bodies walked again each time

// A tensor type of the plan: constants where dims are known, unknown dims elsewhere.
Type plan_type(const PlanValue& v) {
  if (v.known) return Type::tensor(v.dtype, to_shape(v.dims));
  return v.type;
}

bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBfloat16; }

class Walk {
 public:
  Walk(const PlanRequest& request, const KernelIndex& kernels, PrepareContext& prepare,
       const PlanOptions& options, Plan& plan, const Walk* outer = nullptr)
      : request_(request),
        model_(*request.model),
        kernels_(kernels),
        prepare_(prepare),
        options_(options),
        plan_(plan),
        outer_(outer),
        walked_(outer ? outer->walked_ : std::make_shared<int64_t>(0)) {
    depth_ = outer ? outer->depth_ + 1 : 0;
  }

  Status run();
  Result<int> value(ValueId id);
  PlanValue& at(int v) { return plan_.values[static_cast<size_t>(v)]; }
  const PartialValue* partial(int v);
  void set_type(PlanValue& v, const Type& type) const;
  // Types of a body's outputs for these inputs.
  Result<std::vector<Type>> body_types(GraphId g, std::span<const Type> inputs) const;

 private:
  friend class NodeInfer;
  Status walk_graph(GraphId g);
  Status walk_node(NodeId id);
  Status walk_call(const Node& node, const Function& function);
  Result<bool> walk_constant_if(const Node& node, std::span<const int> in);
  int add(PlanValue v) {
    plan_.values.push_back(std::move(v));
    return static_cast<int>(plan_.values.size()) - 1;
  }
  Result<int> add_constant(ValueId origin, Tensor t);
  Result<bool> fold(const Node& node, std::span<const int> in, std::vector<PlanValue>& out);
  Status finish_outputs(std::span<const ValueId> outputs);
  int convert(int v, DType to);
  void round_cast(const Node& node);
  bool keeps(ValueId id) const {
    return options_.keep_all ||
           std::find(options_.keep.begin(), options_.keep.end(), id) != options_.keep.end();
  }

  const PlanRequest& request_;
  const Model& model_;
  const KernelIndex& kernels_;
  PrepareContext& prepare_;
  const PlanOptions& options_;
  Plan& plan_;
  const Walk* outer_;                     // body_types(): where captured values come from
  std::unordered_map<ValueId, int> map_;  // value of the model to value of the plan
  std::shared_ptr<int64_t> walked_;
  int depth_ = 0;
};

// The shape rule of one node, seen from the plan.
class NodeInfer final : public InferContext {
 public:
  NodeInfer(Walk& walk, const Model& model, const Node& node, std::span<const int> in)
      : walk_(walk),
        in_(in),
        types_(node.num_inputs()),
        out_(node.num_outputs()),
        partial_(node.num_outputs()) {
    model_ = &model;
    node_ = &node;
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i] >= 0) types_[i] = plan_type(walk_.at(in[i]));
  }
  const Type& input(size_t i) const override {
    static const Type none;
    return i < types_.size() ? types_[i] : none;
  }
  const Tensor* constant(size_t i) const override {
    if (i >= in_.size() || in_[i] < 0) return nullptr;
    const PlanValue& v = walk_.at(in_[i]);
    return v.is_constant() && !v.make ? &v.constant : nullptr;
  }
  const PartialValue* partial(size_t i) const override {
    return i < in_.size() && in_[i] >= 0 ? walk_.partial(in_[i]) : nullptr;
  }
  Status set(size_t i, Type type) override {
    if (i >= out_.size() || !node_->has_output(i)) return ok();
    if (!out_[i].known()) {
      out_[i] = std::move(type);
    } else if (auto merged = merge(out_[i], type)) {
      out_[i] = std::move(*merged);
    }
    return ok();
  }
  void set_partial(size_t i, PartialValue v) override {
    if (i < partial_.size() && node_->has_output(i)) partial_[i] = std::move(v);
  }
  Result<std::vector<Type>> infer_graph(GraphId g, std::span<const Type> inputs) override {
    return walk_.body_types(g, inputs);
  }
  Dim fresh(size_t, size_t) override { return {}; }

  const Type& output(size_t i) const { return out_[i]; }
  std::optional<PartialValue>& output_partial(size_t i) { return partial_[i]; }

 private:
  Walk& walk_;
  std::span<const int> in_;
  std::vector<Type> types_, out_;
  std::vector<std::optional<PartialValue>> partial_;
};

void Walk::set_type(PlanValue& v, const Type& type) const {
  v.type = type;
  v.dtype = DType::kUndefined;
  v.known = false;
  if (!type.is_tensor()) return;
  v.dtype = type.dtype;
  if (options_.promote_half && is_half(v.dtype)) v.type.dtype = v.dtype = DType::kFloat;
  if (!type.shape) return;
  v.dims.clear();
  v.known = v.dtype != DType::kUndefined;
  for (Dim d : *type.shape) {
    if (!d.is_const() || d.value() < 0) v.known = false;
    v.dims.push_back(d.is_const() ? d.value() : -1);
  }
  if (v.known && !checked_product(v.dims)) v.known = false;
  if (!v.known) {
    // Names of dims mean nothing here: equal names from different calls are not equal dims.
    for (Dim& d : *v.type.shape)
      if (!d.is_const()) d = Dim();
    v.dims.clear();
  }
}

Result<int> Walk::add_constant(ValueId origin, Tensor t) {
  int v;
  if (options_.promote_half && is_half(t.dtype())) {
    TRY_ASSIGN(v, add_plan_constant(plan_, DType::kFloat, t.dims(), [t]() -> Result<Tensor> {
                 Tensor wide = half_to_float(t);
                 release_pages(t.raw(), t.bytes());
                 return wide;
               }));
  } else {
    v = add_plan_constant(plan_, std::move(t));
  }
  at(v).origin = origin;
  return v;
}

Result<int> Walk::value(ValueId id) {
  if (auto it = map_.find(id); it != map_.end()) return it->second;
  if (const Tensor* t = model_.constant(id)) {
    TRY_ASSIGN(int v, add_constant(id, *t));
    map_[id] = v;
    return v;
  }
  if (outer_) {  // a captured value: only its type and content matter here
    auto* outer = const_cast<Walk*>(outer_);
    TRY_ASSIGN(int from, outer->value(id));
    PlanValue copy = outer->at(from);
    int v = add(std::move(copy));
    map_[id] = v;
    return v;
  }
  const Value& v = model_.value(id);
  if (v.constant && v.constant->sparse)
    return unsupported(format("running sparse initializer {}", quoted(v.name)));
  if (v.constant && v.kind == ValueKind::kInput) {
    TRY_ASSIGN(int c, add_constant(id, v.constant->dense.tensor));
    map_[id] = c;
    return c;
  }
  return invalid(format("value {} has no producer before its use", quoted(v.name)));
}

const PartialValue* Walk::partial(int v) {
  PlanValue& value = at(v);
  if (value.partial) return &*value.partial;
  const Tensor& t = value.constant;
  if (!t.defined() || !is_integer(t.dtype()) || t.rank() > 1 || t.size() > 1024) return nullptr;
  PartialValue p;
  for (int64_t x : t.to_i64()) p.emplace_back(x);
  value.partial = std::move(p);
  return &*value.partial;
}

Result<std::vector<Type>> Walk::body_types(GraphId g, std::span<const Type> inputs) const {
  if (depth_ + 1 > kMaxDepth) return unsupported("graphs are nested too deep");
  Plan scratch;
  PlanRequest request{&model_, g, {}, false};
  const Graph& graph = model_.graph(g);
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    request.inputs.push_back({graph.inputs[i], i < inputs.size() ? inputs[i] : Type(), {}});
  Walk walk(request, kernels_, prepare_, options_, scratch, this);
  std::vector<Type> types;
  if (Status walked = walk.run(); !walked.ok()) {
    if (walked.error().code != Code::kInvalid) return std::move(walked).error();
    // A body that would fail may never run (the other branch of an If): nothing is known of it.
    for (ValueId v : graph.outputs) {
      const Type& declared = model_.value(v).type;
      types.push_back(declared.is_tensor() ? Type::tensor(declared.dtype) : declared);
    }
    return types;
  }
  for (int v : scratch.outputs) types.push_back(plan_type(scratch.values[static_cast<size_t>(v)]));
  return types;
}

Status Walk::walk_call(const Node& node, const Function& function) {
  if (++depth_ > kMaxDepth) return unsupported("functions call each other too deep");
  const Graph& body = model_.graph(function.body);
  if (node.num_inputs() > body.inputs.size())
    return invalid(
        format("the call has {} inputs, the function {}", node.num_inputs(), body.inputs.size()));
  std::vector<int> actual;
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    int v = -1;
    if (node.has_input(i)) {
      TRY_ASSIGN(v, value(node.input(i)));
    }
    actual.push_back(v);
  }
  // A body is walked once a call; an input that the caller left out counts as left out inside.
  for (size_t i = 0; i < actual.size(); ++i) map_[body.inputs[i]] = actual[i];
  TRY(walk_graph(function.body));
  for (size_t i = 0; i < node.num_outputs() && i < body.outputs.size(); ++i) {
    if (!node.has_output(i)) continue;
    TRY_ASSIGN(int v, value(body.outputs[i]));
    map_[node.output(i)] = v;
  }
  --depth_;
  return ok();
}

Result<bool> Walk::walk_constant_if(const Node& node, std::span<const int> in) {
  if (!node.is("If") || in.empty() || in[0] < 0 || options_.keep_all) return false;
  const Tensor& cond = at(in[0]).constant;
  if (!cond.defined() || cond.dtype() != DType::kBool || cond.size() != 1) return false;
  GraphId g = node.attr_graph(cond.i64_at(0) ? "then_branch" : "else_branch");
  if (!g.valid()) return false;
  if (++depth_ > kMaxDepth) return unsupported("graphs are nested too deep");
  TRY(walk_graph(g));
  const Graph& body = model_.graph(g);
  for (size_t i = 0; i < node.num_outputs() && i < body.outputs.size(); ++i) {
    if (!node.has_output(i)) continue;
    TRY_ASSIGN(int v, value(body.outputs[i]));
    map_[node.output(i)] = v;
  }
  --depth_;
  ++plan_.folded_nodes;
  return true;
}

// What a folded node gives, as the plan has it: half precision in float. A cast to it rounds.
Result<Tensor> promoted(Tensor t, const Node& node, DType declared) {
  if (is_half(declared) && t.dtype() == DType::kFloat && (node.is("Cast") || node.is("CastLike"))) {
    TRY_ASSIGN(t, Tensor::from_f64(declared, t.dims(), t.to_f64()));
  }
  return is_half(t.dtype()) ? half_to_float(t) : t;
}

// The outputs of a node from what makes its inputs.
Result<std::vector<Tensor>> evaluate(const Model& model, const Node& node,
                                     std::span<const MakeTensor> inputs,
                                     std::span<const PlanValue> out, const KernelIndex& kernels,
                                     int64_t budget) {
  std::vector<Tensor> made(inputs.size());
  std::vector<const Tensor*> in(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) continue;
    TRY_ASSIGN(made[i], inputs[i]());
    in[i] = &made[i];
  }
  auto results = evaluate_constant(model, node, in, out, kernels, parallel_threads(), budget);
  for (const Tensor& t : made)
    if (t.defined() && !t.is_string()) release_pages(t.raw(), t.bytes());
  return results;
}

// Computes the outputs where they are known. `out` has their types.
Result<bool> Walk::fold(const Node& node, std::span<const int> in, std::vector<PlanValue>& out) {
  const OpDef* def = find_op(node);
  if (!def || (def->flags & (kRandom | kControlFlow))) return false;
  if (out.size() == 1 && out[0].partial && out[0].known && is_integer(out[0].dtype)) {
    std::vector<int64_t> values;
    for (Dim d : *out[0].partial)
      if (d.is_const()) values.push_back(d.value());
    if (values.size() == out[0].partial->size() &&
        out[0].size() == static_cast<int64_t>(values.size())) {
      TRY_ASSIGN(out[0].constant, Tensor::from_i64(out[0].dtype, out[0].dims, values));
      return true;
    }
  }
  if (!def->eval) return false;
  for (int v : in)
    if (v >= 0 && !at(v).is_constant()) return false;
  for (const PlanValue& v : out)
    if (v.type.known() && !v.type.is_tensor()) return false;
  int64_t budget = options_.memory_limit / 2 - plan_.folded_bytes;
  for (const PlanValue& v : out)
    if (v.known && raw_bytes(v.dtype, v.size()).value_or(INT64_MAX) > budget) return false;
  std::vector<MakeTensor> inputs;
  int depth = 0;
  for (int v : in) {
    inputs.push_back(v >= 0 ? at(v).content() : nullptr);
    if (v >= 0) depth = std::max(depth, at(v).make_depth);
  }
  if (out.size() == 1 && !outer_ && !keeps(node.output(0)) && made_late(out[0], depth)) {
    const auto make = [&model = model_, &node, inputs, out, &kernels = kernels_,
                       half = options_.promote_half]() -> Result<Tensor> {
      TRY_ASSIGN(auto made, evaluate(model, node, inputs, out, kernels, INT64_MAX));
      Tensor t = std::move(made[0]);
      if (half) {
        TRY_ASSIGN(t, promoted(std::move(t), node, model.value(node.output(0)).type.dtype));
      }
      if (t.dtype() != out[0].dtype || t.dims() != out[0].dims)
        return internal_error("a constant came out as another type");
      return t;
    };
    TRY(set_constant(out[0], make, depth));
    plan_.folded_bytes += static_cast<int64_t>(out[0].constant.bytes());
    return true;
  }
  auto folded = evaluate(model_, node, inputs, out, kernels_, budget);
  if (!folded.ok()) {
    if (folded.error().code == Code::kUnsupported) return false;
    return std::move(folded).error();
  }
  for (size_t i = 0; i < out.size(); ++i) {
    Tensor t = std::move((*folded)[i]);
    if (!t.defined()) continue;
    if (options_.promote_half) {
      TRY_ASSIGN(t, promoted(std::move(t), node, model_.value(node.output(i)).type.dtype));
    }
    set_type(out[i], Type::tensor(t.dtype(), to_shape(t.dims())));
    plan_.folded_bytes += static_cast<int64_t>(t.bytes());
    out[i].constant = std::move(t);
  }
  return true;
}

Status Walk::walk_node(NodeId id) {
  const Node& node = model_.node(id);
  if (++*walked_ > kMaxWalked) return unsupported("the graph is too large to plan");
  std::vector<int> in;
  for (size_t i = 0; i < node.num_inputs(); ++i) {
    int v = -1;
    if (node.has_input(i)) {
      TRY_ASSIGN(v, value(node.input(i)));
    }
    in.push_back(v);
  }
  const OpDef* def = find_op(node);
  if (!def) {
    if (const Function* f = model_.find_function(node.domain, node.op, node.overload))
      return walk_call(node, *f);
    return unsupported("this operator is not known");
  }
  TRY_ASSIGN(bool inlined, walk_constant_if(node, in));
  if (inlined) return ok();

  NodeInfer infer(*this, model_, node, in);
  if (def->infer) TRY(def->infer(infer));
  std::vector<PlanValue> out(node.num_outputs());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].origin = node.output(i);
    if (!node.has_output(i)) continue;
    const Type& declared = model_.value(node.output(i)).type;
    Type type = infer.output(i);
    if (!type.known()) type = declared.is_tensor() ? Type::tensor(declared.dtype) : declared;
    if (type.is_tensor() && type.dtype == DType::kUndefined && declared.is_tensor())
      type.dtype = declared.dtype;
    set_type(out[i], type);
    out[i].partial = std::move(infer.output_partial(i));
  }
  TRY_ASSIGN(bool folded, fold(node, in, out));
  bool constant = folded;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!node.has_output(i)) continue;
    if (out[i].is_constant()) {
      out[i].place = Place::kConstant;
      out[i].bytes = static_cast<int64_t>(out[i].constant.bytes());
    } else {
      constant = false;
    }
  }
  PlanStep step;
  step.in = in;
  step.main_inputs = in.size();
  for (size_t i = 0; i < out.size(); ++i) {
    int v = -1;
    if (node.has_output(i)) {
      v = add(std::move(out[i]));
      map_[node.output(i)] = v;
    }
    step.out.push_back(v);
  }
  if (constant) {
    ++plan_.folded_nodes;
    return ok();
  }
  if (outer_) return ok();  // types only
  step.op = node.domain.view().empty() ? node.op : Sym(node.domain.str() + "." + node.op.str());
  step.node = id;
  step.nodes = {id};
  if (def->flags & kControlFlow || node.has_subgraphs()) {
    std::vector<PlanBody::Capture> captures;
    for (ValueId c : model_.captures(id)) {
      if (model_.constant(c) && !map_.count(c)) continue;
      TRY_ASSIGN(int v, value(c));
      captures.push_back({c, v});
    }
    for (const Attribute& a : node.attrs)
      if (a.type == AttrType::kGraph) step.bodies.push_back({a.g(), a.name, captures});
  }
  plan_.steps.push_back(std::move(step));
  round_cast(node);
  return ok();
}

// A Cast to half precision rounds, also where the value is then computed with in float.
void Walk::round_cast(const Node& node) {
  if (!options_.promote_half || !(node.is("Cast") || node.is("CastLike"))) return;
  const DType to = model_.value(node.output(0)).type.dtype;
  const DType from = model_.value(node.input(0)).type.dtype;
  const int v = map_[node.output(0)];
  if (is_half(to) && from != to && at(v).dtype == DType::kFloat)
    map_[node.output(0)] = convert(convert(v, to), DType::kFloat);
}

Status Walk::walk_graph(GraphId g) {
  TRY_ASSIGN(std::vector<NodeId> order, model_.topological_order(g));
  for (NodeId id : order) {
    if (Status s = walk_node(id); !s.ok()) return std::move(s).context(model_.describe(id));
  }
  return ok();
}

// An elementwise copy to another element type.
int Walk::convert(int v, DType to) {
  PlanValue out;
  out.type = at(v).type;
  out.type.dtype = out.dtype = to;
  out.known = at(v).known;
  out.dims = at(v).dims;
  if (!outer_) {
    PlanStep step;
    step.op = step_kind::kElementwise;
    step.in = {v};
    step.main_inputs = 1;
    auto program = std::make_shared<EltProgram>();
    program->ops = {{Elt::kCopy, {EltRef::input(0)}}};
    program->results = {0};
    step.program = std::move(program);
    step.out = {add(std::move(out))};
    plan_.steps.push_back(std::move(step));
  } else {
    add(std::move(out));
  }
  return static_cast<int>(plan_.values.size()) - 1;
}

Status Walk::finish_outputs(std::span<const ValueId> outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    TRY_ASSIGN(int v, value(outputs[i]));
    const Type& declared = model_.value(outputs[i]).type;
    if (request_.main && at(v).is_tensor() && declared.is_tensor() && is_half(declared.dtype) &&
        at(v).dtype == DType::kFloat)
      v = convert(v, declared.dtype);
    plan_.outputs.push_back(v);
  }
  return ok();
}

Status Walk::run() {
  for (size_t i = 0; i < request_.inputs.size(); ++i) {
    const PlanInput& input = request_.inputs[i];
    if (input.constant.defined()) {
      TRY_ASSIGN(int v, add_constant(input.value, input.constant));
      plan_.inputs.push_back(map_[input.value] = v);
      continue;
    }
    if (!input.type.known() && model_.value(input.value).constant) {
      TRY_ASSIGN(int v, value(input.value));  // left to its default
      plan_.inputs.push_back(v);
      continue;
    }
    PlanValue v;
    v.origin = input.value;
    set_type(v, input.type);
    bool half = options_.promote_half && input.type.is_tensor() && is_half(input.type.dtype);
    if (half) v.type.dtype = v.dtype = input.type.dtype;
    v.place = Place::kInput;
    v.index = static_cast<int>(i);
    int at = add(std::move(v));
    plan_.inputs.push_back(at);
    map_[input.value] = half ? convert(at, DType::kFloat) : at;
  }
  TRY(walk_graph(request_.graph));
  return finish_outputs(model_.graph(request_.graph).outputs);
}

}  // namespace

Tensor hollow(const Tensor& t) {
  return t.is_string() ? t : Tensor::view(t.dtype(), t.dims(), nullptr, t.bytes(), nullptr);
}

Status concretize(const PlanRequest& request, const KernelIndex& kernels, PrepareContext& ctx,
                  const PlanOptions& options, Plan& plan) {
  return Walk(request, kernels, ctx, options, plan).run();
}

void drop_dead_steps(Plan& plan, const PlanOptions& options) {
  std::vector<char> live(plan.values.size(), 0);
  for (int v : plan.outputs) live[static_cast<size_t>(v)] = 1;
  auto kept = [&](const PlanStep& step) {
    if (options.keep_all) return true;
    for (int v : step.out) {
      if (v < 0) continue;
      if (live[static_cast<size_t>(v)]) return true;
      ValueId origin = plan.values[static_cast<size_t>(v)].origin;
      if (origin.valid() &&
          std::find(options.keep.begin(), options.keep.end(), origin) != options.keep.end())
        return true;
    }
    return false;
  };
  for (size_t i = plan.steps.size(); i-- > 0;) {
    PlanStep& step = plan.steps[i];
    if (step.removed || !kept(step)) {
      step.removed = true;
      continue;
    }
    for (int v : step.in)
      if (v >= 0) live[static_cast<size_t>(v)] = 1;
    for (const PlanBody& body : step.bodies)
      for (const PlanBody::Capture& c : body.captures) live[static_cast<size_t>(c.value)] = 1;
  }
  std::erase_if(plan.steps, [](const PlanStep& s) { return s.removed; });
}

}  // namespace onnxtool
