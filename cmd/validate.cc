// SPDX-License-Identifier: Apache-2.0
// onnxtool validate: recorded test sets, recorded values, or a model against another one.
#include <dirent.h>
#include <sys/stat.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>

#include "cmd/feeds.h"
#include "cmd/libraries.h"
#include "cmd/output.h"
#include "cmd/prepare.h"
#include "exec/engine.h"
#include "libonnxtool/onnx/data.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Options {
  std::vector<std::string> targets;
  std::string expected, reference, backend = "engine", device = "cpu";
  FeedOptions feeds;
  double rtol = -1, atol = -1, tolerance = -1;  // below 0: not given
  double relative() const { return rtol >= 0 ? rtol : 1e-3; }
  double absolute() const { return atol >= 0 ? atol : 1e-7; }
  bool json = false, list = false;
};

struct Outcome {
  std::string name;
  enum Kind : uint8_t { kPass, kFail, kSkip } kind = kPass;
  std::string why;
};

bool is_dir(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}
bool is_file(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

// Names in a folder that start with `prefix`, in order.
std::vector<std::string> entries(const std::string& folder, const std::string& prefix) {
  std::vector<std::string> r;
  if (DIR* d = ::opendir(folder.c_str())) {
    while (const dirent* e = ::readdir(d))
      if (std::string(e->d_name).rfind(prefix, 0) == 0 && e->d_name[0] != '.')
        r.emplace_back(e->d_name);
    ::closedir(d);
  }
  std::sort(r.begin(), r.end());
  return r;
}

// Whether a Dropout drops something: in training, and not with a ratio of 0.
bool drops(const Model& m, const Node& n, std::span<const Datum> inputs) {
  const auto number = [&](size_t i) -> std::optional<double> {
    if (!n.has_input(i)) return std::nullopt;
    const Tensor* t = m.constant(n.input(i));
    const std::vector<ValueId>& names = m.graph(m.main()).inputs;
    for (size_t k = 0; k < std::min(names.size(), inputs.size()); ++k)
      if (names[k] == n.input(i) && inputs[k].is_tensor()) t = &inputs[k].tensor;
    if (t == nullptr || t->size() != 1 || t->is_string() || is_complex(t->dtype()))
      return std::nullopt;
    return t->to_aligned().f64_at(0);
  };
  return n.has_input(2) && number(2) != 0.0 && number(1) != 0.0;
}

// Operators that draw random numbers anywhere in the model: values cannot be compared.
bool is_random(const Model& m, std::span<const Datum> inputs) {
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (n.removed()) continue;
    const OpDef* def = find_op(n);
    if (def != nullptr && (def->flags & kRandom) != 0 && (!n.is("Dropout") || drops(m, n, inputs)))
      return true;
  }
  return false;
}

// Two samples of one distribution, by their means, their variances and the values they take:
// errors of six standard deviations fail, as do other values than 0 and 1 where the recorded ones
// are of these.
std::string differ_in_distribution(const Tensor& got, const Tensor& want) {
  if (got.is_string() || is_complex(got.dtype()) || got.size() == 0) return "";
  const std::vector<double> a = got.to_f64(), b = want.to_f64();
  const auto n = static_cast<double>(a.size());
  const auto moments = [&](const std::vector<double>& v) {
    double mean = 0, var = 0, fourth = 0;
    for (double x : v) mean += x / n;
    for (double x : v) var += (x - mean) * (x - mean) / n;
    for (double x : v) fourth += std::pow(x - mean, 4) / n;
    return std::tuple(mean, var, fourth - var * var);
  };
  const auto [mean_a, var_a, spread_a] = moments(a);
  const auto [mean_b, var_b, spread_b] = moments(b);
  const auto bit = [](double x) { return x == 0 || x == 1; };
  const bool bits = std::all_of(b.begin(), b.end(), bit);
  if (bits && !std::all_of(a.begin(), a.end(), bit)) return "values other than 0 and 1";
  const double limit = 6 * std::sqrt(((bits ? 0.5 : var_a + var_b) + 1e-12) / n);
  if (!(std::abs(mean_a - mean_b) <= limit))
    return format("mean {:.4g} of {} drawn values, {:.4g} expected", mean_a, a.size(), mean_b);
  // Few values say little of their variance.
  if (n >= 50 && !bits && std::abs(var_a - var_b) > 6 * std::sqrt((spread_a + spread_b) / n))
    return format("variance {:.4g} of {} drawn values, {:.4g} expected", var_a, a.size(), var_b);
  return "";
}

