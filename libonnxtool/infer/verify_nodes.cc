// SPDX-License-Identifier: Apache-2.0
// Operators, their attributes and operands (verifier.h). Nodes are looked at in the form they are
// held in, which may be newer than the model's operator set; what exists is decided by that set.
#include <algorithm>
#include <cctype>
#include <cstring>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/operands.h"
#include "libonnxtool/infer/verifier.h"

namespace onnxtool::verifying {
namespace {

std::string op_name(const Node& n) {
  return n.domain.view().empty() ? quoted(n.op.view()) : quoted(n.domain.str() + "." + n.op.str());
}

std::string domain_name(const Node& n) {
  return n.domain.view().empty() ? "'ai.onnx'" : quoted(n.domain.view());
}

// The schema of the form that the node is held in.
const Schema* form_of(const Node& n, int64_t opset) {
  if (n.version > 0) return find_schema(n.domain.view(), n.op.view(), n.version);
  return find_schema(n.domain.view(), n.op.view(), opset);
}

struct Choice {
  const char* attr;
  std::initializer_list<std::string_view> values;
};

// String attributes with a closed list of values that many operators share.
const Choice kChoices[] = {
    {"auto_pad", {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", ""}},
};

// "; did you mean 'Relu'?" for 'relu'.
std::string other_case(std::string_view domain, std::string_view op) {
  const auto same = [](unsigned char a, unsigned char b) {
    return std::tolower(a) == std::tolower(b);
  };
  for (const Schema& s : official_schemas()) {
    const std::string_view name = s.name;
    if (s.domain == domain && std::equal(name.begin(), name.end(), op.begin(), op.end(), same))
      return format("; did you mean {}?", quoted(name));
  }
  return "";
}

}  // namespace

void Verifier::check_node(NodeId id) {
  const Node& n = model.node(id);
  if (std::none_of(n.outputs().begin(), n.outputs().end(), [](ValueId v) { return v.valid(); }))
    add("E111", id, "has no outputs");
  const Function* fn = function_of(n);
  const int64_t opset = model.opset(n.graph, n.domain);
  const bool implied = model.ir_version < 3 && n.domain.view().empty();  // operator set 1
  if (opset == 0 && !implied) {
    const bool listed = [&] {
      const int32_t f = model.graph(n.graph).function;
      const auto& imports =
          f >= 0 ? model.functions[static_cast<size_t>(f)].opset_imports : model.opset_imports;
      return std::any_of(imports.begin(), imports.end(),
                         [&](const OpsetImport& i) { return i.domain == n.domain; });
    }();
    if (!listed) add("E204", id, format("domain {} is not imported", domain_name(n)));
    if (!fn) return check_attributes(id, nullptr);
  }
  if (fn) {
    const Graph& body = model.graph(fn->body);
    size_t inputs = n.num_inputs(), outputs = n.num_outputs();
    while (inputs > 0 && !n.has_input(inputs - 1)) --inputs;
    while (outputs > 0 && !n.has_output(outputs - 1)) --outputs;
    if (inputs > body.inputs.size() || outputs > body.outputs.size())
      add("E404", id,
          format("function {} has {} inputs and {} outputs, the call {} and {}", quoted(fn->name),
                 body.inputs.size(), body.outputs.size(), inputs, outputs));
    return check_attributes(id, nullptr);
  }
  const int64_t set = implied ? 1 : opset;
  const Schema* in_set = find_schema(n.domain.view(), n.op.view(), set);
  if (!in_set) {
    if (!schema_versions(n.domain.view(), n.op.view()).empty())
      add("E202", id,
          format("operator {} is not in operator set {}, it came with {}", op_name(n), set,
                 schema_versions(n.domain.view(), n.op.view()).front()->since_version));
    else if (known_domain(n.domain.view()))
      add("E201", id,
          format("operator {} is not known{}", op_name(n),
                 other_case(n.domain.view(), n.op.view())));
    else if (!find_op(n))
      add("W216", id, format("operator {} is not known: it cannot be run", op_name(n)));
    return check_attributes(id, nullptr);
  }
  const Schema* form = form_of(n, set);
  if (in_set->deprecated)
    add("E203", id,
        format("operator {} is deprecated since operator set {}", op_name(n),
               in_set->since_version));
  if (!form || form->deprecated) return check_attributes(id, nullptr);
  // Counts only: types are checked once they are known (check_types).
  std::vector<OperandType> inputs(n.num_inputs()), outputs(n.num_outputs());
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i].present = n.has_input(i);
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].present = n.has_output(i);
  for (OperandFault& f : check_operands(*form, inputs, outputs))
    add(f.kind == OperandFault::kMissing ? "E206" : "E205", id, std::move(f.message));
  check_attributes(id, form);
  if (form->domain[0] == '\0') check_signature(id);
}

void Verifier::check_attributes(NodeId id, const Schema* schema) {
  const Node& n = model.node(id);
  const int32_t function = model.graph(n.graph).function;
  std::unordered_set<std::string_view> seen;
  for (const Attribute& a : n.attrs) {
    if (!seen.insert(a.name).second)
      add("E212", id, format("attribute {} is given twice", quoted(a.name)));
    if (!a.ref.empty() && function < 0)
      add("E213", id,
          format("attribute {} refers to {} of a function, but is in none", quoted(a.name),
                 quoted(a.ref)));
    auto where = [&] { return model.describe(id) + " attribute " + quoted(a.name); };
    if (auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value))
      check_tensor((*t)->tensor, where(), n.graph, id, {});
    if (auto* s = std::get_if<std::shared_ptr<const SparseTensor>>(&a.value))
      check_sparse(**s, where(), n.graph, id, {});
    if (!schema) continue;
    const AttrSpec* spec = schema->attr(a.name);
    if (!spec) {
      if (is_official(*schema))
        add("E209", id,
            format("operator {} has no attribute {} in version {}", op_name(n), quoted(a.name),
                   schema->since_version));
      continue;
    }
    if (a.type != spec->kind && spec->kind != AttrType::kUndefined)
      add("E211", id,
          format("attribute {} is {}, the operator wants {}", quoted(a.name),
                 attr_type_name(a.type), attr_type_name(spec->kind)));
    if (a.type == AttrType::kString && a.ref.empty())
      for (const Choice& c : kChoices)
        if (a.name == c.attr &&
            std::find(c.values.begin(), c.values.end(), a.s()) == c.values.end())
          add("W217", id,
              format("attribute {} is {}, none of the values that are defined", quoted(a.name),
                     quoted(a.s())));
  }
  if (!schema) return;
  for (const AttrSpec& spec : schema->attrs)
    if (spec.required && !seen.count(spec.name))
      add("E210", id, format("attribute '{}' is required", spec.name));
  if (n.is("Constant") && schema->since_version >= 11 && n.attrs.size() != 1)
    add("E214", id, format("has {} value attributes, needs exactly one", n.attrs.size()));
}

