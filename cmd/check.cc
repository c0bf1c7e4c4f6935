// SPDX-License-Identifier: Apache-2.0
// onnxtool check: is this a valid model, and what is odd about it.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "cmd/libraries.h"
#include "cmd/output.h"
#include "libonnxtool/infer/verify.h"
#include "libonnxtool/onnx/load.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::vector<std::string> models;
  std::string format = "text";
  bool json = false, strict = false;
  size_t limit = 100;
};

struct Checked {
  std::string path;
  std::vector<Finding> findings;
  std::string unreadable;  // why, when the model could not be read at all
  Code code = Code::kInvalid;
  size_t errors = 0, warnings = 0;
  bool truncated = false;
};

Checked check_one(const std::string& path, const Options& o, const GlobalOptions& global) {
  Checked c;
  c.path = path;
  const auto unreadable = [&](const Error& e) {
    c.unreadable = e.text();
    c.code = e.code;
    c.errors = 1;
    return c;
  };
  auto model = load_for(global, path);
  if (!model.ok()) return unreadable(model.error());
  VerifyOptions v;
  v.max_findings = o.limit;
  auto report = check_model(*model, v);
  if (!report.ok()) return unreadable(std::move(report).context(escape(path, 200)).error());
  c.findings = std::move(report->findings);
  c.errors = report->errors;
  c.warnings = report->warnings;
  c.truncated = report->truncated;
  if (o.strict && c.warnings > 0) {
    for (Finding& f : c.findings)
      if (f.severity == Severity::kWarning) f.severity = Severity::kError;
    c.errors += c.warnings;
    c.warnings = 0;
  }
  return c;
}

std::string dump(const Json& j) {
  return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void print_text(const Checked& c, const GlobalOptions& global) {
  for (const Finding& f : c.findings)
    if (!global.quiet || f.severity == Severity::kError)
      print(format("{}: {}: {}\n", escape(c.path, 200),
                   painted(global, STDOUT_FILENO, severity_name(f.severity)),
                   escape(f.text(), 600)));
  if (global.quiet) return;
  if (c.errors == 0 && c.warnings == 0)
    print(format("{}: ok\n", escape(c.path, 200)));
  else
    print(format("{}: {} error{}, {} warning{}{}\n", escape(c.path, 200), c.errors,
                 c.errors == 1 ? "" : "s", c.warnings, c.warnings == 1 ? "" : "s",
                 c.truncated ? " (more were not listed)" : ""));
}

Json to_json(const std::vector<Checked>& all) {
  Json j = {{"models", Json::array()}};
  for (const Checked& c : all) {
    Json m = {{"model", c.path},
              {"valid", c.errors == 0},
              {"errors", c.errors},
              {"warnings", c.warnings},
              {"findings", Json::array()}};
    if (!c.unreadable.empty()) m["unreadable"] = c.unreadable;
    for (const Finding& f : c.findings)
      m["findings"].push_back({{"code", f.rule ? f.rule->code : ""},
                               {"rule", f.rule ? f.rule->name : ""},
                               {"severity", severity_name(f.severity)},
                               {"where", f.where},
                               {"message", f.message}});
    j["models"].push_back(std::move(m));
  }
  return j;
}

// SARIF 2.1.0 (OASIS), as code hosts read it.
Json to_sarif(const std::vector<Checked>& all) {
  Json rules = Json::array(), results = Json::array();
  for (const Rule& r : all_rules())
    rules.push_back(
        {{"id", r.code}, {"name", r.name}, {"shortDescription", {{"text", r.explanation}}}});
  const auto result = [&](const std::string& path, const std::string& id, const char* level,
                          const std::string& text) {
    results.push_back(
        {{"ruleId", id},
         {"level", level},
         {"message", {{"text", text}}},
         {"locations", {{{"physicalLocation", {{"artifactLocation", {{"uri", path}}}}}}}}});
  };
  for (const Checked& c : all) {
    if (!c.unreadable.empty()) result(c.path, "unreadable", "error", c.unreadable);
    for (const Finding& f : c.findings)
      result(c.path, f.rule ? f.rule->code : "",
             f.severity == Severity::kError     ? "error"
             : f.severity == Severity::kWarning ? "warning"
                                                : "note",
             f.where.empty() ? f.message : f.where + ": " + f.message);
  }
  return {
      {"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
      {"version", "2.1.0"},
      {"runs",
       {{{"tool",
          {{"driver", {{"name", "onnxtool"}, {"version", ONNXTOOL_VERSION}, {"rules", rules}}}}},
         {"results", results}}}}};
}

// Workflow commands of GitHub Actions: property values and messages have escapes of their own.
void print_github(const Checked& c) {
  const auto escaped = [](const std::string& s) {
    std::string r;
    for (char ch : s)
      r += ch == '%' ? "%25" : ch == '\n' ? "%0A" : ch == '\r' ? "%0D" : std::string(1, ch);
    return r;
  };
  const auto line = [&](const char* level, const std::string& title, const std::string& text) {
    print(format("::{} file={},title={}::{}\n", level, escaped(escape(c.path, 200)), title,
                 escaped(escape(text, 600))));
  };
  if (!c.unreadable.empty()) line("error", "unreadable", c.unreadable);
  for (const Finding& f : c.findings)
    line(f.severity == Severity::kError     ? "error"
         : f.severity == Severity::kWarning ? "warning"
                                            : "notice",
         f.rule ? f.rule->code : "", f.text());
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->models, "models to check; - is standard input")
      ->required()
      ->type_name("MODEL");
  app.add_option("--format", o->format,
                 "text, json, sarif or github (annotations of a workflow run)")
      ->check(CLI::IsMember({"text", "json", "sarif", "github"}))
      ->type_name("FORM")
      ->capture_default_str();
  app.add_flag("--json", o->json, "the same as --format json");
  app.add_flag("--strict", o->strict, "warnings count as errors");
  app.add_option("--max-findings", o->limit, "stop after so many findings a model")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N")
      ->capture_default_str();
  return [o, &global]() -> Status {
    if (o->json) o->format = "json";
    std::vector<Checked> all;
    Code worst = Code::kNegative;
    bool bad = false;
    for (const std::string& path : o->models) {
      all.push_back(check_one(path, *o, global));
      const Checked& c = all.back();
      bad |= c.errors > 0;
      if (!c.unreadable.empty()) worst = worst == Code::kNegative ? c.code : worst;
      if (o->format == "text") {
        if (!c.unreadable.empty())
          print_error(global, c.unreadable);
        else
          print_text(c, global);
      } else if (o->format == "github") {
        print_github(c);
      }
    }
    if (o->format == "json") print(dump(to_json(all)));
    if (o->format == "sarif") print(dump(to_sarif(all)));
    return bad ? Status(make_error(worst, "")) : ok();
  };
}

}  // namespace

extern const Command cmd_check;
const Command cmd_check = {
    .name = "check",
    .group = "Models",
    .summary = "check models against the specification, types and shapes",
    .examples =
        "  onnxtool check model.onnx\n"
        "  onnxtool check --strict --format sarif models/*.onnx > findings.sarif\n"
        "  cat model.onnx | onnxtool check - --json\n",
    .setup = setup,
};

}  // namespace onnxtool
