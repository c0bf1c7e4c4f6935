// SPDX-License-Identifier: Apache-2.0
#include "passes/rules.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

constexpr size_t kMaxNodes = 256;  // of a pattern
constexpr int kMaxSteps = 20'000;  // comparisons of nodes at one root

bool same_content(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.size() != b.size()) return false;
  if (a.dims() != b.dims() && a.size() != 1) return false;
  if (a.is_string()) {
    const auto x = a.string_data(), y = b.string_data();
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  }
  if (a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0) return true;
  if (!is_float(a.dtype())) return false;
  const std::vector<double> x = a.to_aligned().to_f64(), y = b.to_aligned().to_f64();
  for (size_t i = 0; i < x.size(); ++i)
    if (!(std::fabs(x[i] - y[i]) <= 1e-5 * std::fabs(y[i]))) return false;
  return true;
}

bool plain(AttrType t) {
  return t == AttrType::kFloat || t == AttrType::kInt || t == AttrType::kString ||
         t == AttrType::kFloats || t == AttrType::kInts || t == AttrType::kStrings ||
         t == AttrType::kTensor;
}

bool same_attribute(const Attribute& a, const Attribute& b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case AttrType::kFloat: return a.f() == b.f();
    case AttrType::kInt: return a.i() == b.i();
    case AttrType::kString: return a.s() == b.s();
    case AttrType::kFloats: return a.floats() == b.floats();
    case AttrType::kInts: return a.ints() == b.ints();
    case AttrType::kStrings: return a.strings() == b.strings();
    case AttrType::kTensor: return same_content(a.t(), b.t());
    default: return false;
  }
}

// The attribute's value is the schema's default.
bool is_default(const Node& n, const Attribute& a) {
  const Schema* s = find_schema(n.domain.view(), n.op.view(), n.version);
  const AttrSpec* spec = s ? s->attr(a.name) : nullptr;
  if (!spec || !spec->default_text || spec->kind != a.type) return false;
  switch (a.type) {
    case AttrType::kFloat: return a.f() == std::strtof(spec->default_text, nullptr);
    case AttrType::kInt: return a.i() == std::strtoll(spec->default_text, nullptr, 10);
    case AttrType::kString: return a.s() == spec->default_text;
    default: return false;
  }
}

struct UserRule {
  std::shared_ptr<const Model> model;
  const Function* pattern = nullptr;
  const Function* replacement = nullptr;
  std::string root_op;
  const char* root = nullptr;
  std::vector<NodeId> order;  // nodes of the replacement

  Match match(const PassContext& ctx, NodeId root) const;
};

// What stands for what in one match.
struct Bindings {
  std::map<uint32_t, ValueId> values;  // of the pattern -> of the model
  std::map<uint32_t, NodeId> nodes;
  std::map<std::string, const Attribute*> attrs;  // nullptr: the node has none
};

class Matcher {
 public:
  Matcher(const Model& patterns, const PassContext& ctx) : p_(patterns), ctx_(ctx) {}

  bool node(NodeId pattern, NodeId target, Bindings& b) {
    if (--steps_ < 0) return false;
    if (const auto it = b.nodes.find(pattern.v); it != b.nodes.end()) return it->second == target;
    const Node& p = p_.node(pattern);
    const Node& t = ctx_.node(target);
    if (p.op != t.op || p.domain != t.domain || p.version != t.version) return false;
    for (const auto& [other, used] : b.nodes)
      if (used == target) return false;
    if (t.num_inputs() > p.num_inputs())
      for (size_t i = p.num_inputs(); i < t.num_inputs(); ++i)
        if (t.has_input(i)) return false;
    Bindings trial = b;
    if (!attributes(p, t, trial)) return false;
    trial.nodes[pattern.v] = target;
    for (size_t i = 0; i < p.num_outputs(); ++i) {
      if (!p.has_output(i)) continue;
      if (!t.has_output(i)) return false;
      trial.values[p.output(i).v] = t.output(i);
    }
    Bindings plain_order = trial;
    if (inputs(p, t, false, plain_order)) {
      b = std::move(plain_order);
      return true;
    }
    const OpDef* def = find_op(p);
    if (!def || !(def->flags & kCommutative) || p.num_inputs() < 2) return false;
    if (!inputs(p, t, true, trial)) return false;
    b = std::move(trial);
    return true;
  }

 private:
  bool inputs(const Node& p, const Node& t, bool swapped, Bindings& b) {
    for (size_t i = 0; i < p.num_inputs(); ++i) {
      const size_t k = swapped && i < 2 ? 1 - i : i;
      if (!value(p.input(i), t.input(k), b)) return false;
    }
    return true;
  }

