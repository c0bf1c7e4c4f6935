// SPDX-License-Identifier: Apache-2.0
#include "cmd/bench_profile.h"

#include <algorithm>
#include <unordered_map>

#include "cmd/output.h"

namespace onnxtool {
namespace {

// Names change when nodes are rewritten, values at their borders stay: a node belongs to the step
// that gives its output, or to the first one downstream.
void attribute_nodes(const std::vector<OriginalNode>& nodes, std::vector<ProfileRow>& rows) {
  std::unordered_map<std::string, size_t> given;
  for (size_t r = 0; r < rows.size(); ++r)
    for (const std::string& name : rows[r].step.outputs) given.emplace(name, r);
  std::unordered_map<std::string, std::vector<size_t>> readers;
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const std::string& name : nodes[i].in) readers[name].push_back(i);
  std::vector<size_t> seen(nodes.size(), SIZE_MAX);
  for (size_t start = 0; start < nodes.size(); ++start) {
    if (nodes[start].op == "Constant") continue;
    constexpr size_t kMostVisited = 500;
    std::vector<size_t> queue = {start};
    seen[start] = start;
    bool found = false;
    for (size_t at = 0; at < queue.size() && !found && at < kMostVisited; ++at) {
      const OriginalNode& n = nodes[queue[at]];
      for (const std::string& out : n.out) {
        if (auto hit = given.find(out); hit != given.end() && !found) {
          const OriginalNode& o = nodes[start];
          rows[hit->second].nodes.push_back(
              !o.name.empty() ? o.name : o.op + (o.out.empty() ? "" : ":" + o.out[0]));
          found = true;
        }
        if (auto next = readers.find(out); next != readers.end())
          for (size_t k : next->second)
            if (seen[k] != start) seen[k] = start, queue.push_back(k);
      }
    }
  }
}

}  // namespace

std::vector<ProfileRow> profile_rows(const Contender& c, const Roofline& machine) {
  std::vector<ProfileRow> rows;
  double total = 0;
  for (const StepProfile& s : c.profile) total += s.min_ms;
  for (const StepProfile& s : c.profile) {
    if (s.calls == 0) continue;
    ProfileRow r{s};
    r.ms = s.min_ms;
    r.share = total > 0 ? 100 * r.ms / total : 0;
    if (r.ms > 0) {
      r.gflops = 2e-6 * static_cast<double>(s.macs) / r.ms;
      r.gbs = 1e-6 * static_cast<double>(s.bytes) / r.ms;
      const bool here =
          s.on_device == (machine.threads == 0) && !s.copy;  // the roofline is its own
      if (here) r.roofline = 100 * machine.least_ms(s.macs, s.bytes, s.fp32) / r.ms;
    }
    rows.push_back(std::move(r));
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.ms > b.ms; });
  attribute_nodes(c.original, rows);
  return rows;
}

std::string profile_table(const std::vector<ProfileRow>& rows, const Roofline& machine) {
  std::vector<std::vector<std::string>> cells = {
      {"ms", "%", "GFLOP/s", "GB/s", "roofline %", "op", "kernel", "shapes", "nodes"}};
  for (const ProfileRow& r : rows) {
    std::string nodes = r.nodes.empty() ? escape(r.step.name, 40) : escape(r.nodes[0], 40);
    if (r.nodes.size() > 1) nodes += format(" and {} more", r.nodes.size() - 1);
    cells.push_back({format("{:.4f}", r.ms), format("{:.1f}", r.share),
                     r.gflops > 0 ? format("{:.1f}", r.gflops) : "",
                     r.gbs > 0 ? format("{:.1f}", r.gbs) : "",
                     r.roofline > 0 ? format("{:.0f}", r.roofline) : "", escape(r.step.op, 40),
                     r.step.kernel, r.step.shapes, nodes});
  }
  std::string s = table(cells) + format("roofline    {:.0f} GFLOP/s fp32;", machine.gflops);
  for (const Roofline::Bandwidth& b : machine.bandwidth)
    s += format(" {:.0f} GB/s in {}{}", b.gbs, human_bytes(static_cast<uint64_t>(b.bytes)),
                &b == &machine.bandwidth.back() ? "" : ",");
  if (machine.half_gflops > 0) s += format("; {:.0f} GFLOP/s half precision", machine.half_gflops);
  return s + (machine.threads > 0 ? format("; {} threads\n", machine.threads)
                                  : std::string("; by the device's data sheet\n"));
}

}  // namespace onnxtool
