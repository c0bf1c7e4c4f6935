// SPDX-License-Identifier: Apache-2.0
// bench --html: a page with drawings in SVG.
#include <algorithm>
#include <cmath>
#include <map>

#include "cmd/bench_report.h"
#include "cmd/graph_picture.h"
#include "libonnxtool/base/file.h"

namespace onnxtool {
namespace {

constexpr const char* kStyle =
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;"
    "color:#222;background:#fff}h1{font-size:22px}h2{font-size:17px;margin:2em 0 .3em;"
    "border-top:1px solid #ddd;padding-top:1em}h3{font-size:14px;margin:1.4em 0 .2em}"
    "table{border-collapse:collapse;font-size:12.5px}td,th{padding:2px 12px 2px 0;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}td.n,th.n{text-align:right;font-variant-numeric:"
    "tabular-nums}"
    "tr:nth-child(even){background:#f6f7f9}.warn{color:#a33}"
    "svg{display:block;max-width:100%;font:11px system-ui,sans-serif}svg text{fill:#555}"
    ".bar{fill:#4878b0}.bar:hover{fill:#1d4f8c}.dot{fill:#4878b0;fill-opacity:.55}"
    ".warm{fill:#c9c9c9}.axis{stroke:#999}.grid{stroke:#e6e6e6}.mark{stroke:#c2572b}"
    ".speed{stroke:#7aa35a;fill:none}.ci{stroke:#c2572b;stroke-width:2}";

constexpr double kWide = 900, kLeft = 62, kRight = 20;

// A step of 1, 2 or 5 times a power of ten that divides `range` into about five.
double tick_of(double range) {
  const double raw = range / 5, power = std::pow(10, std::floor(std::log10(raw)));
  const double f = raw / power;
  return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

struct Axis {
  double low, high, from, to;  // values, pixels
  double least_step = 0;
  double at(double v) const { return from + (v - low) / (high - low) * (to - from); }
  template <typename F>
  void ticks(F f) const {
    const double step = std::max(least_step, tick_of(high - low));
    for (double v = std::ceil(low / step) * step; v <= high + step * 1e-9; v += step)
      f(std::fabs(v) < step * 1e-9 ? 0 : v, at(v));
  }
};

Axis axis(double low, double high, double from, double to) {
  if (!(high > low)) high = low + std::max(1e-6, std::fabs(low) * 0.01);
  return {low, high, from, to};
}

std::string open_svg(double height) {
  return format("<svg viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\">\n", kWide,
                height);
}

std::string below(const Axis& x, double y, const char* unit) {
  std::string s = format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", kLeft,
                         kWide - kRight, y, y);
  x.ticks([&](double v, double at) {
    s +=
        format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.4g}</text>\n", at, y + 15, v);
  });
  return s + format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kWide - kRight,
                    y + 29, unit);
}

std::string beside(const Axis& y, const char* unit) {
  std::string s;
  y.ticks([&](double v, double at) {
    s += format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>\n",
        kLeft, kWide - kRight, at, at, kLeft - 6, at + 4, v);
  });
  return s + format("<text x=\"{}\" y=\"10\" text-anchor=\"end\">{}</text>\n", kLeft - 6, unit);
}

// Counts of latencies; the slowest hundredth in the last bar.
std::string distribution(const BenchResult& r) {
  constexpr size_t kBins = 60;
  const std::vector<double> ms = r.contender->latencies();
  const Axis x =
      axis(r.stats.min, r.stats.p99 + (r.stats.p99 - r.stats.min) * 0.05, kLeft, kWide - kRight);
  std::vector<size_t> bins(kBins, 0);
  for (double v : ms)
    ++bins[static_cast<size_t>(std::clamp((v - x.low) / (x.high - x.low), 0.0, 0.9999) * kBins)];
  Axis y = axis(0, static_cast<double>(*std::max_element(bins.begin(), bins.end())), 180, 26);
  y.least_step = 1;
  std::string s = open_svg(216) + beside(y, "runs");
  const double width = (x.to - x.from) / kBins;
  for (size_t i = 0; i < kBins; ++i) {
    if (!bins[i]) continue;
    const double top = y.at(static_cast<double>(bins[i])),
                 from = x.low + (x.high - x.low) * static_cast<double>(i) / kBins;
    s += format(
        "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
        "<title>{} runs from {:.4g} ms{}</title></rect>\n",
        x.at(from), top, width - 1, 180 - top, bins[i], from,
        i + 1 == kBins ? " on" : format(" to {:.4g} ms", from + (x.high - x.low) / kBins));
  }
  const std::pair<const char*, double> marks[] = {
      {"p50", r.stats.p50}, {"p90", r.stats.p90}, {"p99", r.stats.p99}};
  for (const auto& [name, v] : marks)
    s += format(
        "<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"26\" y2=\"180\"/>"
        "<text x=\"{0:.1f}\" y=\"20\" text-anchor=\"middle\">{1}</text>\n",
        x.at(v), name);
  return s + below(x, 180, "latency, ms") + "</svg>\n";
}