void Verifier::check_signature(NodeId id) {
  const Node& n = model.node(id);
  auto body = [&](const char* name) -> const Graph* {
    const GraphId g = n.attr_graph(name);
    return g.valid() && g.v < model.num_graphs() ? &model.graph(g) : nullptr;
  };
  if (n.is("If")) {
    for (const char* name : {"then_branch", "else_branch"}) {
      const Graph* g = body(name);
      if (!g) continue;
      size_t inputs = 0;  // up to IR 3 initializers of a body are inputs of it too
      for (ValueId v : g->inputs) inputs += model.value(v).constant == nullptr;
      if (inputs) add("E215", id, format("{} has {} inputs, branches take none", name, inputs));
      if (g->outputs.size() != n.num_outputs())
        add("E215", id,
            format("{} has {} outputs, the node {}", name, g->outputs.size(), n.num_outputs()));
    }
  } else if (n.is("Loop")) {
    const Graph* g = body("body");
    if (!g) return;
    const size_t carried = n.num_inputs() > 2 ? n.num_inputs() - 2 : 0;
    size_t inputs = 0;
    for (ValueId v : g->inputs)
      inputs += model.ir_version >= 4 || model.value(v).constant == nullptr;
    if (inputs != carried + 2)
      add("E215", id,
          format("body has {} inputs, needs 2 and one for each of {} carried values", inputs,
                 carried));
    if (g->outputs.size() < carried + 1)
      add("E215", id,
          format("body has {} outputs, needs 1 and one for each of {} carried values",
                 g->outputs.size(), carried));
    else if (n.num_outputs() > g->outputs.size() - 1)
      add("E215", id,
          format("has {} outputs, the body gives {}", n.num_outputs(), g->outputs.size() - 1));
  } else if (n.is("Scan") && n.version >= 9) {
    const Graph* g = body("body");
    const int64_t scans = n.attr_int("num_scan_inputs", 0);
    if (!g || !n.attr("num_scan_inputs") || !n.attr("num_scan_inputs")->ref.empty()) return;
    const int64_t total = static_cast<int64_t>(n.num_inputs());
    if (scans < 1 || scans > total) {
      add("E215", id, format("num_scan_inputs is {} of {} inputs", scans, total));
      return;
    }
    if (static_cast<int64_t>(g->inputs.size()) != total)
      add("E215", id, format("body has {} inputs, the node {}", g->inputs.size(), total));
    if (g->outputs.size() != n.num_outputs())
      add("E215", id,
          format("body has {} outputs, the node {}", g->outputs.size(), n.num_outputs()));
  }
}

void Verifier::check_types(NodeId id) {
  const Node& n = model.node(id);
  if (n.version <= 0 || function_of(n)) return;
  const Schema* form = form_of(n, 0);
  if (!form) return;
  // The model's own operator set may take fewer types than the newest form.
  const Schema* in_set = find_schema(n.domain.view(), n.op.view(), model.opset(n.graph, n.domain));
  if (in_set && in_set != form && !options.lenient) {
    bool same = n.num_inputs() <= static_cast<size_t>(in_set->max_inputs);
    for (size_t i = 0; same && i < n.num_inputs(); ++i) {
      const ParamSpec *a = form->input(i), *b = in_set->input(i);
      same = a && b && std::strcmp(a->name, b->name) == 0;
    }
    if (same && in_set->outputs.size() == form->outputs.size()) form = in_set;
  }
  std::vector<OperandType> inputs(n.num_inputs()), outputs(n.num_outputs());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (n.has_input(i)) inputs[i] = {true, &model.value(n.input(i)).type};
  for (size_t i = 0; i < outputs.size(); ++i)
    if (n.has_output(i)) outputs[i] = {true, &model.value(n.output(i)).type};
  for (OperandFault& f : check_operands(*form, inputs, outputs)) {
    if (f.kind == OperandFault::kType) add("E207", id, std::move(f.message));
    if (f.kind == OperandFault::kMixed) add("E208", id, std::move(f.message));
  }
}

}  // namespace onnxtool::verifying
