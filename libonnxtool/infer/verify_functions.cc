// SPDX-License-Identifier: Apache-2.0
// Local functions: identity, parameters, recursion, operator sets (verifier.h).
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/verifier.h"

namespace onnxtool::verifying {
namespace {

std::string key_of(std::string_view domain, std::string_view name, std::string_view overload) {
  std::string key(canonical_domain(domain));
  for (std::string_view part : {name, overload}) {
    key += '\0';
    key += part;
  }
  return key;
}

}  // namespace

const Function* Verifier::function_of(const Node& n) {
  if (model.functions.empty()) return nullptr;
  if (!functions_ready_) {
    functions_ready_ = true;
    for (const Function& f : model.functions)
      functions_.emplace(key_of(f.domain, f.name, f.overload), &f);
  }
  auto it = functions_.find(key_of(n.domain.view(), n.op.view(), n.overload));
  return it == functions_.end() ? nullptr : it->second;
}

void Verifier::check_functions() {
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < model.functions.size() && !full(); ++i) {
    const Function& f = model.functions[i];
    const std::string where = format("function {}", quoted(f.name));
    if (!seen.insert(key_of(f.domain, f.name, f.overload)).second)
      add("E401", "there is another of the same domain, name and overload", where, f.body);
    check_function(i);
  }
  if (!model.functions.empty() && model.ir_version > 0 && model.ir_version < 8)
    add("W410", format("the model has functions, but ir_version {}", model.ir_version));
  check_recursion();
}

void Verifier::check_function(size_t index) {
  const Function& f = model.functions[index];
  const std::string where = format("function {}", quoted(f.name));
  if (f.name.empty()) add("E403", "function without a name", where, f.body);
  if (f.domain.empty()) add("E403", "function without a domain", where, f.body);
  check_imports(f.opset_imports, where);
  if (find_schema(f.domain, f.name, INT32_MAX) &&
      is_official(*find_schema(f.domain, f.name, INT32_MAX)))
    add("W409", "has the identity of a standard operator", where, f.body);
  std::unordered_set<std::string_view> names;
  for (const std::string& a : f.attributes)
    if (!names.insert(a).second)
      add("E405", format("attribute {} is listed twice", quoted(a)), where, f.body);
  for (const Attribute& a : f.attribute_defaults)
    if (!names.insert(a.name).second)
      add("E405", format("attribute {} is listed twice", quoted(a.name)), where, f.body);
  if (!f.body.valid()) return;
  std::unordered_set<uint32_t> outputs;
  for (ValueId v : model.graph(f.body).outputs)
    if (v.valid() && !outputs.insert(v.v).second)
      add("E405", format("output {} is listed twice", quoted(model.value(v).name)), where, f.body,
          {}, v);
}

void Verifier::check_recursion() {
  const size_t count = model.functions.size();
  if (count == 0) return;
  std::vector<std::vector<uint32_t>> calls(count);
  for (uint32_t id = 0; id < model.num_nodes(); ++id) {
    const Node& n = model.node(NodeId(id));
    if (n.removed() || !n.graph.valid() || model.graph(n.graph).function < 0) continue;
    const auto home = static_cast<size_t>(model.graph(n.graph).function);
    const Function& f = model.functions[home];
    if (const Function* g = function_of(n)) {
      calls[home].push_back(static_cast<uint32_t>(g - model.functions.data()));
    } else if (const int64_t own = model.opset(n.graph, n.domain),
               outer = model.opset(model.main(), n.domain);
               own != outer && own > 0 && outer > 0) {
      const Schema* a = find_schema(n.domain.view(), n.op.view(), own);
      const Schema* b = find_schema(n.domain.view(), n.op.view(), outer);
      if (a && b && a != b)
        add("E406", NodeId(id),
            format("means version {} in operator set {} of the function, but {} in {} of the model",
                   a->since_version, own, b->since_version, outer));
    }
    for (const Attribute& a : n.attrs) {
      if (a.ref.empty()) continue;
      const bool listed =
          std::find(f.attributes.begin(), f.attributes.end(), a.ref) != f.attributes.end();
      auto def = std::find_if(f.attribute_defaults.begin(), f.attribute_defaults.end(),
                              [&](const Attribute& d) { return d.name == a.ref; });
      if (def != f.attribute_defaults.end() && def->type != a.type)
        add("E407", NodeId(id),
            format("attribute {} is {}, but refers to {} which is {}", quoted(a.name),
                   attr_type_name(a.type), quoted(a.ref), attr_type_name(def->type)));
      else if (!listed && def == f.attribute_defaults.end())
        add("W408", NodeId(id),
            format("attribute {} refers to {}, which the function does not declare", quoted(a.name),
                   quoted(a.ref)));
    }
  }
  // Depth first with an explicit stack: 1 = on the path, 2 = done. The first cycle is reported.
  std::vector<uint8_t> mark(count, 0);
  for (uint32_t start = 0; start < count; ++start) {
    if (mark[start]) continue;
    std::vector<std::pair<uint32_t, size_t>> path{{start, 0}};
    mark[start] = 1;
    while (!path.empty()) {
      auto& [f, next] = path.back();
      if (next == calls[f].size()) {
        mark[f] = 2;
        path.pop_back();
        continue;
      }
      const uint32_t g = calls[f][next++];
      if (mark[g] == 0) {
        mark[g] = 1;
        path.emplace_back(g, 0);
      } else if (mark[g] == 1) {
        std::string names;
        bool on = false;
        size_t shown = 0;
        for (const auto& [h, unused] : path) {
          on = on || h == g;
          if (on && shown++ < 6) names += quoted(model.functions[h].name) + " calls ";
        }
        if (shown > 6) names += "... calls ";
        add("E402", names + quoted(model.functions[g].name),
            format("function {}", quoted(model.functions[g].name)), model.functions[g].body);
        return;
      }
    }
  }
}

}  // namespace onnxtool::verifying
