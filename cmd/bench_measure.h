// SPDX-License-Identifier: Apache-2.0
// What `bench` measures: models at a precision on a number of threads, in turns, so that what
// happens to the machine happens to all of them.
#pragma once
#include <optional>

#include "cmd/bench_stats.h"
#include "cmd/feeds.h"
#include "cmd/prepare.h"

namespace onnxtool {

struct BenchOptions {
  double duration = 3, warmup = 0.3;  // seconds, each contender
  int64_t iterations = 0;             // instead of duration
  int concurrency = 1;                // requests at the same time
};

struct Contender {
  std::string model, precision;
  int threads = 0;
  std::optional<Engine> engine;
  std::vector<Datum> feeds;
  std::string assumed;  // sizes that nobody told
  std::vector<OriginalNode> original;
  double load_ms = 0, compile_ms = 0, first_ms = 0;
  // Of the last measuring:
  std::vector<Sample> samples;  // in order; the first `warmup` are none of the measurement
  size_t warmup = 0;
  double wall_ms = 0, measured_runs = 0;  // of the turns after the warm-up
  std::vector<StepProfile> profile;
  struct Run {
    double at = 0, ms = 0;
    std::vector<StepSpan> spans;
  };
  std::vector<Run> runs;         // a few of those for the profile, with their steps
  int64_t profile_start_ns = 0;  // on the clock of the spans

  std::vector<double> latencies() const;  // without the warm-up
  double per_second() const { return wall_ms > 0 ? 1000 * measured_runs / wall_ms : 0; }
};

// How fast the machine itself was over time: a fixed loop, timed between runs.
struct MachineSpeed {
  std::vector<Sample> loop;
  double median_ms() const;
};

// Loads, compiles and runs once.
Result<Contender> make_contender(const std::string& model, const EngineFlags& flags,
                                 const FeedOptions& feeds, int threads,
                                 const GlobalOptions& global);

// Warms up, then measures all contenders in turns.
Result<MachineSpeed> measure(std::vector<Contender>& contenders, const BenchOptions& options,
                             const GlobalOptions& global);

// More runs, in which the steps are timed.
Status profile(Contender& c, const BenchOptions& options);

}  // namespace onnxtool
