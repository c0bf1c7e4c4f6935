// SPDX-License-Identifier: Apache-2.0
// onnxtool list: every table that the code holds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "cmd/op_table.h"
#include "cmd/output.h"
#include "exec/plan/kernel.h"
#include "libonnxtool/infer/finding.h"
#include "libonnxtool/rewrite/pass.h"
#include "passes/passes.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

std::string joined(const std::vector<std::string>& words) {
  std::string s;
  for (const std::string& w : words) s += (s.empty() ? "" : " ") + w;
  return s;
}

Rows list_ops() {
  Rows rows = {
      {"domain", "operator", "versions", "types", "shape", "reference", "cpu", "cuda", "cases"}};
  const auto mark = [](bool b) { return std::string(b ? "yes" : "-"); };
  for (const OpRow& r : op_table())
    rows.push_back({r.domain.empty() ? "ai.onnx" : r.domain, r.name, versions_text(r),
                    types_text(r), mark(r.shape_rule), mark(r.reference),
                    r.cpu.empty() ? "-" : joined(r.cpu), r.cuda.empty() ? "-" : joined(r.cuda),
                    std::to_string(r.cases)});
  return rows;
}

Json json_ops() {
  Json all = Json::array();
  for (const OpRow& r : op_table()) {
    Json j;
    j["domain"] = r.domain.empty() ? "ai.onnx" : r.domain;
    j["operator"] = r.name;
    j["versions"] = Json::array();
    for (const Schema* s : r.versions) j["versions"].push_back(s->since_version);
    j["deprecated"] = !r.versions.empty() && r.versions.back()->deprecated;
    j["types"] = r.types;
    j["shape_rule"] = r.shape_rule;
    j["reference"] = r.reference;
    j["cpu"] = r.cpu;
    j["cuda"] = r.cuda;
    j["cases"] = r.cases;
    all.push_back(std::move(j));
  }
  return all;
}

// Each function gives a head and rows; JSON objects take their keys from the head, or come from a
// function of their own.
Rows list_passes() {
  Rows rows = {{"pass", "level", "target", "summary", "doc"}};
  for (const Pipeline& line : pipelines())
    for (const Pass* p : line.passes)
      rows.push_back(
          {p->name, std::to_string(line.level), p->target ? p->target : "", p->summary, p->doc});
  std::sort(rows.begin() + 1, rows.end());
  return rows;
}

Rows list_targets() {
  Rows rows = {{"target", "summary", "lacks"}};
  for (const Target& t : targets()) {
    std::string lacks;
    for (const char* op : t.lacks) lacks += (lacks.empty() ? "" : " ") + std::string(op);
    rows.push_back({t.name, t.summary, lacks});
  }
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

struct Table {
  const char* name;
  Rows (*rows)();
  Json (*json)() = nullptr;
};
constexpr Table kTables[] = {{"commands", list_commands}, {"kernels", list_kernels},
                             {"ops", list_ops, json_ops}, {"passes", list_passes},
                             {"rules", list_rules},       {"targets", list_targets}};

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  struct Options {
    std::string what;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  std::vector<std::string> names;
  for (const Table& t : kTables) names.emplace_back(t.name);
  app.add_option("what", o->what,
                 "commands, kernels, ops, passes, rules (of check) or targets (of optimize)")
      ->required()
      ->check(CLI::IsMember(names))
      ->type_name("WHAT");
  app.add_flag("--json", o->json, "print a JSON document");
  return [o]() -> Status {
    for (const Table& t : kTables) {
      if (o->what != t.name) continue;
      if (o->json && t.json) {
        print(t.json().dump(2) + "\n");
        return ok();
      }
      Rows rows = t.rows();
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
    .summary = "list operators, passes, kernels, rules, targets or commands",
    .examples =
        "  onnxtool list ops | grep Conv\n"
        "  onnxtool list passes --json\n",
    .setup = setup,
};

}  // namespace onnxtool
