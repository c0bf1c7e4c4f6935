// SPDX-License-Identifier: Apache-2.0
// Cases of passes: what becomes of a model, and that it computes the same before and after.
#include <algorithm>
#include <cmath>
#include <random>
#include <regex>
#include <sstream>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/interpreter.h"
#include "libonnxtool/onnx/forms.h"
#include "passes/passes.h"
#include "tests/runner/runner.h"
#include "tests/runner/same_graph.h"
#include "tests/runner/values.h"

namespace onnxtool::cases {
namespace {

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> r;
  std::istringstream in(list);
  for (std::string w; std::getline(in, w, ',');) {
    w.erase(std::remove(w.begin(), w.end(), ' '), w.end());
    if (!w.empty()) r.push_back(w);
  }
  std::sort(r.begin(), r.end());
  return r;
}

std::string joined(const std::vector<std::string>& list) {
  std::string s;
  for (const std::string& w : list) s += (s.empty() ? "" : ", ") + w;
  return s;
}

std::vector<std::string> operators(const Model& m) {
  std::vector<std::string> r;
  for (NodeId id : m.graph(m.main()).nodes) {
    const Node& n = m.node(id);
    if (n.removed()) continue;
    r.push_back((n.domain.view().empty() ? "" : std::string(n.domain.view()) + ".") +
                std::string(n.op.view()));
  }
  std::sort(r.begin(), r.end());
  return r;
}

// Values with edges among them: zeros of both signs, ones, small indices; all codes of 8 bit types.
Result<Tensor> generate(DType t, const Dims& dims, std::mt19937& random) {
  TRY_ASSIGN(Tensor out, Tensor::allocate(t, dims));
  const auto n = static_cast<size_t>(out.size());
  if (t == DType::kString) {
    for (std::string& s : out.mut_strings()) s = std::string(random() % 3, 'a');
    return out;
  }
  if (is_float(t)) {
    static constexpr double kEdges[] = {0, -0.0, 1, -1, 0.5, 3, -3};
    std::vector<double> v(n);
    std::uniform_real_distribution<double> uniform(-3, 3);
    for (double& x : v)
      x = random() % 8 == 0 ? kEdges[random() % std::size(kEdges)] : uniform(random);
    return Tensor::from_f64(t, dims, v);
  }
  std::vector<int64_t> v(n);
  for (int64_t& x : v)
    x = t == DType::kBool    ? random() % 2
        : dtype_bits(t) <= 8 ? static_cast<int64_t>(random() % 256)
                             : random() % 4;
  return Tensor::from_i64(t, dims, v);
}

Result<std::vector<Datum>> inputs_for(const Case& c, const Model& m, unsigned seed) {
  std::map<std::string, int64_t> symbols;
  for (const Entry& e : c.entries)
    if (e.key == "dim") symbols[e.name] = std::strtoll(e.text.c_str(), nullptr, 10);
  const Graph& g = m.graph(m.main());
  std::mt19937 random(seed);
  std::vector<Datum> inputs(g.inputs.size());
  for (size_t i = 0; i < g.inputs.size(); ++i) {
    const Value& v = m.value(g.inputs[i]);
    bool given = false;
    for (const Entry& e : c.entries) {
      if (e.key != "input" || e.name != v.name) continue;
      TRY_ASSIGN(inputs[i], read_value(e.text).context(format("line {}", e.line)));
      given = true;
    }
    if (given || v.constant) continue;
    if (!v.declared.is_tensor())
      return invalid(format("input {} needs a value: 'input {} = ...'", quoted(v.name), v.name));
    Dims dims;
    for (const Dim& d : v.declared.shape.value_or(Shape{Dim(), Dim()})) {
      if (d.is_const())
        dims.push_back(d.value());
      else if (d.is_symbol())
        dims.push_back(
            symbols.emplace(d.text(), 2 + static_cast<int64_t>(symbols.size()) % 3).first->second);
      else
        dims.push_back(3);
    }
    TRY_ASSIGN(Tensor t, generate(v.declared.dtype, dims, random));
    inputs[i] = Datum(std::move(t));
  }
  return inputs;
}

// Within 1e-5 of the output's scale (half precision 2e-3), or as the case says.
std::string same_value(const Datum& got, const Datum& want, Tolerance t) {
  if (want.is_tensor() && is_float(want.tensor.dtype()) && t.relative < 0) {
    double scale = 0;
    for (double x : want.tensor.to_f64())
      if (std::isfinite(x)) scale = std::max(scale, std::fabs(x));
    t.relative = dtype_bits(want.tensor.dtype()) >= 32 ? 1e-5 : 2e-3;
    t.absolute = t.relative * scale;
  }
  return difference(got, want, t);
}

std::string same_results(const Case& c, const Model& before, const Model& after) {
  const auto tolerance = tolerance_of(c);
  if (!tolerance.ok()) return tolerance.error().text();
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const auto inputs = inputs_for(c, before, seed);
    if (!inputs.ok()) return inputs.error().text();
    const auto want = Interpreter(before).run(*inputs);
    if (!want.ok()) return "the model does not run before the pass: " + want.error().text();
    const auto got = Interpreter(after).run(*inputs);
    if (!got.ok()) return "the model does not run after the pass: " + got.error().text();
    for (size_t i = 0; i < want->size(); ++i)
      if (std::string why = same_value((*got)[i], (*want)[i], *tolerance); !why.empty())
        return format("output {} changed: {}",
                      quoted(before.value(before.graph(before.main()).outputs[i]).name), why);
  }
  return "";
}

