// SPDX-License-Identifier: Apache-2.0
// onnxtool run: outputs of a model for given inputs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "cmd/feeds.h"
#include "cmd/output.h"
#include "cmd/prepare.h"
#include "exec/engine.h"

namespace onnxtool {
namespace {

struct Options {
  std::string model, output;
  FeedOptions feeds;
  EngineFlags engine;
};

// "float[1,10] min -1.5 max 2.1 mean 0.3 [0.1, 0.2, ...]": what a person wants to see.
std::string summary(const Datum& d) {
  auto t = as_array(d);
  if (!t.ok()) return type_of(d).text();
  std::string s = format("{}{}", dtype_name(t->dtype()), to_string(t->dims()));
  if (t->size() == 0) return s;
  const int64_t shown = std::min<int64_t>(t->size(), 10);
  std::string values;
  for (int64_t i = 0; i < shown; ++i) {
    if (i) values += ", ";
    if (t->is_string())
      values += onnxtool::quoted(t->string_data()[static_cast<size_t>(i)]);
    else if (is_float(t->dtype()))
      values += format("{:.6g}", t->f64_at(i));
    else
      values += std::to_string(t->i64_at(i));
  }
  if (t->size() > shown) values += ", ...";
  if (!t->is_string() && t->size() > 1) {
    double lo = t->f64_at(0), hi = lo, sum = 0;
    int64_t at = 0;
    const std::vector<double> x = t->to_f64();
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] > hi) {
        hi = x[i];
        at = static_cast<int64_t>(i);
      }
      lo = std::min(lo, x[i]);
      sum += x[i];
    }
    s += format("  min {:.6g}  max {:.6g} at {}  mean {:.6g}", lo, hi, at,
                sum / static_cast<double>(x.size()));
  }
  return s + "  [" + values + "]";
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "model to run; - is standard input")
      ->required()
      ->type_name("MODEL");
  add_feed_options(app, o->feeds);
  app.add_option("-o,--output", o->output,
                 "where outputs go: .npz, .npy, .pb, .json, a folder ending in /, or - for JSON "
                 "(default: a summary)")
      ->type_name("FILE");
  app.add_flag_callback(
      "--json", [o] { o->output = "-"; }, "print the outputs as JSON: the same as -o -");
  add_engine_options(app, o->engine);
  return [o, &global]() -> Status {
    TRY_ASSIGN(PreparedModel p, prepare_model(o->model, o->engine, global));
    std::string assumed;
    TRY_ASSIGN(auto feeds, make_feeds(p.model, o->feeds, &assumed));
    if (o->feeds.files.empty() && o->feeds.generate.empty() && !feeds.empty())
      warn(global, "no --inputs: the model runs on random numbers" +
                       (assumed.empty() ? "" : ", with " + assumed));
    TRY_ASSIGN(Engine engine, Engine::compile(p.model, p.options));
    TRY_ASSIGN(auto outputs, with_assumed(engine.run(feeds), assumed));
    if (o->engine.explain && o->output == "-")
      std::fputs(engine.explain().c_str(), stderr);  // standard output holds the outputs
    else if (o->engine.explain)
      print(engine.explain());
    const Graph& g = p.model.graph(p.model.main());
    std::vector<std::string> names;
    for (ValueId v : g.outputs) names.push_back(p.model.value(v).name);
    if (!o->output.empty()) return write_outputs(o->output, names, outputs);
    for (size_t i = 0; i < outputs.size(); ++i)
      print(format("{}: {}\n", escape(names[i]), summary(outputs[i])));
    return ok();
  };
}

}  // namespace

extern const Command cmd_run;
const Command cmd_run = {
    .name = "run",
    .group = "Running",
    .summary = "run a model on inputs from files or generators",
    .examples =
        "  onnxtool run model.onnx --inputs in.npz --output out.npz\n"
        "  onnxtool run model.onnx -i image=cat.npy -o - | head\n"
        "  onnxtool run model.onnx --set batch=4 --generate ones --explain\n",
    .setup = setup,
};

}  // namespace onnxtool