// Empty: equal within the tolerances.
std::string differ(const Datum& got, const Datum& want, const Options& o, bool shapes_only,
                   double rtol, double atol) {
  if (got.kind == TypeKind::kOptional && want.kind != TypeKind::kOptional) {
    return got.opt ? differ(*got.opt, want, o, shapes_only, rtol, atol)
                   : "an empty optional, expected a value";
  }
  if (want.kind == TypeKind::kOptional) {
    const Datum* g = got.kind == TypeKind::kOptional ? got.opt.get()
                     : got.has_value()               ? &got
                                                     : nullptr;
    if ((g == nullptr) != (want.opt == nullptr))
      return g ? "a value, expected none" : "no value, one was expected";
    return g ? differ(*g, *want.opt, o, shapes_only, rtol, atol) : "";
  }
  if (want.kind == TypeKind::kSequence && got.kind == TypeKind::kSequence) {
    if (got.seq->size() != want.seq->size())
      return format("{} elements, expected {}", got.seq->size(), want.seq->size());
    for (size_t i = 0; i < got.seq->size(); ++i)
      if (std::string s = differ((*got.seq)[i], (*want.seq)[i], o, shapes_only, rtol, atol);
          !s.empty())
        return format("element {}: {}", i, s);
    return "";
  }
  auto a = as_array(got), b = as_array(want);
  if (!a.ok()) return a.error().text();
  if (!b.ok()) return b.error().text();
  if (got.is_tensor() && want.is_tensor() && a->dtype() != b->dtype())
    return format("type {}, expected {}", dtype_name(a->dtype()), dtype_name(b->dtype()));
  if (shapes_only && a->dims() != b->dims())
    return format("shape {}, expected {}", to_string(a->dims()), to_string(b->dims()));
  if (shapes_only) return differ_in_distribution(*a, *b);
  const Difference d = compare(*a, *b, rtol, atol);
  if (!d.mismatch.empty()) return d.mismatch;
  if (o.tolerance >= 0) {
    if (d.max_rel_scale <= o.tolerance) return "";
    return format(
        "largest difference {:.3g} relative to the output's scale (limit {:.3g}), correlation "
        "{:.6f}",
        d.max_rel_scale, o.tolerance, d.cosine);
  }
  if (d.over == 0) return "";
  return format("{} of {} elements differ, largest difference {:.3g} ({:.3g} of the scale)", d.over,
                d.count, d.max_abs, d.max_rel_scale);
}

EngineOptions engine_options(const Options& o, const GlobalOptions& global) {
  EngineOptions e;
  e.threads = global.threads;
  e.reference = o.backend == "reference";
  e.device = o.device;
  e.device_always = true;  // what is asked for is to be tested
  return e;
}

Result<Model> load(const std::string& path, const GlobalOptions& global) {
  TRY_ASSIGN(Model m, load_for(global, path));
  return m;
}

// Data file N of a case; the declared type says which message it holds.
Result<Datum> read_data(const std::string& path, const Type& type) {
  TRY_ASSIGN(Bytes b, read_file(path));
  auto d = read_datum(b, type);
  if (!d.ok()) return std::move(d).context(escape(path, 200));
  return d;
}

bool has_half(const Model& m) {
  for (size_t i = 0; i < m.num_values(); ++i) {
    const Value& v = m.value(ValueId(static_cast<uint32_t>(i)));
    for (const Type* t : {&v.type, &v.declared})
      if (t->is_tensor() && (t->dtype == DType::kFloat16 || t->dtype == DType::kBfloat16))
        return true;
  }
  return false;
}