// Latency over time, warm-up grey, and how fast the machine was.
std::string timeline(const BenchResult& r, const MachineSpeed& machine) {
  const std::vector<Sample>& all = r.contender->samples;
  const double top = std::min(r.stats.max, r.stats.p99 * 1.5);
  const Axis x = axis(all.front().at, all.back().at + all.back().ms, kLeft, kWide - kRight);
  const Axis y = axis(0, top, 180, 26);
  std::string s = open_svg(216) + beside(y, "ms");
  // At most two dots (lowest and highest) for each pixel.
  const size_t group = std::max<size_t>(1, all.size() / 1500);
  for (size_t i = 0; i < all.size(); i += group) {
    const auto [low, high] = std::minmax_element(
        all.begin() + static_cast<std::ptrdiff_t>(i),
        all.begin() + static_cast<std::ptrdiff_t>(std::min(i + group, all.size())),
        [](const Sample& a, const Sample& b) { return a.ms < b.ms; });
    for (const auto& at : {low, high}) {
      s += format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"1.8\"/>\n",
                  i < r.contender->warmup ? "warm" : "dot", x.at(at->at),
                  y.at(std::min(at->ms, top)));
      if (low == high) break;
    }
  }
  if (r.loop_ms > 0 && machine.loop.size() > 1) {
    s += "<path class=\"speed\" d=\"";
    const char* op = "M";
    for (const Sample& m : machine.loop) {
      if (m.at < x.low || m.at > x.high || m.ms <= 0) continue;
      const double v = std::min(top, r.stats.p50 * m.ms / r.loop_ms);
      s += format("{}{:.1f},{:.1f}", op, x.at(m.at), y.at(v));
      op = "L";
    }
    s += "\"><title>a fixed loop, scaled to the median</title></path>\n";
  }
  return s + below(x, 180, "time, ms") + "</svg>\n";
}

struct Bar {
  std::string name, tip;
  double value = 0;
  Interval ci;  // 0, 0: none
};

std::string bars(const std::vector<Bar>& list, const char* unit) {
  constexpr double kNames = 330, kHigh = 20;
  double most = 0;
  for (const Bar& b : list) most = std::max({most, b.value, b.ci.high});
  const Axis x = axis(0, most, kNames, kWide - kRight - 70);
  std::string s = open_svg(kHigh * static_cast<double>(list.size()) + 8);
  double y = 4;
  for (const Bar& b : list) {
    s += format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect class=\"bar\" x=\"{}\" "
        "y=\"{}\" "
        "width=\"{:.1f}\" height=\"{}\"><title>{}</title></rect>",
        kNames - 8, y + 14, html_text(b.name, 56), kNames, y + 2, x.at(b.value) - kNames, kHigh - 5,
        html_text(b.tip, 300));
    if (b.ci.high > 0)
      s += format("<line class=\"ci\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>",
                  x.at(b.ci.low), x.at(b.ci.high), y + 9, y + 9);
    s += format("<text x=\"{:.1f}\" y=\"{}\">{:.4g} {}</text>\n",
                x.at(std::max(b.value, b.ci.high)) + 6, y + 14, b.value, unit);
    y += kHigh;
  }
  return s + "</svg>\n";
}

std::string share_of_ops(const std::vector<ProfileRow>& rows) {
  std::map<std::string, std::pair<double, size_t>> by_op;
  for (const ProfileRow& r : rows) {
    by_op[r.step.op].first += r.share;
    ++by_op[r.step.op].second;
  }
  std::vector<Bar> list;
  for (const auto& [op, sum] : by_op)
    list.push_back({op, format("{} steps", sum.second), sum.first, {}});
  std::stable_sort(list.begin(), list.end(),
                   [](const Bar& a, const Bar& b) { return a.value > b.value; });
  constexpr size_t kShown = 14;
  if (list.size() > kShown) {
    double rest = 0;
    for (size_t i = kShown; i < list.size(); ++i) rest += list[i].value;
    list.resize(kShown);
    list.push_back({"others", "", rest, {}});
  }
  return bars(list, "%");
}

