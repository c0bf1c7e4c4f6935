// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/verify.h"

#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/verifier.h"

namespace onnxtool {
namespace verifying {
namespace {

constexpr int64_t kNewestIr = 14;

}  // namespace

void Verifier::add(const char* code, std::string message, std::string where, GraphId g, NodeId n,
                   ValueId v) {
  if (full()) return;
  Finding f;
  f.rule = find_rule(code);
  ONNXTOOL_CHECK(f.rule != nullptr);
  f.severity = f.rule->severity;
  f.message = std::move(message);
  f.where = std::move(where);
  f.graph = g;
  f.node = n;
  f.value = v;
  findings.push_back(std::move(f));
}

std::string Verifier::place(GraphId g) const {
  const Graph& graph = model.graph(g);
  if (graph.owner.valid())
    return format("graph {} of {}", quoted(graph.name), model.describe(graph.owner));
  if (graph.function >= 0)
    return format("function {}", quoted(model.functions[static_cast<size_t>(graph.function)].name));
  return graph.name.empty() ? std::string("graph") : format("graph {}", quoted(graph.name));
}

void Verifier::add(const char* code, NodeId n, std::string message, ValueId v) {
  const GraphId g = model.node(n).graph;
  std::string where = model.describe(n);
  if (g.valid() && g != model.main()) where += " in " + place(g);
  add(code, std::move(message), std::move(where), g, n, v);
}

bool Verifier::known_domain(std::string_view domain) {
  auto [it, fresh] = domains_.emplace(std::string(domain), false);
  if (fresh) {
    for (const Schema& s : official_schemas()) it->second = it->second || domain == s.domain;
  }
  return it->second;
}

void Verifier::check_imports(const std::vector<OpsetImport>& imports, const std::string& where) {
  for (const OpsetImport& i : imports) {
    const std::string_view domain = i.domain.view();
    const std::string shown = domain.empty() ? "'ai.onnx'" : quoted(domain);
    if (i.version < 0 || (i.version == 0 && known_domain(domain)))
      add("E102", format("operator set {} of {} does not exist", i.version, shown), where);
    else if (known_domain(domain) && i.version > newest_opset(domain))
      add("E102",
          format("operator set {} of {} is not known: the newest is {}", i.version, shown,
                 newest_opset(domain)),
          where);
  }
}

void Verifier::check_header() {
  if (model.ir_version < 1 || model.ir_version > kNewestIr)
    add("E101", format("ir_version {} is not one of 1 to {}", model.ir_version, kNewestIr));
  if (model.ir_version >= 3 && model.opset_imports.empty())
    add("E102", "no operator set is imported");
  if (model.ir_version < 3 && !model.opset_imports.empty())
    add("E102", format("ir_version {} has no opset_import", model.ir_version));
  check_imports(model.opset_imports, "");
}

void Verifier::check_main_types() {
  const Graph& g = model.graph(model.main());
  auto check = [&](const char* code, const Type& t, ValueId v, const char* what) {
    const std::string where = format("{} {}", what, quoted(v.valid() ? model.value(v).name : ""));
    if (!t.known()) {
      add(code, "has no type", where, model.main(), {}, v);
    } else if (t.is_tensor() || t.kind == TypeKind::kSparseTensor) {
      if (t.dtype == DType::kUndefined)
        add(code, "has no element type", where, model.main(), {}, v);
      else if (!t.shape)
        add(code, "has no shape", where, model.main(), {}, v);
    }
  };
  for (ValueId v : g.inputs) check("E109", model.value(v).declared, v, "input");
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    const Type& t = i < g.output_types.size() && g.output_types[i].known()
                        ? g.output_types[i]
                        : model.value(g.outputs[i]).declared;
    check("E110", t, g.outputs[i], "output");
  }
}

void Verifier::run() {
  check_header();
  if (model.num_graphs() == 0) {
    add("E107", "the model has no graph");
    return;
  }
  defined_.resize(model.num_values());
  check_main_types();
  check_functions();
  check_graph(model.main(), 0);
  for (const Function& f : model.functions)
    if (f.body.valid()) check_graph(f.body, 0);
}

}  // namespace verifying