Outcome run_case(const std::string& folder, const Options& o, const GlobalOptions& global) {
  Outcome out{folder, Outcome::kFail, ""};
  const auto fail = [&](const Error& e) {
    out.why = e.text();
    if (e.code == Code::kUnsupported) out.kind = Outcome::kFail;
    return out;
  };
  auto model = load(folder + "/model.onnx", global);
  if (!model.ok()) return fail(model.error());
  const Graph& g = model->graph(model->main());
  auto engine = Engine::compile(*model, engine_options(o, global));
  if (!engine.ok()) return fail(engine.error());
  bool random = false;
  const double rtol = o.relative();
  // A device sums in another order, and rounds half precision elsewhere.
  const double atol =
      o.device != "cpu" && has_half(*model) ? std::max(o.absolute(), 4e-3) : o.absolute();
  const std::vector<std::string> sets = entries(folder, "test_data_set_");
  if (sets.empty()) {
    out.kind = Outcome::kSkip;
    out.why = "no test_data_set_N folder";
    return out;
  }
  for (const std::string& set : sets) {
    const std::string base = folder + "/" + set + "/";
    std::vector<Datum> inputs(g.inputs.size());
    // Files count inputs without initializers, unless there are more files than those.
    std::vector<size_t> order;
    for (size_t i = 0; i < g.inputs.size(); ++i)
      if (!model->value(g.inputs[i]).constant) order.push_back(i);
    if (is_file(base + "input_" + std::to_string(order.size()) + ".pb")) {
      order.resize(g.inputs.size());
      std::iota(order.begin(), order.end(), size_t{0});
    }
    for (size_t k = 0; k < order.size(); ++k) {
      const size_t i = order[k];
      const std::string path = base + "input_" + std::to_string(k) + ".pb";
      if (!is_file(path)) continue;
      auto d = read_data(path, model->value(g.inputs[i]).declared);
      if (!d.ok()) return fail(d.error());
      inputs[i] = std::move(d).value();
    }
    const bool draws = is_random(*model, inputs);
    random = random || draws;
    // What differs; empty: nothing.
    const auto attempt = [&](Engine& e) -> Result<std::string> {
      TRY_ASSIGN(const auto got, e.run(inputs));
      for (size_t i = 0; i < g.outputs.size(); ++i) {
        const std::string path = base + "output_" + std::to_string(i) + ".pb";
        if (!is_file(path)) continue;
        TRY_ASSIGN(const Datum want, read_data(path, g.output_types[i]));
        const std::string why = differ(got[i], want, o, draws, rtol, atol);
        if (!why.empty())
          return format("output {}: {}", onnxtool::quoted(model->value(g.outputs[i]).name), why);
      }
      return std::string();
    };
    auto why = attempt(*engine);
    if (!why.ok()) return fail(why.error());
    if (!why->empty() && has_half(*model)) {
      // Values recorded in float16 and bfloat16 come from runs that round every step, or do not.
      EngineOptions rounding = engine_options(o, global);
      rounding.promote_half = false;
      auto other = Engine::compile(*model, rounding);
      auto again = other.ok() ? attempt(*other) : Result<std::string>(other.error());
      if (again.ok() && again->empty()) why = std::string();
    }
    out.why = *why;
    if (!out.why.empty()) return out;
  }
  out.kind = Outcome::kPass;
  if (random) out.why = "random by design: type, shape and distribution compared";
  return out;
}

Status run_expected(const std::string& path, const Options& o, const GlobalOptions& global,
                    std::vector<Outcome>& results) {
  TRY_ASSIGN(Model model, load(path, global));
  TRY_ASSIGN(auto feeds, make_feeds(model, o.feeds));
  TRY_ASSIGN(Bytes bytes, read_file(o.expected));
  TRY_ASSIGN(NamedTensors want, read_npz(bytes).context(escape(o.expected, 200)));
  TRY_ASSIGN(Engine engine, Engine::compile(model, engine_options(o, global)));
  TRY_ASSIGN(auto got, engine.run(feeds));
  const Graph& g = model.graph(model.main());
  const bool random = is_random(model, feeds);
  for (const auto& [key, t] : want) {
    const auto names_it = [&, &key = key](ValueId v) {
      return model.value(v).name == key || "out:" + model.value(v).name == key;
    };
    if (key.rfind("in:", 0) != 0 && std::none_of(g.outputs.begin(), g.outputs.end(), names_it))
      return invalid(format("{} holds {}, which is no output of the model", escape(o.expected, 200),
                            onnxtool::quoted(key)));
  }
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    const std::string& name = model.value(g.outputs[i]).name;
    Outcome r{name, Outcome::kSkip, "no expected value"};
    for (auto& [key, t] : want) {
      if (key != name && key != "out:" + name) continue;
      auto fitted = fit_type(t, got[i].is_tensor() ? type_of(got[i]) : Type(), name);
      const Tensor& w = fitted.ok() ? *fitted : t;
      auto arr = as_array(got[i]);
      r.why = arr.ok() ? differ(Datum(*arr), Datum(w), o, random, o.relative(), o.absolute())
                       : arr.error().text();
      r.kind = r.why.empty() ? Outcome::kPass : Outcome::kFail;
    }
    results.push_back(std::move(r));
  }
  return ok();
}