std::string steps_table(const std::vector<ProfileRow>& rows) {
  constexpr size_t kShown = 100;
  std::string s =
      "<table><tr><th class=\"n\">ms</th><th class=\"n\">%</th><th class=\"n\">GFLOP/s</th>"
      "<th class=\"n\">GB/s</th><th class=\"n\">roofline %</th><th>op</th><th>kernel</th>"
      "<th>shapes</th><th>nodes</th></tr>\n";
  const auto number = [](double v, int digits) {
    return format("<td class=\"n\">{}</td>", v > 0 ? format("{:.{}f}", v, digits) : "");
  };
  for (size_t i = 0; i < std::min(rows.size(), kShown); ++i) {
    const ProfileRow& r = rows[i];
    std::string nodes;
    for (const std::string& n : r.nodes) nodes += (nodes.empty() ? "" : ", ") + n;
    s += "<tr>" + number(r.ms, 4) + number(r.share, 1) + number(r.gflops, 1) + number(r.gbs, 1) +
         number(r.roofline, 0) +
         format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", html_text(r.step.op),
                html_text(r.step.kernel), html_text(r.step.shapes),
                html_text(nodes.empty() ? r.step.name : nodes, 120));
  }
  s += "</table>\n";
  if (rows.size() > kShown) s += format("<p>and {} more</p>\n", rows.size() - kShown);
  return s;
}

}  // namespace

std::string bench_html(const std::vector<BenchResult>& results, const MachineSpeed& machine) {
  std::string title;
  for (const BenchResult& r : results)
    if (const std::string name = base_name(r.contender->model); title.find(name) == title.npos)
      title += (title.empty() ? "" : ", ") + name;
  std::string s = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
                  html_text(title, 200) + "</title><style>" + kStyle + "</style></head><body>\n";
  s += format("<h1>onnxtool bench: {}</h1>\n<p>{}, onnxtool {}</p>\n", html_text(title, 200),
              html_text(cpu_name()), ONNXTOOL_VERSION);
  if (results.size() > 1) {
    std::vector<Bar> list;
    for (const BenchResult& r : results)
      list.push_back(
          {r.label(), format("p90 {:.4g} ms", r.stats.p90), r.stats.p50, r.stats.p50_ci});
    s += "<h3>median latency, with its 95 % interval</h3>\n" + bars(list, "ms");
  }
  for (const BenchResult& r : results) {
    const Contender& c = *r.contender;
    const EngineStats e = c.engine->stats();
    s += format("<h2>{}</h2>\n<table>", html_text(r.label(), 200));
    const auto row = [&](const char* name, const std::string& value) {
      s += format("<tr><th>{}</th><td>{}</td></tr>\n", name, value);
    };
    row("p50", format("{:.4f} ms, between {:.4f} and {:.4f} (95 %)", r.stats.p50,
                      r.stats.p50_ci.low, r.stats.p50_ci.high));
    row("others", format("min {:.4f}, mean {:.4f}, p90 {:.4f}, p99 {:.4f}, max {:.4f} ms",
                         r.stats.min, r.stats.mean, r.stats.p90, r.stats.p99, r.stats.max));
    row("runs", format("{}, {:.1f} a second, {} at a time, after {} to warm up",
                       c.samples.size() - c.warmup, c.per_second(), r.concurrency, c.warmup));
    row("start", format("load {:.1f} ms, compile {:.1f} ms, first run {:.2f} ms", c.load_ms,
                        c.compile_ms, c.first_ms));
    row("memory",
        format("arena {}, packed weights {}", human_bytes(static_cast<uint64_t>(e.arena_bytes)),
               human_bytes(static_cast<uint64_t>(e.packed_bytes))));
    s += "</table>\n";
    if (r.drifted())
      s += format(
          "<p class=\"warn\">Drift: latency changed by {:+.1f} % while measuring, a fixed "
          "loop by {:+.1f} %.</p>\n",
          r.latency_drift, r.machine_drift);
    s +=
        "<h3>distribution</h3>\n" + distribution(r) + "<h3>over time</h3>\n" + timeline(r, machine);
    if (r.rows.empty()) continue;
    s += "<h3>share of each operation</h3>\n" + share_of_ops(r.rows) + "<h3>steps</h3>\n" +
         steps_table(r.rows);
  }
  return s + "</body></html>\n";
}

}  // namespace onnxtool
