// SPDX-License-Identifier: Apache-2.0
// What `bench` found: as text, as a JSON document, as a trace, as a page; and against an earlier
// JSON document.
#pragma once
#include <nlohmann/json.hpp>

#include "cmd/bench_profile.h"

namespace onnxtool {

struct BenchResult {
  const Contender* contender = nullptr;
  Stats stats;
  double latency_drift = 0, machine_drift = 0;  // per cent
  int concurrency = 1;
  double loop_ms = 0;  // MachineSpeed
  std::vector<ProfileRow> rows;
  Roofline machine;  // where there are rows
  bool drifted() const;
  std::string label() const;  // "model.onnx fp32, 2 threads"
};

BenchResult result_of(const Contender& c, const MachineSpeed& machine, int concurrency);

std::string bench_text(const std::vector<BenchResult>& results);
nlohmann::ordered_json bench_json(const std::vector<BenchResult>& results);
// For chrome://tracing and Perfetto: loading, the measured runs, some runs with their steps.
std::string bench_trace(const std::vector<BenchResult>& results, const MachineSpeed& machine);
// One file, no scripts, nothing fetched.
std::string bench_html(const std::vector<BenchResult>& results, const MachineSpeed& machine);

// Each result against the same model, precision, threads and concurrency of `base` (bench_json).
struct Comparison {
  std::string text;
  bool slower = false;  // one of them, for sure, by more than `limit` per cent
};
Result<Comparison> compare_bench(const std::vector<BenchResult>& results,
                                 const nlohmann::json& base, double limit);

}  // namespace onnxtool
