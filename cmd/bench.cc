// SPDX-License-Identifier: Apache-2.0
// onnxtool bench: latency distribution, memory, and where the time goes.
#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdio>
#include <memory>

#include "cmd/bench_report.h"
#include "cmd/output.h"
#include "libonnxtool/base/file.h"

namespace onnxtool {
namespace {

// Of the device where there is one, else of this machine.
Roofline roofline_of(const Contender& c) {
  const EngineStats e = c.engine->stats();
  if (e.device == "cpu") return roofline(c.threads);
  Roofline r;
  r.gflops = e.device_fp32;
  r.half_gflops = e.device_half;
  if (e.device_gbs > 0) r.bandwidth = {{int64_t{1} << 40, e.device_gbs}};
  return r;
}

struct Options {
  std::vector<std::string> models, precisions = {"fp32"};
  std::vector<int> threads;
  FeedOptions feeds;
  EngineFlags engine;
  BenchOptions bench;
  std::string trace, html, compare, limit;
  bool json = false, profile = false;
};

Status write_file(const std::string& path, const std::string& text) {
  if (path == "-") return write_stdout(text.data(), text.size());
  TRY_ASSIGN(OutputFile f, OutputFile::create(path));
  TRY(f.write(text.data(), text.size()));
  return f.commit();
}

// "3%" or "3".
Result<double> percent(const std::string& text) {
  double v = 0;
  const char* end = text.data() + text.size();
  const auto r = std::from_chars(text.data(), end, v);
  if (r.ec != std::errc() || (r.ptr != end && std::string_view(r.ptr) != "%") || !(v >= 0))
    return usage_error(format("--fail-over {}: a percentage expected", onnxtool::quoted(text)));
  return v;
}

Result<nlohmann::json> read_base(const std::string& path) {
  TRY_ASSIGN(Bytes bytes, read_file(path));
  auto j = nlohmann::json::parse(bytes.view(), nullptr, false);
  if (j.is_discarded()) return invalid(format("{}: malformed JSON", escape(path, 200)));
  return j;
}

Result<std::vector<Contender>> make_contenders(const Options& o, const GlobalOptions& global) {
  std::vector<Contender> all;
  const std::vector<int> given = o.threads.empty() ? std::vector<int>{global.threads} : o.threads;
  for (const std::string& model : o.models)
    for (const std::string& precision : o.precisions)
      for (const int threads : given) {
        EngineFlags flags = o.engine;
        flags.precision = precision;
        flags.keep_original = o.profile || !o.html.empty() || !o.trace.empty();
        TRY_ASSIGN(all.emplace_back(), make_contender(model, flags, o.feeds, threads, global));
      }
  return all;
}

Status bench(const Options& o, const GlobalOptions& global) {
  double limit = 0;
  nlohmann::json base;
  if (!o.limit.empty()) {
    if (o.compare.empty()) return usage_error("--fail-over needs --compare");
    TRY_ASSIGN(limit, percent(o.limit));
  }
  if (!o.compare.empty()) {
    TRY_ASSIGN(base, read_base(o.compare));
  }
  TRY_ASSIGN(std::vector<Contender> contenders, make_contenders(o, global));
  std::vector<BenchResult> results;
  MachineSpeed machine;
  Comparison compared;
  // What looks slower is measured again before it is said.
  constexpr int kMostTries = 3;
  for (int tries = 1; tries <= kMostTries; ++tries) {
    TRY_ASSIGN(machine, measure(contenders, o.bench, global));
    results.clear();
    for (const Contender& c : contenders)
      results.push_back(result_of(c, machine, o.bench.concurrency));
    if (o.compare.empty()) break;
    TRY_ASSIGN(compared, compare_bench(results, base, limit).context(escape(o.compare, 200)));
    if (o.limit.empty() || !compared.slower) break;
    if (tries < kMostTries) note(global, 0, "slower than the base: measuring again");
  }
  if (o.profile || !o.html.empty() || !o.trace.empty())
    for (size_t i = 0; i < contenders.size(); ++i) {
      TRY(profile(contenders[i], o.bench));
      results[i].machine = roofline_of(contenders[i]);
      results[i].rows = profile_rows(contenders[i], results[i].machine);
    }
  if (!o.trace.empty()) TRY(write_file(o.trace, bench_trace(results, machine)));
  if (!o.html.empty()) TRY(write_file(o.html, bench_html(results, machine)));
  if (!o.profile)
    for (BenchResult& r : results) r.rows.clear();
  for (const Contender& c : contenders) {
    if (!o.engine.explain) continue;
    if (o.json)
      std::fputs(c.engine->explain().c_str(), stderr);  // standard output holds the document
    else
      print(c.engine->explain());
  }
  if (o.json) {
    auto j = bench_json(results);
    if (!o.compare.empty()) j["slower_than_base"] = compared.slower;
    print(j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    if (!o.compare.empty()) std::fputs(compared.text.c_str(), stderr);
  } else {
    print(bench_text(results) + (o.compare.empty() ? "" : "\n" + compared.text));
  }
  if (!o.limit.empty() && compared.slower) return make_error(Code::kNegative, "");
  return ok();
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions& global) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->models, "models to measure, in turns; - is standard input")
      ->required()
      ->type_name("MODEL");
  add_feed_options(app, o->feeds);
  app.add_option("--duration", o->bench.duration, "measure for so long")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--iterations", o->bench.iterations, "measure so many runs instead")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
  app.add_option("--warmup", o->bench.warmup, "run for so long before measuring")
      ->check(CLI::Range(0.0, 3600.0))
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--threads", o->threads, "worker threads, or several numbers of them to compare")
      ->check(CLI::Range(0, 1024))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("N,...");
  app.add_option("--concurrency", o->bench.concurrency,
                 "so many requests at a time, which share the threads")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->capture_default_str();
  app.add_flag("--profile", o->profile,
               "print time per step, with the nodes it stands for and how near it comes to what "
               "this machine can do");
  app.add_option("--trace", o->trace, "write runs and steps for chrome://tracing and Perfetto")
      ->type_name("FILE.json");
  app.add_option("--html", o->html, "write a page: distribution, time line, steps")
      ->type_name("FILE.html");
  app.add_option("--compare", o->compare, "compare with what --json gave before")
      ->type_name("BASE.json");
  app.add_option("--fail-over", o->limit,
                 "with --compare: exit status 1 when a median is slower by more than that, for "
                 "sure, three times in a row")
      ->type_name("PERCENT");
  app.add_flag("--json", o->json, "print a JSON document");
  add_engine_options(app, o->engine, &o->precisions);
  return [o, &global] { return bench(*o, global); };
}

}  // namespace

extern const Command cmd_bench;
const Command cmd_bench = {
    .name = "bench",
    .group = "Running",
    .summary = "measure latency, throughput and memory of models",
    .examples =
        "  onnxtool bench model.onnx --threads 2 --duration 5\n"
        "  onnxtool bench model.onnx --inputs in.npz --profile --html report.html\n"
        "  onnxtool bench old.onnx new.onnx --threads 1,2 --json >base.json\n"
        "  onnxtool bench new.onnx --compare base.json --fail-over 3%\n"
        "  onnxtool bench model.onnx --concurrency 8\n",
    .setup = setup,
};

}  // namespace onnxtool
