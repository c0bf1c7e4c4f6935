// SPDX-License-Identifier: Apache-2.0
// Every type that a schema allows runs: valid nodes with their inputs in each other type must be
// evaluated too, and no engine may say that something is not supported.
//
// usage: all_types [-v] FOLDER|FILE.test...     FOLDER: text cases, or official cases
#include <cstdio>
#include <map>
#include <set>

#include "exec/engine.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/evaluate.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/schema.h"
#include "tests/fuzz/nodes/seeds.h"

using namespace onnxtool;

namespace {

// The node alone, all of its inputs given to the graph.
Model model_of(const fuzz::NodeCase& n) {
  Model m = n.model.clone();
  const GraphId g = m.main();
  for (size_t i = 0; i < n.inputs.size(); ++i)
    if (n.inputs[i].has_value())
      m.set_input(n.node, i, m.add_input(g, m.unique_name("in"), type_of(n.inputs[i])));
  for (const ValueId v : m.node(n.node).outputs())
    if (v.valid()) m.value(v).type = m.value(v).declared = Type();
  for (Type& t : m.graph(g).output_types) t = Type();
  return m;
}

Status run(const fuzz::NodeCase& n, bool engine) {
  if (!engine) {
    auto r = evaluate_node(n.model, n.model.node(n.node), n.inputs, EvalBudget());
    return r.ok() ? ok() : Status(r.error());
  }
  const Model m = model_of(n);
  TRY_ASSIGN(Engine e, Engine::compile(m, EngineOptions()));
  const Graph& g = m.graph(m.main());
  std::vector<Datum> inputs(g.inputs.size());
  for (size_t k = 0; k < g.inputs.size(); ++k)
    if (const auto it = n.outer.find(g.inputs[k].v); it != n.outer.end()) inputs[k] = it->second;
  for (size_t i = 0; i < n.inputs.size(); ++i)
    for (size_t k = 0; n.inputs[i].has_value() && k < g.inputs.size(); ++k)
      if (g.inputs[k] == m.node(n.node).input(i)) inputs[k] = n.inputs[i];
  auto r = e.run(inputs);
  return r.ok() ? ok() : Status(r.error());
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> paths;
  bool verbose = false;
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "-v")
      verbose = true;
    else
      paths.emplace_back(argv[i]);
  std::map<std::string, std::pair<int, std::string>> faults;  // by operator, type and message
  std::map<std::string, int> tried;
  int64_t runs = 0;
  for (const fuzz::Seed& seed : fuzz::seeds_of(paths)) {
    const Node& node = seed.node.model.node(seed.node.node);
    const Schema* s = find_schema(node.domain.view(), node.op.view(), node.version);
    const OpDef* def = find_op(node);
    // Bodies are of one type; what they compute is checked for itself.
    if (s == nullptr || def == nullptr || (def->flags & kControlFlow) != 0 ||
        !run(seed.node, false).ok())
      continue;
    std::set<std::string_view> constraints;
    for (size_t i = 0; i < seed.node.inputs.size(); ++i)
      if (s->input(i) != nullptr) constraints.insert(s->input(i)->type);
    for (const std::string_view name : constraints)
      for (int k = 1; k < kDTypeCount; ++k) {
        const DType t = static_cast<DType>(k);
        fuzz::NodeCase n{seed.node.model.clone(), seed.node.node, seed.node.inputs,
                         seed.node.outer};
        fuzz::Choices c(nullptr, 0);
        bool changed = false;
        for (size_t i = 0; i < n.inputs.size(); ++i) {
          const ParamSpec* p = s->input(i);
          if (p == nullptr || p->type != name || !n.inputs[i].is_tensor()) continue;
          if (!tensor_allowed(s->types_of(*p), t) || n.inputs[i].tensor.dtype() == t) continue;
          n.inputs[i] = fuzz::converted(c, n.inputs[i].tensor, t);
          changed = true;
        }
        // Two seeds of a kind are enough.
        if (!changed || ++tried[format("{} {} {} {}", s->name, s->since_version, name, k)] > 2)
          continue;
        for (const bool engine : {false, true}) {
          ++runs;
          const Status r = run(n, engine);
          if (r.ok()) continue;
          const bool too_long = r.error().message.find("too long") != std::string::npos;
          const bool unsupported = r.error().code == Code::kUnsupported && !too_long;
          if (!unsupported && !verbose) continue;
          auto& f = faults[format("{}-{} {} = {}, {}: {}", escape(node.op.view()), node.version,
                                  name, dtype_name(t), engine ? "engine" : "reference",
                                  r.error().text().substr(0, 200))];
          ++f.first;
          f.second = seed.name;
        }
      }
  }
  for (const auto& [text, f] : faults)
    std::printf("%s (%d cases, like %s)\n", text.c_str(), f.first, f.second.c_str());
  std::printf("%lld runs, %zu faults\n", static_cast<long long>(runs), faults.size());
  return faults.empty() ? 0 : 1;
}
