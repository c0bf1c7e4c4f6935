// SPDX-License-Identifier: Apache-2.0
#include "cmd/bench_report.h"

#include <sys/resource.h>

#include <cmath>

#include "cmd/output.h"
#include "libonnxtool/base/file.h"

namespace onnxtool {
namespace {

constexpr double kDriftLimit = 5;  // per cent

int64_t peak_rss() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  return static_cast<int64_t>(u.ru_maxrss) * 1024;
}

std::string drift_text(const BenchResult& r) {
  if (!r.drifted()) return "";
  std::string s =
      format("drift       latency changed by {:+.1f} % while measuring; ", r.latency_drift);
  return s +
         (std::fabs(r.machine_drift) > kDriftLimit
              ? format("a fixed loop by {:+.1f} %: this machine's speed changed\n", r.machine_drift)
              : format("a fixed loop by {:+.1f} % only\n", r.machine_drift));
}

std::string many_text(const std::vector<BenchResult>& results) {
  std::vector<std::vector<std::string>> rows = {{"model", "precision", "threads", "p50 ms", "+-",
                                                 "min", "p90", "p99", "runs/s", "load", "compile",
                                                 "time"}};
  std::string notes;
  for (const BenchResult& r : results) {
    const Contender& c = *r.contender;
    rows.push_back({escape(base_name(c.model), 60), c.precision, std::to_string(c.threads),
                    format("{:.4f}", r.stats.p50),
                    format("{:.4f}", (r.stats.p50_ci.high - r.stats.p50_ci.low) / 2),
                    format("{:.4f}", r.stats.min), format("{:.4f}", r.stats.p90),
                    format("{:.4f}", r.stats.p99), format("{:.1f}", c.per_second()),
                    format("{:.1f}", c.load_ms), format("{:.1f}", c.compile_ms),
                    format("{:.3f}", r.stats.p50 / results.front().stats.p50)});
    if (r.drifted()) notes += escape(r.label(), 200) + ": " + drift_text(r);
  }
  return table(rows) + notes;
}

// What of a run is the device's, the host's, and copies between the two.
std::string device_text(const Contender& c, const EngineStats& e) {
  if (e.device == "cpu") return "";
  std::string text = format(
      "device      {}\n            {} of {} steps there, {} copies of {} a run; enqueued after "
      "{:.4f} ms\n",
      e.device, e.device_steps, e.steps, e.device_copies,
      human_bytes(static_cast<uint64_t>(e.device_copy_bytes)), e.enqueue_ms);
  double device = 0, copies = 0, host = 0;
  for (const StepProfile& s : c.profile)
    (s.copy ? copies : s.on_device ? device : host) += s.min_ms;
  if (device + copies + host > 0)
    text += format("            kernels {:.4f} ms, copies {:.4f} ms, steps of the host {:.4f} ms\n",
                   device, copies, host);
  return text;
}

}  // namespace

bool BenchResult::drifted() const {
  return std::fabs(machine_drift) > kDriftLimit || std::fabs(latency_drift) > kDriftLimit;
}

std::string BenchResult::label() const {
  return format("{} {}, {} thread{}", base_name(contender->model), contender->precision,
                contender->threads, contender->threads == 1 ? "" : "s");
}

BenchResult result_of(const Contender& c, const MachineSpeed& machine, int concurrency) {
  BenchResult r;
  r.contender = &c;
  r.stats = stats_of(c.latencies());
  r.latency_drift =
      drift_percent({c.samples.begin() + static_cast<std::ptrdiff_t>(c.warmup), c.samples.end()});
  r.machine_drift = drift_percent(machine.loop);
  r.loop_ms = machine.median_ms();
  r.concurrency = concurrency;
  return r;
}