Status run_reference(const std::string& path, const Options& o, const GlobalOptions& global,
                     std::vector<Outcome>& results) {
  TRY_ASSIGN(Model a, load(path, global));
  TRY_ASSIGN(Model b, load(o.reference, global));
  TRY_ASSIGN(auto feeds, make_feeds(a, o.feeds));
  const Graph& ga = a.graph(a.main());
  const Graph& gb = b.graph(b.main());
  // Inputs go by name to the other model.
  std::vector<Datum> other(gb.inputs.size());
  for (size_t i = 0; i < gb.inputs.size(); ++i)
    for (size_t k = 0; k < ga.inputs.size(); ++k)
      if (a.value(ga.inputs[k]).name == b.value(gb.inputs[i]).name) other[i] = feeds[k];
  TRY_ASSIGN(Engine ea, Engine::compile(a, engine_options(o, global)));
  EngineOptions reference = engine_options(o, global);
  reference.device = "cpu";
  TRY_ASSIGN(Engine eb, Engine::compile(b, reference));
  TRY_ASSIGN(auto got, ea.run(feeds));
  TRY_ASSIGN(auto want, eb.run(other));
  const double rtol = o.relative(), atol = o.absolute();
  const bool random = is_random(a, feeds) || is_random(b, other);
  bool failed = false;
  for (size_t i = 0; i < ga.outputs.size(); ++i) {
    const std::string& name = a.value(ga.outputs[i]).name;
    Outcome r{name, Outcome::kSkip, "the reference has no such output"};
    for (size_t k = 0; k < gb.outputs.size(); ++k) {
      if (b.value(gb.outputs[k]).name != name &&
          !(ga.outputs.size() == gb.outputs.size() && i == k))
        continue;
      r.why = differ(got[i], want[k], o, random, rtol, atol);
      r.kind = r.why.empty() ? Outcome::kPass : Outcome::kFail;
      if (b.value(gb.outputs[k]).name == name) break;
    }
    failed |= r.kind == Outcome::kFail;
    results.push_back(std::move(r));
  }
  if (!failed) return ok();
  // The first value that both name and that differs.
  EngineOptions all = engine_options(o, global);
  all.observe_all = reference.observe_all = true;
  std::unordered_map<std::string, Tensor> seen;
  {
    TRY_ASSIGN(Engine e, Engine::compile(b, reference));
    RunOptions run;
    run.observe = [&](const Observed& v) -> Status {
      if (v.datum.is_tensor()) {
        TRY_ASSIGN(Tensor copy, Tensor::allocate(v.datum.tensor.dtype(), v.datum.tensor.dims()));
        copy_elements(copy, 0, v.datum.tensor, 0, copy.size());
        seen[b.value(v.value).name] = std::move(copy);
      }
      return ok();
    };
    TRY_ASSIGN(auto ignored, e.run(other, run));
  }
  std::string first;
  TRY_ASSIGN(Engine e, Engine::compile(a, all));
  RunOptions run;
  run.observe = [&](const Observed& v) -> Status {
    if (!first.empty() || !v.datum.is_tensor()) return ok();
    const auto it = seen.find(a.value(v.value).name);
    if (it == seen.end()) return ok();
    const std::string why = differ(v.datum, Datum(it->second), o, random, rtol, atol);
    if (why.empty()) return ok();
    const NodeId n = a.value(v.value).producer;
    first =
        format("{} of {}: {}", a.describe(v.value), n.valid() ? a.describe(n) : "the graph", why);
    return ok();
  };
  TRY_ASSIGN(auto ignored, e.run(feeds, run));
  if (!first.empty()) results.push_back({"first value that differs", Outcome::kFail, first});
  return ok();
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("target", o->targets, "folders with model.onnx and test_data_set_N, or one model")
      ->required()
      ->type_name("CASE_DIR|MODEL");
  app.add_option("--expected", o->expected, "recorded outputs of the model: .npz by tensor names")
      ->type_name("FILE.npz");
  app.add_option("--reference", o->reference, "another model whose outputs are expected")
      ->type_name("MODEL");
  add_feed_options(app, o->feeds);
  app.add_option("--rtol", o->rtol, "elementwise relative tolerance (default 1e-3)")
      ->type_name("X");
  app.add_option("--atol", o->atol, "elementwise absolute tolerance (default 1e-7)")
      ->type_name("X");
  app.add_option("--tolerance", o->tolerance,
                 "largest difference relative to the output's scale (default 1e-4 for recorded and "
                 "compared models)")
      ->type_name("X");
  add_device_option(app, o->device);
  app.add_option("--backend", o->backend,
                 "engine, or reference: the evaluation that defines each operator")
      ->check(CLI::IsMember({"engine", "reference"}))
      ->capture_default_str()
      ->type_name("WHICH");
  app.add_flag("--list", o->list, "print every case with its result, not only failures");
  app.add_flag("--json", o->json, "print a JSON document");
  return [o, &global]() -> Status {
    std::vector<Outcome> results;
    const bool model = !o->expected.empty() || !o->reference.empty();
    if (model) {
      if (o->targets.size() != 1) return usage_error("--expected and --reference take one model");
      if (!o->expected.empty() && !o->reference.empty())
        return usage_error("--expected and --reference exclude each other");
      o->feeds.fill = o->expected.empty();  // recorded outputs belong to recorded inputs
      if (o->tolerance < 0 && o->rtol < 0 && o->atol < 0) o->tolerance = 1e-4;
      TRY(o->expected.empty() ? run_reference(o->targets[0], *o, global, results)
                              : run_expected(o->targets[0], *o, global, results));
    } else {
      Progress progress(global, "validating", o->targets.size());
      for (size_t i = 0; i < o->targets.size(); ++i) {
        std::string dir = o->targets[i];
        while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
        if (!is_dir(dir)) {
          if (is_file(dir))
            return usage_error(
                format("{} is a file: give --expected or --reference, or the folder of a test case",
                       onnxtool::quoted(dir)));
          return invalid(format("{}: there is no such folder", onnxtool::quoted(dir)));
        }
        results.push_back(run_case(dir, *o, global));
        progress.step(i + 1);
      }
    }
    size_t counts[3] = {};
    static constexpr const char* kWords[] = {"passed", "failed", "skipped"};
    nlohmann::ordered_json j = {{"results", nlohmann::ordered_json::array()}};
    for (const Outcome& r : results) {
      ++counts[r.kind];
      if (o->json)
        j["results"].push_back({{"name", r.name}, {"result", kWords[r.kind]}, {"why", r.why}});
      else if (r.kind != Outcome::kPass || !r.why.empty() || o->list || model)
        print(format("{} {}{}\n", kWords[r.kind], escape(r.name, 300),
                     r.why.empty() ? "" : ": " + escape(r.why, 500)));
    }
    if (o->json) {
      j["passed"] = counts[0], j["failed"] = counts[1], j["skipped"] = counts[2];
      print(j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    } else {
      print(format("{} passed, {} failed, {} skipped\n", counts[0], counts[1], counts[2]));
    }
    return counts[1] ? Status(make_error(Code::kNegative, "")) : ok();
  };
}

}  // namespace

extern const Command cmd_validate;
const Command cmd_validate = {
    .name = "validate",
    .group = "Running",
    .summary = "compare outputs with recorded ones or with another model",
    .examples =
        "  onnxtool validate cases/test_relu cases/test_add\n"
        "  onnxtool validate model.onnx --inputs in.npz --expected out.npz\n"
        "  onnxtool validate small.onnx --reference model.onnx --tolerance 1e-3\n",
    .setup = setup,
};

}  // namespace onnxtool
