// SPDX-License-Identifier: Apache-2.0
// onnxtool list: every table that the code holds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "cmd/output.h"
#include "exec/plan/kernel.h"
#include "libonnxtool/infer/finding.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

// Each function gives a head and rows; JSON objects take their keys from the head.
Rows list_ops() {
  Rows rows = {{"domain", "operator", "versions", "shape rule", "reference", "cpu kernels"}};
  std::map<std::string, std::string> kernels;
  for (const KernelTable* t : all_cpu_kernels())
    for (size_t i = 0; i < t->count; ++i) {
      std::string_view ops = t->kernels[i].ops;
      while (!ops.empty()) {
        const size_t space = std::min(ops.find(' '), ops.size());
        std::string& k = kernels[std::string(ops.substr(0, space))];
        k += (k.empty() ? "" : " ") + std::string(t->kernels[i].name);
        ops.remove_prefix(std::min(space + 1, ops.size()));
      }
    }
  const auto kernels_of = [&](std::string_view domain, std::string_view op) {
    const auto k =
        kernels.find((domain.empty() ? "" : std::string(domain) + ".") + std::string(op));
    return k == kernels.end() ? "" : k->second;
  };
  const auto add = [&](std::span<const Schema> schemas) {
    for (size_t i = 0; i < schemas.size(); ++i) {
      const Schema& s = schemas[i];
      std::string versions = std::to_string(s.since_version);
      while (i + 1 < schemas.size() && std::string_view(schemas[i + 1].name) == s.name &&
             std::string_view(schemas[i + 1].domain) == s.domain) {
        ++i;
        versions += " " + std::to_string(schemas[i].since_version) +
                    (schemas[i].deprecated ? " (deprecated)" : "");
      }
      const OpDef* def = find_op(Sym(s.domain), Sym(s.name));
      const std::string_view dom = s.domain;
      rows.push_back({dom.empty() ? "ai.onnx" : std::string(dom), s.name, versions,
                      def && def->infer ? "yes" : "no", def && def->eval ? "yes" : "no",
                      kernels_of(dom, s.name)});
    }
  };
  add(official_schemas());
  add(contrib_schemas());
  for (const OpTable* t : all_op_tables())  // what has no schema: domains of one's own
    for (const OpDef& def : std::span(t->ops, t->count))
      if (schema_versions(def.domain, def.name).empty())
        rows.push_back({*def.domain ? def.domain : "ai.onnx", def.name, "",
                        def.infer ? "yes" : "no", def.eval ? "yes" : "no",
                        kernels_of(def.domain, def.name)});
  return rows;
}

Rows list_passes() {
  Rows rows = {{"pass", "summary", "doc"}};
  for (const Pass* p : all_passes()) rows.push_back({p->name, p->summary, p->doc});
  std::sort(rows.begin() + 1, rows.end());
  return rows;
}

Rows list_kernels() {
  Rows rows = {{"kernel", "rank", "operators"}};
  for (const KernelTable* t : all_cpu_kernels())
    for (size_t i = 0; i < t->count; ++i)
      rows.push_back(
          {t->kernels[i].name, std::to_string(t->kernels[i].rank), std::string(t->kernels[i].ops)});
  std::sort(rows.begin() + 1, rows.end());
  return rows;
}

Rows list_rules() {
  Rows rows = {{"code", "rule", "severity", "explanation"}};
  for (const Rule& r : all_rules())
    rows.push_back({r.code, r.name, severity_name(r.severity), r.explanation});
  return rows;
}

Rows list_commands() {
  Rows rows = {{"command", "group", "summary"}};
  for (const Command* c : all_commands()) rows.push_back({c->name, c->group, c->summary});
  return rows;
}

constexpr std::pair<const char*, Rows (*)()> kTables[] = {{"commands", list_commands},
                                                          {"kernels", list_kernels},
                                                          {"ops", list_ops},
                                                          {"passes", list_passes},
                                                          {"rules", list_rules}};

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  struct Options {
    std::string what;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  std::vector<std::string> names;
  for (const auto& [name, _] : kTables) names.emplace_back(name);
  app.add_option("what", o->what, "commands, kernels, ops, passes or rules (of check)")
      ->required()
      ->check(CLI::IsMember(names))
      ->type_name("WHAT");
  app.add_flag("--json", o->json, "print a JSON document");
  return [o]() -> Status {
    for (const auto& [name, make] : kTables) {
      if (o->what != name) continue;
      Rows rows = make();
      if (!o->json) {
        if (rows[0].back() == "doc")  // some lines of text: for JSON and the man page
          for (auto& row : rows) row.pop_back();
        print(table(rows));
        return ok();
      }
      Json j = Json::array();
      for (size_t i = 1; i < rows.size(); ++i) {
        Json row;
        for (size_t k = 0; k < rows[0].size(); ++k) row[rows[0][k]] = rows[i][k];
        j.push_back(std::move(row));
      }
      print(j.dump(2) + "\n");
      return ok();
    }
    return usage_error("nothing to list");
  };
}

}  // namespace

extern const Command cmd_list;
const Command cmd_list = {
    .name = "list",
    .group = "About",
    .summary = "list operators, passes, kernels, rules or commands",
    .examples =
        "  onnxtool list ops | grep Conv\n"
        "  onnxtool list passes --json\n",
    .setup = setup,
};

}  // namespace onnxtool
