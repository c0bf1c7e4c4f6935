// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <utility>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/inline.h"
#include "libonnxtool/ops/lift.h"
#include "passes/functions.h"
#include "passes/passes.h"

namespace onnxtool {
namespace {

constexpr int64_t kMostInlined = 200'000;  // nodes

// Listed inputs with a default become plain constants; gives them in the order of the inputs.
std::vector<ValueId> take_defaults(Model& m) {
  Graph& main = m.graph(m.main());
  std::vector<ValueId> taken;
  std::erase_if(main.inputs, [&](ValueId v) {
    Value& value = m.value(v);
    if (!value.constant || !value.constant->dense.tensor.defined()) return false;
    const Tensor& t = value.constant->dense.tensor;
    const Type type = Type::tensor(t.dtype(), to_shape(t.dims()));
    if (!merge(value.declared, type)) return false;  // an invalid model: left as it is
    value.kind = ValueKind::kInitializer;
    value.type = type;
    taken.push_back(v);
    return true;
  });
  return taken;
}

// Domains of operators that passes may make, imported while they run.
class ForeignDomains {
 public:
  explicit ForeignDomains(Model& m) : m_(m) {}
  void add(Sym domain, int64_t version) {
    if (domain.view().empty() || m_.opset(m_.main(), domain) > 0) return;
    OpsetImport import;
    import.domain = import.spelled = domain;
    import.version = version;
    m_.opset_imports.push_back(import);
    added_.push_back(domain);
  }
  ~ForeignDomains() {
    for (Sym d : added_) {
      bool used = false;
      for (uint32_t i = 0; i < m_.num_nodes() && !used; ++i)
        used = !m_.node(NodeId(i)).removed() && m_.node(NodeId(i)).domain == d;
      if (!used)
        std::erase_if(m_.opset_imports, [&](const OpsetImport& o) { return o.domain == d; });
    }
  }
  ForeignDomains(const ForeignDomains&) = delete;
  ForeignDomains& operator=(const ForeignDomains&) = delete;

