// SPDX-License-Identifier: Apache-2.0
#include "cmd/bench_measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "cmd/output.h"
#include "libonnxtool/base/threads.h"

namespace onnxtool {
namespace {

using Clock = std::chrono::steady_clock;
double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}
double ms_since(Clock::time_point t) { return ms_between(t, Clock::now()); }

constexpr int kTurns = 20;

// A fixed amount of work that touches no memory.
double machine_loop() {
  const auto start = Clock::now();
  uint64_t x = 88172645463325252u;
  for (int i = 0; i < 20000; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  const double ms = ms_since(start);
  return x == 0 ? 0 : ms;  // never 0: keeps the loop
}

// One request after the other, until `more` says no: what one client does.
Status client(Contender& c, std::vector<Datum>& outputs, Clock::time_point origin,
              const std::function<bool()>& more, std::vector<Sample>& samples) {
  while (more()) {
    const auto start = Clock::now();
    TRY(c.engine->run(c.feeds, outputs));
    samples.push_back({ms_between(origin, start), ms_since(start)});
  }
  return ok();
}

// A turn of one contender with all its clients.
class Turns {
 public:
  Turns(const BenchOptions& options, Clock::time_point origin)
      : options_(options),
        origin_(origin),
        outputs_(static_cast<size_t>(options.concurrency)),
        samples_(outputs_.size()) {}

  // Runs for `ms`, or `count` requests.
  Status run(Contender& c, double ms, int64_t count, MachineSpeed& machine) {
    for (auto& s : samples_) s.clear();
    const auto start = Clock::now();
    std::atomic<int64_t> left = count;
    const auto more = [&] {
      return count ? left.fetch_sub(1, std::memory_order_relaxed) > 0 : ms_since(start) < ms;
    };
    double loops = 0;
    if (outputs_.size() == 1) {
      auto last = start;
      const auto watched = [&] {
        if (ms_since(last) > 20) {
          last = Clock::now();
          machine.loop.push_back({ms_between(origin_, last), machine_loop()});
          loops += machine.loop.back().ms;
        }
        return more();
      };
      TRY(client(c, outputs_[0], origin_, watched, samples_[0]));
    } else {
      std::vector<Status> status(outputs_.size());
      std::vector<std::thread> threads;
      for (size_t i = 0; i < outputs_.size(); ++i)
        threads.emplace_back(
            [&, i] { status[i] = client(c, outputs_[i], origin_, more, samples_[i]); });
      for (std::thread& t : threads) t.join();
      for (Status& s : status) TRY(std::move(s));
    }
    const double wall = ms_since(start) - loops;
    std::vector<Sample> all;
    for (const auto& s : samples_) all.insert(all.end(), s.begin(), s.end());
    std::sort(all.begin(), all.end(), [](const Sample& a, const Sample& b) { return a.at < b.at; });
    c.samples.insert(c.samples.end(), all.begin(), all.end());
    c.wall_ms += wall;
    c.measured_runs += static_cast<double>(all.size());
    const auto now = Clock::now();
    machine.loop.push_back({ms_between(origin_, now), machine_loop()});
    return ok();
  }

 private:
  const BenchOptions& options_;
  Clock::time_point origin_;
  std::vector<std::vector<Datum>> outputs_;
  std::vector<std::vector<Sample>> samples_;
};

}  // namespace

std::vector<double> Contender::latencies() const {
  std::vector<double> ms;
  for (size_t i = warmup; i < samples.size(); ++i) ms.push_back(samples[i].ms);
  return ms;
}

double MachineSpeed::median_ms() const {
  std::vector<double> ms;
  for (const Sample& s : loop) ms.push_back(s.ms);
  return ms.empty() ? 0 : stats_of(ms).p50;
}

Result<Contender> make_contender(const std::string& model, const EngineFlags& flags,
                                 const FeedOptions& feeds, int threads,
                                 const GlobalOptions& global) {
  GlobalOptions with = global;
  with.threads = threads;
  TRY_ASSIGN(PreparedModel p, prepare_model(model, flags, with));
  Contender c;
  c.model = model;
  c.precision = p.precision;
  c.threads = threads ? threads : usable_cores();
  c.load_ms = p.load_ms;
  c.original = std::move(p.original);
  TRY_ASSIGN(c.feeds, make_feeds(p.model, feeds, &c.assumed));
  auto start = Clock::now();
  TRY_ASSIGN(Engine engine, Engine::compile(std::move(p.model), p.options));
  std::vector<Type> types;
  for (const Datum& d : c.feeds) types.push_back(d.has_value() ? type_of(d) : Type());
  TRY(with_assumed(engine.prepare(types), c.assumed));
  c.compile_ms = ms_since(start);
  std::vector<Datum> outputs;
  start = Clock::now();
  TRY(with_assumed(engine.run(c.feeds, outputs), c.assumed));
  c.first_ms = ms_since(start);
  save_cache(engine, flags, global);
  c.engine.emplace(std::move(engine));
  return c;
}

Result<MachineSpeed> measure(std::vector<Contender>& contenders, const BenchOptions& options,
                             const GlobalOptions& global) {
  const auto origin = Clock::now();
  MachineSpeed machine;
  Turns turns(options, origin);
  for (Contender& c : contenders) {
    c.samples.clear();
    if (options.warmup > 0) TRY(turns.run(c, options.warmup * 1000, 0, machine));
    c.warmup = c.samples.size();
    c.wall_ms = c.measured_runs = 0;
  }
  Progress progress(global, "measuring", kTurns * contenders.size());
  for (int turn = 0; turn < kTurns; ++turn) {
    for (size_t k = 0; k < contenders.size(); ++k) {
      // Every other round goes backwards, so that none is always behind the same neighbour.
      Contender& c = contenders[turn % 2 ? contenders.size() - 1 - k : k];
      const auto share = [&](auto whole) { return whole * (turn + 1) / kTurns; };
      const int64_t count = options.iterations
                                ? share(options.iterations) - static_cast<int64_t>(c.measured_runs)
                                : 0;
      // Where there are others the first run of a turn finds what they left in the caches.
      const double ms = share(options.duration * 1000) - c.wall_ms;
      const bool must = c.measured_runs == 0 && turn == kTurns - 1;
      if (options.iterations ? count > 0 : ms > 0 || must) {
        if (contenders.size() > 1) TRY(c.engine->run(c.feeds));
        TRY(turns.run(c, ms, !options.iterations && must ? 1 : count, machine));
      }
      progress.step(static_cast<size_t>(turn) * contenders.size() + k + 1);
    }
  }
  // What warm-up runs saw may go on after them.
  for (Contender& c : contenders) {
    std::vector<double> ms;
    for (const Sample& s : c.samples) ms.push_back(s.ms);
    const size_t slow = warmup_of(ms);
    if (slow <= c.warmup || ms.size() - slow < 20) continue;
    if (options.iterations) TRY(turns.run(c, 0, static_cast<int64_t>(slow - c.warmup), machine));
    c.warmup = slow;
  }
  return machine;
}

Status profile(Contender& c, const BenchOptions& options) {
  constexpr size_t kRunsShown = 5;
  const auto start = Clock::now();
  c.engine->reset_profile();
  c.runs.clear();
  c.profile_start_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(start.time_since_epoch()).count();
  std::vector<Datum> outputs;
  const double ms = options.iterations ? 0 : std::min(options.duration * 1000, 500.0);
  size_t done = 0;
  const auto most = static_cast<size_t>(options.iterations);
  do {
    Contender::Run run;
    RunOptions with;
    with.profile = true;
    if (done < kRunsShown) with.spans = &run.spans;
    run.at = ms_since(start);
    TRY(c.engine->run(c.feeds, outputs, with));
    run.ms = ms_since(start) - run.at;
    if (done++ < kRunsShown) c.runs.push_back(std::move(run));
  } while (options.iterations ? done < std::min<size_t>(most, 100) : ms_since(start) < ms);
  c.profile = c.engine->profile();
  return ok();
}

}  // namespace onnxtool
