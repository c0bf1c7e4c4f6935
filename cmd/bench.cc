// SPDX-License-Identifier: Apache-2.0
// onnxtool bench: latency distribution, memory, and where the time goes.
#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmd/feeds.h"
#include "cmd/output.h"
#include "cmd/prepare.h"
#include "exec/engine.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point t) {
  return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
}

struct Options {
  std::string model;
  FeedOptions feeds;
  EngineFlags engine;
  double duration = 3, warmup = 0.3;
  int64_t iterations = 0;
  bool json = false, profile = false;
};

struct Stats {
  double min = 0, mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0, stddev = 0;
};

Stats stats_of(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  const auto q = [&](double p) {  // linear interpolation between closest ranks
    const double at = p * static_cast<double>(x.size() - 1);
    const auto i = static_cast<size_t>(at);
    const double f = at - static_cast<double>(i);
    return i + 1 < x.size() ? x[i] * (1 - f) + x[i + 1] * f : x[i];
  };
  Stats s{x.front(), 0, q(0.5), q(0.9), q(0.99), x.back(), 0};
  for (double v : x) s.mean += v;
  s.mean /= static_cast<double>(x.size());
  for (double v : x) s.stddev += (v - s.mean) * (v - s.mean);
  s.stddev = x.size() > 1 ? std::sqrt(s.stddev / static_cast<double>(x.size() - 1)) : 0;
  return s;
}

int64_t peak_rss() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  return static_cast<int64_t>(u.ru_maxrss) * 1024;
}