namespace {

bool has_element_type(const Type& t) {
  return t.known() && (t.kind == TypeKind::kTensor || t.kind == TypeKind::kSparseTensor) &&
         t.dtype != DType::kUndefined;
}

// Outputs that declare no type or no shape get what inference found.
Status complete_outputs(Model& model) {
  Graph& g = model.graph(model.main());
  g.output_types.resize(g.outputs.size());
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    const Value& v = model.value(g.outputs[i]);
    Type& t = g.output_types[i];
    if (t.known() && (!t.is_tensor() || (t.dtype != DType::kUndefined && t.shape))) continue;
    if (v.type.known() && (!v.type.is_tensor() || v.type.dtype != DType::kUndefined)) t = v.type;
    if (t.known() && (!t.is_tensor() || t.dtype != DType::kUndefined)) continue;
    Finding f;
    f.rule = find_rule("E110");
    f.message = "has no type, and inference finds none";
    f.where = "output " + quoted(v.name);
    return to_error(f);
  }
  return ok();
}

}  // namespace

std::vector<Finding> verify(const Model& model, const VerifyOptions& options) {
  verifying::Verifier v(model, options);
  v.run();
  if (options.lenient) {
    const auto* const order = find_rule("E106");
    const auto* const input = find_rule("E109");
    const auto* const output = find_rule("E110");
    const auto* const deprecated = find_rule("E203");
    // The standard still says what it does: GroupNormalization of 18 to 20, which runtimes take.
    const auto defined = [&](const Node& n) {
      const Schema* s = find_schema(n.domain.view(), n.op.view(), model.opset(n.graph, n.domain));
      return s && !s->outputs.empty() && find_op(n);
    };
    for (Finding& f : v.findings)
      if (f.rule == order || f.rule == output ||
          (f.rule == deprecated && defined(model.node(f.node))) ||
          (f.rule == input && has_element_type(model.value(f.value).declared)))
        f.severity = Severity::kWarning;
  }
  return std::move(v.findings);
}

std::vector<Finding> verify_types(const Model& model, const VerifyOptions& options) {
  verifying::Verifier v(model, options);
  for (uint32_t n = 0; n < model.num_nodes() && !v.full(); ++n)
    if (!model.node(NodeId(n)).removed()) v.check_types(NodeId(n));
  return std::move(v.findings);
}

Result<CheckReport> check_model(Model& model, const VerifyOptions& options,
                                InferOptions infer_options) {
  CheckReport report;
  report.findings = verify(model, options);
  auto structural = [](const Finding& f) {
    return f.severity == Severity::kError && (f.rule->code[1] == '1' || f.rule->code[1] == '4');
  };
  const bool sound = std::none_of(report.findings.begin(), report.findings.end(), structural);
  if (sound && report.findings.size() < options.max_findings) {
    infer_options.strict = !options.lenient;
    infer_options.collect = true;
    infer_options.max_findings = options.max_findings;
    TRY_ASSIGN(InferReport inferred, infer(model, infer_options));
    std::vector<Finding> more = verify_types(model, options);
    report.findings.insert(report.findings.end(), more.begin(), more.end());
    // What a shape rule says of a node with a broken form or broken types is an echo.
    std::unordered_set<uint32_t> blamed;
    for (const Finding& f : report.findings)
      if (f.severity == Severity::kError && f.node.valid()) blamed.insert(f.node.v);
    for (const Finding& f : inferred.findings)
      if (!f.node.valid() || !blamed.count(f.node.v) || f.severity != Severity::kError)
        report.findings.push_back(f);
  }
  std::stable_sort(report.findings.begin(), report.findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  report.truncated = report.findings.size() >= options.max_findings;
  if (report.findings.size() > options.max_findings) report.findings.resize(options.max_findings);
  for (const Finding& f : report.findings) {
    report.errors += f.severity == Severity::kError;
    report.warnings += f.severity == Severity::kWarning;
  }
  return report;
}

Result<InferReport> verify_and_infer(Model& model, const InferOptions& options) {
  VerifyOptions lenient;
  lenient.lenient = true;
  std::vector<Finding> found = verify(model, lenient);
  bool unordered = false;
  for (const Finding& f : found) {
    if (f.severity == Severity::kError) return to_error(f);
    unordered = unordered || f.rule == find_rule("E106");
  }
  if (unordered) TRY(sort_nodes(model));
  TRY_ASSIGN(InferReport report, infer(model, options));
  for (const Finding& f : verify_types(model, lenient))
    if (f.severity == Severity::kError) return to_error(f);
  TRY(complete_outputs(model));
  found.insert(found.end(), report.findings.begin(), report.findings.end());
  report.findings = std::move(found);
  return report;
}

}  // namespace onnxtool
