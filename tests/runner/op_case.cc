// SPDX-License-Identifier: Apache-2.0
// Cases of operators: the same model on every backend, and its types.
#include <algorithm>
#include <regex>

#include "exec/engine.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/infer/interpreter.h"
#include "tests/runner/runner.h"
#include "tests/runner/values.h"

namespace onnxtool::cases {
namespace {

using Outputs = Result<std::vector<Datum>>;

Outputs run_reference(const Model& m, const std::vector<Datum>& inputs) {
  return Interpreter(m).run(inputs);
}

Outputs run_engine(const Model& m, const std::vector<Datum>& inputs) {
  EngineOptions o;
  o.threads = 2;
  TRY_ASSIGN(Engine e, Engine::compile(m, o));
  return e.run(inputs);
}

struct Backend {
  const char* name;
  Outputs (*run)(const Model&, const std::vector<Datum>&);
};
constexpr Backend kBackends[] = {{"reference", run_reference}, {"engine", run_engine}};

std::string without_spaces(std::string s) {
  s.erase(
      std::remove_if(s.begin(), s.end(), [](char c) { return c == ' ' || c == '\n' || c == '\t'; }),
      s.end());
  return s;
}

std::string match_error(const Error& e, const std::string& pattern) {
  if (std::regex_search(e.text(), std::regex(pattern))) return "";
  return format("the error is '{}', expected one like '{}'", e.text(), pattern);
}

Result<std::vector<Datum>> inputs_of(const Case& c, const Model& m) {
  const Graph& g = m.graph(m.main());
  std::vector<Datum> inputs(g.inputs.size());
  for (const Entry& e : c.entries) {
    if (e.key != "input") continue;
    size_t i = 0;
    while (i < g.inputs.size() && m.value(g.inputs[i]).name != e.name) ++i;
    if (i == g.inputs.size())
      return invalid(format("line {}: the model has no input {}", e.line, quoted(e.name)));
    auto v = read_value(e.text);
    if (!v.ok()) return std::move(v).context(format("line {}", e.line)).error();
    inputs[i] = std::move(v).value();
  }
  return inputs;
}

std::string check_outputs(const Case& c, const Model& m, const std::vector<Datum>& got,
                          const Tolerance& t) {
  const Graph& g = m.graph(m.main());
  for (const Entry& e : c.entries) {
    if (e.key != "expect") continue;
    size_t i = 0;
    while (i < g.outputs.size() && m.value(g.outputs[i]).name != e.name) ++i;
    if (i == g.outputs.size())
      return format("line {}: the model has no output {}", e.line, quoted(e.name));
    const auto want = read_value(e.text);
    if (!want.ok()) return format("line {}: {}", e.line, want.error().text());
    if (std::string why = difference(got[i], *want, t); !why.empty())
      return format("{}: {}", e.name, why);
  }
  return "";
}

std::string check_types(const Case& c, const Model& m) {
  Model copy = m.clone();
  const auto report = infer(copy);
  if (!report.ok()) return report.error().text();
  const Graph& g = copy.graph(copy.main());
  for (const Entry& e : c.entries) {
    if (e.key != "type") continue;
    size_t i = 0;
    while (i < g.outputs.size() && copy.value(g.outputs[i]).name != e.name) ++i;
    if (i == g.outputs.size())
      return format("line {}: the model has no output {}", e.line, quoted(e.name));
    const std::string got = report->state->type(g.outputs[i]).text();
    if (without_spaces(got) != without_spaces(e.text))
      return format("{} is inferred as {}, expected {}", e.name, got, without_spaces(e.text));
  }
  return "";
}

void run_version(const Case& c, std::optional<int64_t> opset, std::vector<Verdict>& verdicts) {
  const std::string in_opset = opset ? format("in opset {}: ", *opset) : "";
  const auto say = [&](const char* backend, const std::string& why) {
    verdicts.push_back({backend, why.empty() ? "" : in_opset + why});
  };
  const Entry* error = c.find("error");
  const Entry* text = c.find("model");
  if (text == nullptr) return say("read", "a case needs a model");
  auto model = read_model_text(c, *text, opset);
  if (!model.ok())
    return say("read", error ? match_error(model.error(), error->name) : model.error().text());
  if (error != nullptr) {
    Model copy = model->clone();
    if (auto report = infer(copy); !report.ok())
      return say("infer", match_error(report.error(), error->name));
  } else {
    say("infer", check_types(c, *model));
  }
  if (error == nullptr && c.find("expect") == nullptr) return;
  const auto inputs = inputs_of(c, *model);
  if (!inputs.ok()) return say("read", inputs.error().text());
  const auto tolerance = tolerance_of(c);
  if (!tolerance.ok()) return say("read", tolerance.error().text());
  for (const Backend& b : kBackends) {
    const Outputs got = b.run(*model, *inputs);
    if (error != nullptr)
      say(b.name, got.ok() ? "no error, expected one" : match_error(got.error(), error->name));
    else
      say(b.name, got.ok() ? check_outputs(c, *model, *got, *tolerance) : got.error().text());
  }
}

}  // namespace

std::vector<Verdict> run_op_case(const Case& c) {
  std::vector<Verdict> verdicts;
  for (const Entry& e : c.entries) {  // opset 13 | opset 9..13
    if (e.key != "opset" || e.name.find(' ') != std::string::npos) continue;
    const int64_t first = std::strtoll(e.name.c_str(), nullptr, 10);
    const size_t dots = e.name.find("..");
    const int64_t last =
        dots == std::string::npos ? first : std::strtoll(e.name.c_str() + dots + 2, nullptr, 10);
    for (int64_t v = first; v <= last; ++v) run_version(c, v, verdicts);
    if (first < 1 || last < first) verdicts.push_back({"read", "an opset is N or N..M"});
    return verdicts;
  }
  run_version(c, std::nullopt, verdicts);
  return verdicts;
}

}  // namespace onnxtool::cases
