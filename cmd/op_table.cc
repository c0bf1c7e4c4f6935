// SPDX-License-Identifier: Apache-2.0
#include "cmd/op_table.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "exec/device_plugin.h"
#include "exec/plan/eltwise.h"
#include "exec/plan/kernel.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

using Kernels = std::map<std::string, std::vector<std::string>, std::less<>>;

void add_kernels(Kernels& by_op, const KernelTable& t) {
  for (size_t i = 0; i < t.count; ++i) {
    std::string_view ops = t.kernels[i].ops;
    while (!ops.empty()) {
      const size_t space = std::min(ops.find(' '), ops.size());
      auto& list = by_op[std::string(ops.substr(0, space))];
      if (std::find(list.begin(), list.end(), t.kernels[i].name) == list.end())
        list.emplace_back(t.kernels[i].name);
      ops.remove_prefix(std::min(space + 1, ops.size()));
    }
  }
}

Kernels kernels_of(std::span<const KernelTable* const> tables) {
  Kernels by_op;
  if (tables.empty()) return by_op;
  for (const KernelTable* t : tables) add_kernels(by_op, *t);
  add_kernels(by_op, plan_views);
  for (std::string_view op : elementwise_ops()) by_op[std::string(op)].emplace_back("elementwise");
  return by_op;
}

std::vector<std::string> types_of(const Schema& s) {
  if (!s.inputs.empty()) return type_strings(s.types_of(s.inputs[0]));
  if (!s.outputs.empty()) return type_strings(s.types_of(s.outputs[0]));
  return {};
}

// Words for several element types at once, tried in this order.
struct Group {
  const char* word;
  std::vector<std::string_view> types;
};
const Group kGroups[] = {
    {"floats", {"float16", "float", "double"}},
    {"ints", {"int8", "int16", "int32", "int64"}},
    {"uints", {"uint8", "uint16", "uint32", "uint64"}},
    {"float8", {"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"}},
    {"complex", {"complex64", "complex128"}},
};

}  // namespace

std::vector<OpRow> op_table() {
  const Kernels cpu = kernels_of(all_cpu_kernels()), cuda = kernels_of(device_kernels());
  std::vector<OpRow> rows;
  const auto finish = [&](OpRow row) {
    const OpDef* def = find_op(Sym(row.domain), Sym(row.name));
    row.shape_rule = def != nullptr && def->infer != nullptr;
    row.reference = def != nullptr && def->eval != nullptr;
    const std::string key = (row.domain.empty() ? "" : row.domain + ".") + row.name;
    if (const auto k = cpu.find(key); k != cpu.end()) row.cpu = k->second;
    if (const auto k = cuda.find(key); k != cuda.end()) row.cuda = k->second;
    const auto all = op_cases();
    const auto c = std::lower_bound(
        all.begin(), all.end(), key,
        [](const OpCases& a, const std::string& b) { return std::strcmp(a.op, b.c_str()) < 0; });
    if (c != all.end() && key == c->op) row.cases = c->cases;
    rows.push_back(std::move(row));
  };
  const auto add = [&](std::span<const Schema> schemas) {
    for (size_t i = 0; i < schemas.size(); ++i) {
      OpRow row;
      row.domain = schemas[i].domain;
      row.name = schemas[i].name;
      row.versions.push_back(&schemas[i]);
      while (i + 1 < schemas.size() && row.name == schemas[i + 1].name &&
             row.domain == schemas[i + 1].domain)
        row.versions.push_back(&schemas[++i]);
      const auto newest = std::find_if(row.versions.rbegin(), row.versions.rend(),
                                       [](const Schema* s) { return !s->deprecated; });
      if (newest != row.versions.rend()) row.types = types_of(**newest);
      finish(std::move(row));
    }
  };
  add(official_schemas());
  add(contrib_schemas());
  for (const OpTable* t : all_op_tables())
    for (const OpDef& def : std::span(t->ops, t->count))
      if (schema_versions(def.domain, def.name).empty()) {
        OpRow row;
        row.domain = def.domain;
        row.name = def.name;
        finish(std::move(row));
      }
  return rows;
}

std::string versions_text(const OpRow& row) {
  std::string s;
  for (const Schema* v : row.versions)
    s += (s.empty() ? "" : " ") + std::to_string(v->since_version) +
         (v->deprecated ? " (deprecated)" : "");
  return s;
}

std::string types_text(const OpRow& row) {
  std::vector<std::string> tensors, words;
  bool sequences = false, optionals = false, others = false;
  for (const std::string& t : row.types) {
    if (t.rfind("tensor(", 0) == 0)
      tensors.push_back(t.substr(7, t.size() - 8));
    else if (t.rfind("seq(", 0) == 0)
      sequences = true;
    else if (t.rfind("optional(", 0) == 0)
      optionals = true;
    else
      others = true;
  }
  constexpr size_t kAll = kDTypeCount - 1;
  if (tensors.size() == kAll) {
    words.emplace_back("any");
    tensors.clear();
  }
  for (const Group& g : kGroups) {
    const auto in = [&](std::string_view t) {
      return std::find(tensors.begin(), tensors.end(), t) != tensors.end();
    };
    if (!std::all_of(g.types.begin(), g.types.end(), in)) continue;
    words.emplace_back(g.word);
    std::erase_if(tensors, [&](const std::string& t) {
      return std::find(g.types.begin(), g.types.end(), t) != g.types.end();
    });
  }
  words.insert(words.end(), tensors.begin(), tensors.end());
  if (sequences) words.emplace_back("sequences");
  if (optionals) words.emplace_back("optionals");
  if (others) words.emplace_back("maps");
  std::string s;
  for (const std::string& w : words) s += (s.empty() ? "" : " ") + w;
  return s;
}

}  // namespace onnxtool