 private:
  Model& m_;
  std::vector<Sym> added_;
};

// What is left of them goes back to its place among the inputs.
void give_back(Model& m, const std::vector<ValueId>& order, const std::vector<ValueId>& taken) {
  std::vector<ValueId> inputs;
  Graph& main = m.graph(m.main());
  for (ValueId v : order) {
    if (std::find(taken.begin(), taken.end(), v) != taken.end()) {
      Value& value = m.value(v);
      if (value.kind != ValueKind::kInitializer || !value.constant) continue;
      value.kind = ValueKind::kInput;
    }
    inputs.push_back(v);
  }
  main.inputs = std::move(inputs);
}

}  // namespace

size_t count_nodes(const Model& model) {
  size_t count = 0;
  for (size_t i = 0; i < model.num_nodes(); ++i) {
    const Node& n = model.node(NodeId(static_cast<uint32_t>(i)));
    if (!n.removed() && model.graph(n.graph).function < 0) ++count;
  }
  return count;
}

Result<std::vector<const Pass*>> selected_passes(const OptimizeOptions& options) {
  std::vector<const Pass*> r;
  const auto add = [&](std::string_view name) -> Status {
    const Pass* p = find_pass(name);
    if (!p) return usage_error(format("no pass is named {}", quoted(name)));
    if (std::find(options.skip.begin(), options.skip.end(), name) != options.skip.end())
      return ok();
    if (std::find(r.begin(), r.end(), p) == r.end()) r.push_back(p);
    return ok();
  };
  for (const std::string& s : options.skip)
    if (!find_pass(s)) return usage_error(format("no pass is named {}", quoted(s)));
  for (const std::string& s : options.passes) TRY(add(s));
  if (options.passes.empty())
    for (const Pipeline& p : pipelines())
      if (p.level <= options.level)
        for (const Pass* pass : p.passes)
          if (!pass->target || pass->target == options.target) TRY(add(pass->name));
  if (options.rules)
    for (size_t i = 0; i < options.rules->passes.size(); ++i)
      r.insert(r.begin() + static_cast<std::ptrdiff_t>(i), options.rules->passes[i].get());
  return r;
}

namespace {

// All nodes of the file, with those of local functions.
size_t all_nodes(const Model& model) {
  size_t count = 0;
  for (uint32_t i = 0; i < model.num_nodes(); ++i)
    count += !model.node(NodeId(i)).removed() && !model.graph(model.node(NodeId(i)).graph).removed;
  return count;
}

// Everything that functions held can be written for the model's own operator sets.
bool writable(const Model& model) {
  for (uint32_t i = 0; i < model.num_nodes(); ++i) {
    const Node& n = model.node(NodeId(i));
    if (n.removed() || n.version == 0) continue;
    if (!can_lower(model, NodeId(i), model.opset(n.graph, n.domain)).ok()) return false;
  }
  return true;
}

Result<OptimizeReport> optimize_as_it_is(Model& model, const OptimizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  OptimizeReport report;
  RunnerOptions runner = options.runner;
  TRY_ASSIGN(runner.passes, selected_passes(options));
  const Target* target = find_target(options.target);
  if (!target) return usage_error(format("no target is named {}", quoted(options.target)));
  runner.unwanted.assign(target->lacks.begin(), target->lacks.end());
  report.nodes_before = report.nodes_after = count_nodes(model);
  if (model.num_graphs() == 0) return report;
  const std::vector<ValueId> order = model.graph(model.main()).inputs;
  std::vector<ValueId> defaults;
  if (options.fold_defaults || (model.ir_version < 4 && !options.keep_defaults))
    defaults = take_defaults(model);
  const size_t values = model.num_values();
  ForeignDomains foreign(model);
  foreign.add(target->domain, 1);
  if (options.rules)
    for (const OpsetImport& o : options.rules->imports) foreign.add(o.domain, o.version);
  // As if they were results: passes leave these alone.
  std::vector<ValueId> held;
  for (ValueId v : options.keep)
    if (!std::exchange(model.value(v).graph_output, true)) held.push_back(v);
  auto run = run_passes(model, runner);
  for (ValueId v : held) model.value(v).graph_output = false;
  // Initializers that are no inputs came with IR version 4.
  if (model.ir_version > 0 && model.ir_version < 4)
    for (size_t v = values; v < model.num_values() && model.ir_version < 4; ++v)
      if (model.value(ValueId(static_cast<uint32_t>(v))).is_constant()) model.ir_version = 4;
  // From that version on, an initializer among the inputs is one that a caller may replace.
  if (model.ir_version < 4) give_back(model, order, defaults);
  if (!run.ok() && options.rules && run.error().code == Code::kInternal)
    return invalid("the rules undo each other, or make what they look for");
  if (!run.ok()) return std::move(run).error();
  report.run = std::move(*run);
  if (std::any_of(runner.passes.begin(), runner.passes.end(),
                  [](const Pass* p) { return p->name == std::string_view("eliminate-dead-code"); }))
    drop_unused_functions(model);
  report.nodes_after = count_nodes(model);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace

Result<OptimizeReport> optimize(Model& model, const OptimizeOptions& options) {
  using How = OptimizeOptions::Inline;
  const bool wanted =
      options.inlining == How::kAlways ||
      (options.inlining == How::kAuto && options.level >= 2 && options.passes.empty());
  if (!wanted || model.functions.empty()) return optimize_as_it_is(model, options);
  const auto start = std::chrono::steady_clock::now();
  const size_t before = count_nodes(model);
  Model inlined = model.clone();
  const auto calls = inline_functions(inlined, {.max_nodes = kMostInlined});
  if (options.inlining == How::kAlways) TRY(calls);
  if (!calls.ok() || (options.inlining == How::kAuto && !writable(inlined)))
    return optimize_as_it_is(model, options);
  TRY_ASSIGN(OptimizeReport report, optimize_as_it_is(inlined, options));
  if (options.inlining == How::kAuto) {
    TRY_ASSIGN(OptimizeReport with_calls, optimize_as_it_is(model, options));
    if (all_nodes(inlined) > all_nodes(model)) return with_calls;
  }
  model = std::move(inlined);
  report.inlined = true;
  report.nodes_before = before;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace onnxtool
