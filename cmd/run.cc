// SPDX-License-Identifier: Apache-2.0
// onnxtool run: outputs of a model for given inputs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "cmd/feeds.h"
#include "cmd/loop.h"
#include "cmd/output.h"
#include "cmd/prepare.h"
#include "exec/engine.h"

namespace onnxtool {
namespace {

struct Options {
  std::string model, output;
  std::vector<std::string> loop;
  int64_t steps = 0;
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
  app.add_option(
         "--loop", o->loop,
         "run step after step: INPUT=OUTPUT hands a value over (prefixes of names pair up); "
         "INPUT=argmax(OUTPUT) or sample(OUTPUT,TEMPERATURE) a token; INPUT=append(N) "
         "itself and one more element; INPUT=add(N) its last element plus N")
      ->type_name("INPUT=OUTPUT")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--steps", o->steps, "how many steps --loop runs")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32))
      ->type_name("N");
  add_engine_options(app, o->engine);
  return [o, &global]() -> Status {
    if (o->loop.empty() != (o->steps == 0))
      return usage_error(o->steps ? "--steps needs --loop" : "--loop needs --steps N");
    TRY_ASSIGN(PreparedModel p, prepare_model(o->model, o->engine, global));
    std::string assumed;
    TRY_ASSIGN(auto feeds, make_feeds(p.model, o->feeds, &assumed));
    if (o->feeds.files.empty() && o->feeds.generate.empty() && !feeds.empty())
      warn(global, "no --inputs: the model runs on random numbers" +
                       (assumed.empty() ? "" : ", with " + assumed));
    TRY_ASSIGN(Loop loop, Loop::make(p.model, o->loop, o->feeds.seed));
    std::vector<std::string> names;
    for (ValueId v : p.model.graph(p.model.main()).outputs) names.push_back(p.model.value(v).name);
    TRY_ASSIGN(Engine engine, Engine::compile(std::move(p.model), p.options));
    std::vector<Datum> outputs;
    for (int64_t step = 0; step < std::max<int64_t>(o->steps, 1); ++step) {
      if (step > 0) TRY(loop.advance(feeds, outputs));
      Status ran = with_assumed(engine.run(feeds, outputs), assumed);
      if (!ran.ok() && o->steps > 1)
        return std::move(ran).context(format("step {} of {}", step + 1, o->steps));
      TRY(std::move(ran));
    }
    save_cache(engine, o->engine, global);
    TRY_ASSIGN(auto chosen, loop.finish(outputs));
    if (o->engine.explain && o->output == "-")
      std::fputs(engine.explain().c_str(), stderr);  // standard output holds the outputs
    else if (o->engine.explain)
      print(engine.explain());
    for (auto& [name, tokens] : chosen) {
      names.push_back(name + ".chosen");
      outputs.emplace_back(std::move(tokens));
    }
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
        "  onnxtool run model.onnx --set batch=4 --generate ones --explain\n"
        "  onnxtool run gpt2.onnx -i prompt.npz --steps 20 --loop past_key_values=present \\\n"
        "      --loop 'input_ids=argmax(logits)' --loop 'attention_mask=append(1)'\n",
    .setup = setup,
};

}  // namespace onnxtool