std::string check(const Case& c) {
  const Entry* text = c.find("before");
  if (text == nullptr) return "a case of a pass needs a model: before";
  auto before = read_model_text(c, *text, std::nullopt);
  if (!before.ok()) return before.error().text();
  OptimizeOptions options;
  for (const Entry& e : c.entries) {
    if (e.key == "opset") return "set operator sets in the header of the model";
    if (e.key != "pass") continue;
    std::istringstream in(e.name);
    for (std::string w; std::getline(in, w, ',');)
      options.passes.push_back(w.substr(std::min(w.find_first_not_of(' '), w.size())));
  }
  if (options.passes.size() == 1 && options.passes[0].starts_with("level ")) {
    options.level = options.passes[0].back() - '0';
    options.passes.clear();
  }
  if (const Entry* target = c.find("target")) options.target = target->name;
  if (const Entry* rules = c.find("rules")) {
    auto library = read_model_text(c, *rules, std::nullopt);
    if (!library.ok()) return "rules: " + library.error().text();
    auto set = rules_of(std::make_shared<const Model>(std::move(*library)));
    if (const Entry* error = c.find("error"))
      return set.ok() ? "no error in the rules"
             : std::regex_search(set.error().text(), std::regex(error->name))
                 ? std::string()
                 : format("'{}', expected '{}'", set.error().text(), error->name);
    if (!set.ok()) return "rules: " + set.error().text();
    options.rules = std::make_shared<const RuleSet>(std::move(*set));
  }
  std::vector<std::string> reasons;
  options.runner.keep_log = true;
  options.runner.refused = [&](const Pass&, const std::string&, const std::string& reason) {
    reasons.push_back(reason);
  };
  Model after = before->clone();
  const auto report = optimize(after, options);
  if (!report.ok()) return report.error().text();
  after.compact(after.main());

  // Done is done: the same passes find nothing more.
  Model again = after.clone();
  options.runner.refused = nullptr;
  if (const auto second = optimize(again, options); !second.ok())
    return "the second time: " + second.error().text();
  else if (second->run.edits > 0 && !report->run.limited)
    return format("not at an end: {} by {}", second->run.log[0].node,
                  second->run.log[0].pass->name);

  const Entry* refuse = c.find("refuse");
  const Entry* want = c.find("after");
  const Entry* ops = c.find("ops");
  if (!refuse && !want && !ops && !c.find("nothing"))
    return "a case of a pass needs after, ops, refuse or nothing";
  if (!want && !ops && report->run.edits > 0)
    return format(
        "the model changed: {}",
        report->run.log.empty() ? "" : report->run.log[0].node + ": " + report->run.log[0].note);
  if (refuse && std::none_of(reasons.begin(), reasons.end(), [&](const std::string& r) {
        return std::regex_search(r, std::regex(refuse->name));
      }))
    return reasons.empty()
               ? "nothing was refused"
               : format("refused because '{}', expected '{}'", reasons[0], refuse->name);
  if (ops && operators(after) != words(ops->text.empty() ? ops->name : ops->text))
    return format("operators {}, expected {}", joined(operators(after)), joined(words(ops->name)));
  if (want) {
    const auto expected = read_model_text(c, *want, std::nullopt);
    if (!expected.ok()) return "after: " + expected.error().text();
    if (std::string why = graph_difference(after, *expected); !why.empty()) {
      const auto got = to_text(after);
      return why + (got.ok() ? "\n" + *got : "");
    }
  }
  // As a user gets it: written, and read again.
  const auto bytes = model_bytes(after);
  if (!bytes.ok()) return "the result cannot be written: " + bytes.error().text();
  const auto read = read_model(Bytes::copy(*bytes), "");
  if (!read.ok()) return "the result cannot be read: " + read.error().text();
  return same_results(c, *before, *read);
}

}  // namespace

std::vector<Verdict> run_pass_case(const Case& c) { return {{"pass", check(c)}}; }

}  // namespace onnxtool::cases