std::string bench_text(const std::vector<BenchResult>& results) {
  std::string out;
  for (const BenchResult& r : results) {
    if (r.rows.empty()) continue;
    if (results.size() > 1) out += escape(r.label(), 200) + "\n";
    out += profile_table(r.rows, r.machine) + "\n";
  }
  if (results.size() > 1) return out + many_text(results);
  const BenchResult& r = results.front();
  const Contender& c = *r.contender;
  const Stats& s = r.stats;
  const EngineStats e = c.engine->stats();
  out += format(
      "latency ms  p50 {:.4f}  min {:.4f}  mean {:.4f}  p90 {:.4f}  p99 {:.4f}  max {:.4f}  "
      "stddev {:.4f}\n",
      s.p50, s.min, s.mean, s.p90, s.p99, s.max, s.stddev);
  out += format("p50         between {:.4f} and {:.4f}, 95 % sure\n", s.p50_ci.low, s.p50_ci.high);
  out += format("runs        {} in {:.2f} s, {:.1f} a second{}; {} before them to warm up\n",
                c.samples.size() - c.warmup, c.wall_ms / 1000, c.per_second(),
                r.concurrency > 1 ? format(", {} at a time", r.concurrency) : "", c.warmup);
  out += drift_text(r);
  out += format("start       load {:.1f} ms, compile {:.1f} ms, first run {:.2f} ms\n", c.load_ms,
                c.compile_ms, c.first_ms);
  out += format("memory      peak {}, arena {}, packed weights {}\n",
                human_bytes(static_cast<uint64_t>(peak_rss())),
                human_bytes(static_cast<uint64_t>(e.arena_bytes)),
                human_bytes(static_cast<uint64_t>(e.packed_bytes)));
  if (!c.assumed.empty()) out += "sizes       " + c.assumed + " (--set, --shape)\n";
  out += device_text(c, e);
  return out + format("plan        {} nodes as {} steps, {} folded; {} threads, {}, {}\n", e.nodes,
                      e.steps, e.folded_nodes, c.threads, c.precision,
                      e.device == "cpu" ? e.device : e.device.substr(0, e.device.find(',')));
}

nlohmann::ordered_json bench_json(const std::vector<BenchResult>& results) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const BenchResult& r : results) {
    const Contender& c = *r.contender;
    const Stats& s = r.stats;
    const EngineStats e = c.engine->stats();
    Json j = {{"model", c.model},
              {"latency_ms",
               {{"min", s.min},
                {"mean", s.mean},
                {"p50", s.p50},
                {"p90", s.p90},
                {"p99", s.p99},
                {"max", s.max},
                {"stddev", s.stddev},
                {"p50_ci95", {s.p50_ci.low, s.p50_ci.high}}}},
              {"iterations", c.samples.size() - c.warmup},
              {"warmup_iterations", c.warmup},
              {"concurrency", r.concurrency},
              {"throughput_per_s", c.per_second()},
              {"drift",
               {{"detected", r.drifted()},
                {"latency_percent", r.latency_drift},
                {"machine_percent", r.machine_drift}}},
              {"machine_loop_ms", r.loop_ms},
              {"first_run_ms", c.first_ms},
              {"load_ms", c.load_ms},
              {"compile_ms", c.compile_ms},
              {"peak_rss_bytes", peak_rss()},
              {"threads", c.threads},
              {"precision", c.precision},
              {"device", e.device},
              {"device_steps", e.device_steps},
              {"device_copies", e.device_copies},
              {"device_copy_bytes", e.device_copy_bytes},
              {"enqueue_ms", e.enqueue_ms},
              {"sizes_assumed", c.assumed},
              {"nodes", e.nodes},
              {"steps", e.steps},
              {"arena_bytes", e.arena_bytes},
              {"arena_lower_bound_bytes", e.arena_lower_bound},
              {"packed_bytes", e.packed_bytes},
              {"cached_bytes", e.cached_bytes}};
    if (!r.rows.empty()) {
      Json bandwidth = Json::array();
      for (const Roofline::Bandwidth& b : r.machine.bandwidth)
        bandwidth.push_back({{"bytes", b.bytes}, {"gbs", b.gbs}});
      j["roofline"] = {{"gflops", r.machine.gflops}, {"bandwidth", bandwidth}};
      j["profile"] = Json::array();
      for (const ProfileRow& row : r.rows)
        j["profile"].push_back(
            {{"name", row.step.name},
             {"op", row.step.op},
             {"kernel", row.step.kernel},
             {"shapes", row.step.shapes},
             {"nodes", row.nodes},
             {"calls", row.step.calls},
             {"total_ms", row.step.total_ms},
             {"min_ms", row.step.min_ms},
             {"macs", row.step.macs},
             {"bytes", row.step.bytes},
             {"gflops", row.gflops},
             {"gbs", row.gbs},
             {"roofline_percent", row.roofline > 0 ? Json(row.roofline) : Json()}});
    }
    list.push_back(std::move(j));
  }
  return results.size() == 1 ? list[0] : Json{{"results", std::move(list)}};
}

}  // namespace onnxtool