std::string profile_table(std::vector<StepProfile> steps) {
  std::sort(steps.begin(), steps.end(),
            [](const StepProfile& a, const StepProfile& b) { return a.total_ms > b.total_ms; });
  double total = 0;
  for (const StepProfile& s : steps) total += s.total_ms;
  std::vector<std::vector<std::string>> rows = {
      {"ms", "%", "GFLOP/s", "GB/s", "step", "op", "kernel", "shapes"}};
  for (const StepProfile& s : steps) {
    if (s.calls == 0) continue;
    const double each = s.total_ms / static_cast<double>(s.calls);
    rows.push_back(
        {format("{:.4f}", each), format("{:.1f}", 100 * s.total_ms / total),
         s.macs && each > 0 ? format("{:.1f}", 2e-6 * static_cast<double>(s.macs) / each) : "",
         each > 0 ? format("{:.1f}", 1e-6 * static_cast<double>(s.bytes) / each) : "",
         escape(s.name, 40), escape(s.op, 40), s.kernel, s.shapes});
  }
  return table(rows);
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "model to measure; - is standard input")
      ->required()
      ->type_name("MODEL");
  add_feed_options(app, o->feeds);
  app.add_option("--duration", o->duration, "measure for so long")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--iterations", o->iterations, "measure so many runs instead")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  app.add_option("--warmup", o->warmup, "run for so long before measuring")
      ->check(CLI::Range(0.0, 3600.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_flag("--profile", o->profile, "print time per step");
  app.add_flag("--json", o->json, "print a JSON document");
  add_engine_options(app, o->engine);
  return [o, &global]() -> Status {
    TRY_ASSIGN(PreparedModel p, prepare_model(o->model, o->engine, global));
    std::string assumed;
    TRY_ASSIGN(auto feeds, make_feeds(p.model, o->feeds, &assumed));
    p.options.profile = o->profile;
    const auto compile_start = Clock::now();
    TRY_ASSIGN(Engine engine, Engine::compile(p.model, p.options));
    std::vector<Type> types;
    for (const Datum& d : feeds) types.push_back(d.has_value() ? type_of(d) : Type());
    TRY(with_assumed(engine.prepare(types), assumed));
    const double compile_ms = ms_since(compile_start);
    std::vector<Datum> outputs;
    const auto first_start = Clock::now();
    TRY(with_assumed(engine.run(feeds, outputs), assumed));
    const double first_ms = ms_since(first_start);
    for (const auto t = Clock::now(); ms_since(t) < o->warmup * 1000;)
      TRY(engine.run(feeds, outputs));
    engine.reset_profile();
    std::vector<double> times;
    constexpr size_t kParts = 100;
    Progress progress(global, "measuring", kParts);
    const auto start = Clock::now();
    do {
      const auto t = Clock::now();
      TRY(engine.run(feeds, outputs));
      times.push_back(ms_since(t));
      progress.step(static_cast<size_t>(
          kParts * (o->iterations
                        ? static_cast<double>(times.size()) / static_cast<double>(o->iterations)
                        : std::min(1.0, ms_since(start) / (o->duration * 1000 + 1e-9)))));
    } while (o->iterations ? static_cast<int64_t>(times.size()) < o->iterations
                           : ms_since(start) < o->duration * 1000);
    const double wall = ms_since(start);
    const Stats s = stats_of(times);
    const EngineStats e = engine.stats();
    const int threads = global.threads ? global.threads : usable_cores();
    if (o->engine.explain && o->json)
      std::fputs(engine.explain().c_str(), stderr);  // standard output holds the document
    if (o->json) {
      nlohmann::ordered_json j = {
          {"model", o->model},
          {"latency_ms",
           {{"min", s.min},
            {"mean", s.mean},
            {"p50", s.p50},
            {"p90", s.p90},
            {"p99", s.p99},
            {"max", s.max},
            {"stddev", s.stddev}}},
          {"iterations", times.size()},
          {"throughput_per_s", 1000.0 * static_cast<double>(times.size()) / wall},
          {"first_run_ms", first_ms},
          {"load_ms", p.load_ms},
          {"compile_ms", compile_ms},
          {"peak_rss_bytes", peak_rss()},
          {"threads", threads},
          {"precision", o->engine.precision},
          {"device", "cpu"},
          {"sizes_assumed", assumed},
          {"nodes", e.nodes},
          {"steps", e.steps},
          {"arena_bytes", e.arena_bytes},
          {"packed_bytes", e.packed_bytes}};
      if (o->profile) {
        j["profile"] = nlohmann::ordered_json::array();
        for (const StepProfile& sp : engine.profile())
          j["profile"].push_back({{"name", sp.name},
                                  {"op", sp.op},
                                  {"kernel", sp.kernel},
                                  {"shapes", sp.shapes},
                                  {"calls", sp.calls},
                                  {"total_ms", sp.total_ms},
                                  {"min_ms", sp.min_ms},
                                  {"macs", sp.macs},
                                  {"bytes", sp.bytes}});
      }
      print(j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
      return ok();
    }
    if (o->engine.explain) print(engine.explain());
    if (o->profile) print(profile_table(engine.profile()) + "\n");
    print(
        format("latency ms  p50 {:.4f}  min {:.4f}  mean {:.4f}  p90 {:.4f}  p99 {:.4f}  max "
               "{:.4f}  stddev {:.4f}\n",
               s.p50, s.min, s.mean, s.p90, s.p99, s.max, s.stddev));
    print(format("runs        {} in {:.2f} s, {:.1f} a second\n", times.size(), wall / 1000,
                 1000.0 * static_cast<double>(times.size()) / wall));
    print(format("start       load {:.1f} ms, compile {:.1f} ms, first run {:.2f} ms\n", p.load_ms,
                 compile_ms, first_ms));
    print(format("memory      peak {}, arena {}, packed weights {}\n",
                 human_bytes(static_cast<uint64_t>(peak_rss())),
                 human_bytes(static_cast<uint64_t>(e.arena_bytes)),
                 human_bytes(static_cast<uint64_t>(e.packed_bytes))));
    if (!assumed.empty()) print("sizes       " + assumed + " (--set, --shape)\n");
    print(format("plan        {} nodes as {} steps, {} folded; {} threads, {}, cpu\n", e.nodes,
                 e.steps, e.folded_nodes, threads, o->engine.precision));
    return ok();
  };
}

}  // namespace

extern const Command cmd_bench;
const Command cmd_bench = {
    .name = "bench",
    .group = "Running",
    .summary = "measure latency, throughput and memory of a model",
    .examples =
        "  onnxtool bench model.onnx --threads 2 --duration 5\n"
        "  onnxtool bench model.onnx --inputs in.npz --profile\n"
        "  onnxtool bench model.onnx --iterations 100 --json\n",
    .setup = setup,
};

}  // namespace onnxtool
