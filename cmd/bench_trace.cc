// SPDX-License-Identifier: Apache-2.0
// bench --trace: the Trace Event Format ("Trace Event Format", Duflot, Google 2016) as JSON.
#include "cmd/bench_report.h"

namespace onnxtool {
namespace {

using Json = nlohmann::ordered_json;

Json event(int pid, int tid, const std::string& name, double start_ms, double ms) {
  return {{"ph", "X"},       {"pid", pid}, {"tid", tid}, {"name", name}, {"ts", start_ms * 1000},
          {"dur", ms * 1000}};
}

void name_of(Json& events, const char* what, int pid, int tid, const std::string& name) {
  events.push_back(
      {{"ph", "M"}, {"pid", pid}, {"tid", tid}, {"name", what}, {"args", {{"name", name}}}});
}

}  // namespace

std::string bench_trace(const std::vector<BenchResult>& results, const MachineSpeed& machine) {
  constexpr size_t kMostRuns = 20000;
  enum Lane { kStart = 1, kRuns, kSteps };
  Json events = Json::array();
  for (size_t k = 0; k < results.size(); ++k) {
    const BenchResult& r = results[k];
    const Contender& c = *r.contender;
    const int pid = static_cast<int>(k) + 1;
    name_of(events, "process_name", pid, 0, r.label());
    name_of(events, "thread_name", pid, kStart, "start");
    name_of(events, "thread_name", pid, kRuns, "measured runs");
    name_of(events, "thread_name", pid, kSteps, "steps");
    double at = 0;
    const std::pair<const char*, double> phases[] = {
        {"load", c.load_ms}, {"compile", c.compile_ms}, {"first run", c.first_ms}};
    for (const auto& [name, ms] : phases) {
      events.push_back(event(pid, kStart, name, at, ms));
      at += ms;
    }
    double end = at;
    for (size_t i = 0; i < c.samples.size() && i < kMostRuns; ++i) {
      const Sample& s = c.samples[i];
      // Requests at the same time overlap: a lane each, by turns, keeps them apart.
      const int lane = kSteps + 1 + static_cast<int>(i) % r.concurrency;
      events.push_back(event(pid, r.concurrency > 1 ? lane : kRuns,
                             i < c.warmup ? "warm-up run" : "run", at + s.at, s.ms));
      end = std::max(end, at + s.at + s.ms);
    }
    for (const Sample& s : machine.loop)
      events.push_back({{"ph", "C"},
                        {"pid", pid},
                        {"name", "machine speed"},
                        {"ts", (at + s.at) * 1000},
                        {"args", {{"loops per ms", s.ms > 0 ? 1 / s.ms : 0}}}});
    std::vector<const ProfileRow*> by_step;
    for (const ProfileRow& row : r.rows) {
      if (by_step.size() <= row.step.step) by_step.resize(row.step.step + 1);
      by_step[row.step.step] = &row;
    }
    for (const Contender::Run& run : c.runs) {
      events.push_back(event(pid, kSteps, "run", end + run.at, run.ms));
      for (const StepSpan& s : run.spans) {
        const ProfileRow* row = s.step < by_step.size() ? by_step[s.step] : nullptr;
        if (!row) continue;  // a view: no work
        Json e = event(pid, kSteps, row->step.op,
                       end + 1e-6 * static_cast<double>(s.start_ns - c.profile_start_ns),
                       1e-6 * static_cast<double>(s.end_ns - s.start_ns));
        e["args"] = {{"name", row->step.name},     {"kernel", row->step.kernel},
                     {"shapes", row->step.shapes}, {"nodes", row->nodes},
                     {"gflops", row->gflops},      {"gbs", row->gbs}};
        events.push_back(std::move(e));
      }
    }
  }
  return Json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}.dump(
             -1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace onnxtool