  bool value(ValueId p, ValueId t, Bindings& b) {
    if (!p.valid() || !t.valid()) return p.valid() == t.valid();
    if (const auto it = b.values.find(p.v); it != b.values.end()) return it->second == t;
    if (const Tensor* want = p_.constant(p)) {
      const Tensor* have = ctx_.model().constant(t);
      if (!have || !same_content(*have, *want)) return false;
      b.values[p.v] = t;
      return true;
    }
    const NodeId producer = p_.value(p).producer;
    if (!producer.valid()) {
      b.values[p.v] = t;
      return true;
    }
    const Value& v = ctx_.model().value(t);
    return v.producer.valid() && v.output_index == p_.value(p).output_index &&
           node(producer, v.producer, b);
  }

  bool attributes(const Node& p, const Node& t, Bindings& b) {
    for (const Attribute& a : p.attrs) {
      const Attribute* have = t.attr(a.name);
      if (have && !have->ref.empty()) return false;
      if (!a.ref.empty()) {
        if (have && !plain(have->type)) return false;
        const auto [it, fresh] = b.attrs.try_emplace(a.ref, have);
        if (!fresh && it->second != have &&
            (!it->second || !have || !same_attribute(*it->second, *have)))
          return false;
      } else if (have ? !same_attribute(a, *have) : !is_default(p, a)) {
        return false;
      }
    }
    return std::all_of(t.attrs.begin(), t.attrs.end(), [&](const Attribute& a) {
      return p.attr(a.name) || (a.ref.empty() && is_default(t, a));
    });
  }

  const Model& p_;
  const PassContext& ctx_;
  int steps_ = kMaxSteps;
};

Match UserRule::match(const PassContext& ctx, NodeId at) const {
  const Model& m = *model;
  const Graph& body = m.graph(pattern->body);
  const Graph& made = m.graph(replacement->body);
  Bindings b;
  const NodeId first = m.value(body.outputs[0]).producer;
  if (!Matcher(m, ctx).node(first, at, b)) return NoMatch{};
  Edit edit;
  edit.at = at;
  for (const auto& [p, target] : b.nodes) {
    edit.remove.push_back(target);
    const auto outs = m.node(NodeId(p)).outputs();
    if (std::none_of(outs.begin(), outs.end(),
                     [&](ValueId o) { return o.valid() && m.value(o).graph_output; }))
      edit.exclusive.push_back(target);
  }
  std::map<uint32_t, EditValue> values;
  for (size_t i = 0; i < made.inputs.size(); ++i) {
    const auto it = b.values.find(body.inputs[i].v);
    if (it == b.values.end()) return NoMatch{};
    values[made.inputs[i].v] = it->second;
  }
  for (NodeId id : order) {
    const Node& n = m.node(id);
    if (const Tensor* t = n.has_output(0) ? m.constant(n.output(0)) : nullptr) {
      values[n.output(0).v] = edit.constant(*t);
      continue;
    }
    std::vector<EditValue> inputs;
    for (size_t i = 0; i < n.num_inputs(); ++i)
      inputs.push_back(n.has_input(i) ? values[n.input(i).v] : EditValue());
    std::vector<Attribute> attrs;
    for (const Attribute& a : n.attrs) {
      if (a.ref.empty()) {
        attrs.push_back(a);
        continue;
      }
      const auto it = b.attrs.find(a.ref);
      if (it == b.attrs.end() || !it->second) continue;
      Attribute bound = *it->second;
      bound.name = a.name;
      attrs.push_back(std::move(bound));
    }
    EditValue v = edit.add(n.op, std::move(inputs), std::move(attrs), n.domain);
    edit.nodes.back().num_outputs = n.num_outputs();
    for (size_t i = 0; i < n.num_outputs(); ++i) {
      v.output = static_cast<uint32_t>(i);
      if (n.has_output(i)) values[n.output(i).v] = v;
    }
  }
  for (size_t i = 0; i < made.outputs.size(); ++i)
    edit.replace_output(b.values[body.outputs[i].v], values[made.outputs[i].v]);
  edit.note = "rule " + pattern->name;
  return edit;
}

// ------------------------------------------------------------------------------ reading of rules

Status usable(const Model& m, const Function& f, std::vector<NodeId>& order) {
  const Graph& g = m.graph(f.body);
  TRY_ASSIGN(order, m.topological_order(f.body));
  if (order.size() > kMaxNodes) return unsupported(format("more than {} nodes", kMaxNodes));
  for (NodeId id : order) {
    const Node& n = m.node(id);
    if (n.has_subgraphs()) return unsupported(format("{} holds a graph", m.describe(id)));
    for (size_t i = 0; i < n.num_inputs(); ++i)
      if (n.has_input(i) && m.value(n.input(i)).kind == ValueKind::kUndefined)
        return invalid(format("{} is not defined", m.describe(n.input(i))));
    for (const Attribute& a : n.attrs)
      if (a.ref.empty() && !plain(a.type))
        return unsupported(format("attribute {} of {} is of kind {}", quoted(a.name),
                                  m.describe(id), attr_type_name(a.type)));
    const Schema* s = find_schema(n.domain.view(), n.op.view(), newest_opset(n.domain.view()));
    if (!s)
      return unsupported(
          format("operator {} is not known",
                 quoted(n.domain.view().empty() ? n.op.str() : n.domain.str() + "." + n.op.str())));
    if (n.version != s->since_version)
      return unsupported(
          format("{} has no equal form in version {}", m.describe(id), s->since_version));
  }
  for (ValueId o : g.outputs)
    if (!o.valid() || !m.value(o).producer.valid())
      return unsupported("an output is no node's result");
  return ok();
}

// Every node of the pattern feeds output 0, where matching starts.
Status reachable(const Model& m, const Function& f, const std::vector<NodeId>& order) {
  std::set<uint32_t> seen;
  std::vector<NodeId> work{m.value(m.graph(f.body).outputs[0]).producer};
  while (!work.empty()) {
    const NodeId n = work.back();
    work.pop_back();
    if (!n.valid() || !seen.insert(n.v).second) continue;
    for (size_t i = 0; i < m.node(n).num_inputs(); ++i)
      if (m.node(n).has_input(i)) work.push_back(m.value(m.node(n).input(i)).producer);
  }
  for (NodeId n : order)
    if (!seen.count(n.v))
      return unsupported(format("{} does not feed the first output", m.describe(n)));
  const Graph& g = m.graph(f.body);
  for (ValueId in : g.inputs)
    if (m.value(in).use_count == 0) return invalid(format("input {} is not used", m.describe(in)));
  return ok();
}

Result<std::unique_ptr<UserRule>> make_rule(const std::shared_ptr<const Model>& model,
                                            const Function& pattern) {
  auto r = std::make_unique<UserRule>();
  const Model& m = *model;
  r->model = model;
  r->pattern = &pattern;
  for (const Function& f : m.functions)
    if (f.domain == "replacement" && f.name == pattern.name) r->replacement = &f;
  if (!r->replacement) return invalid("it has no function of the same name in domain replacement");
  const Function& made = *r->replacement;
  const Graph &a = m.graph(pattern.body), &b = m.graph(made.body);
  if (a.inputs.size() != b.inputs.size() || a.outputs.size() != b.outputs.size())
    return invalid("pattern and replacement differ in the number of inputs or outputs");
  if (a.outputs.empty()) return invalid("it has no output");
  if (!pattern.attribute_defaults.empty() || !made.attribute_defaults.empty())
    return unsupported("attributes with a default");
  for (const std::string& name : made.attributes)
    if (std::find(pattern.attributes.begin(), pattern.attributes.end(), name) ==
        pattern.attributes.end())
      return invalid(format("attribute {} is not one of the pattern", quoted(name)));
  std::vector<NodeId> order;
  TRY(usable(m, pattern, order).context("pattern"));
  TRY(reachable(m, pattern, order).context("pattern"));
  if (m.constant(a.outputs[0])) return invalid("the pattern is a constant");
  TRY(usable(m, made, r->order).context("replacement"));
  r->root_op = m.node(m.value(a.outputs[0]).producer).op.str();
  r->root = r->root_op.c_str();
  return r;
}

}  // namespace

Result<RuleSet> rules_of(std::shared_ptr<const Model> model) {
  RuleSet set;
  set.model = model;
  for (const Function& f : model->functions) {
    if (f.domain == "replacement") {
      set.imports.insert(set.imports.end(), f.opset_imports.begin(), f.opset_imports.end());
      if (std::none_of(model->functions.begin(), model->functions.end(), [&](const Function& p) {
            return p.domain == "pattern" && p.name == f.name;
          }))
        return invalid(format("rule {}: it has no function of the same name in domain pattern",
                              quoted(f.name)));
      continue;
    }
    if (f.domain != "pattern")
      return invalid(format("function {} is in domain {}, neither pattern nor replacement",
                            quoted(f.name), quoted(f.domain)));
    auto made = make_rule(model, f);
    if (!made.ok()) return std::move(made).context("rule " + quoted(f.name)).error();
    const std::shared_ptr<const UserRule> rule = std::move(*made);
    auto pass = std::make_unique<Pass>();
    pass->name = set.names.emplace_back("rule:" + f.name).c_str();
    pass->summary = "a rule of the user's own";
    pass->doc = "";
    pass->roots = {&rule->root, 1};
    pass->match = [rule](const PassContext& ctx, NodeId n) { return rule->match(ctx, n); };
    set.passes.push_back(std::move(pass));
  }
  if (set.passes.empty()) return invalid("there are no functions of domain pattern");
  return set;
}

}  // namespace onnxtool
