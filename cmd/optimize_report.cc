// SPDX-License-Identifier: Apache-2.0
#include "cmd/optimize_report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "cmd/graph_picture.h"
#include "cmd/report_page.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// Numbers for what nodes are known by in both models.
using Numbers = std::unordered_map<std::string, size_t>;

std::string key_of(const Model& m, NodeId id) {
  const Node& n = m.node(id);
  return n.op.str() + "\n" + (n.has_output(0) ? m.value(n.output(0)).name : n.name);
}

Numbers number_nodes(const Model& m) {
  Numbers r;
  for (uint32_t i = 0; i < m.num_nodes(); ++i)
    if (!m.node(NodeId(i)).removed()) r.try_emplace(key_of(m, NodeId(i)), r.size());
  return r;
}

std::string card(const char* what, const std::string& a, const std::string& b, double before,
                 double after) {
  std::string change;
  if (before > 0 && std::fabs(after / before - 1) >= 5e-4)
    change = format(" <span class=\"{}\">{:+.1f} %</span>", after < before ? "less" : "more",
                    100 * (after / before - 1));
  return format("<div class=\"card\"><span>{}</span><b>{} &rarr; {}</b>{}</div>\n", what, a, b,
                change);
}

std::string op_table(const std::map<std::string, int64_t>& before,
                     const std::map<std::string, int64_t>& after) {
  struct Row {
    std::string op;
    int64_t before = 0, after = 0;
  };
  std::map<std::string, Row> all;
  for (const auto& [op, n] : before) all[op].before = n;
  for (const auto& [op, n] : after) all[op].after = n;
  std::vector<Row> rows;
  int64_t most = 1;
  for (auto& [op, r] : all) {
    r.op = op;
    most = std::max({most, r.before, r.after});
    rows.push_back(r);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::abs(a.after - a.before) > std::abs(b.after - b.before);
  });
  std::string s =
      "<div><h2>Operators</h2><div class=\"scroll\"><table><tr><th>op</th><th>before</th>"
      "<th>after</th><th></th><th></th></tr>\n";
  for (const Row& r : rows) {
    const int64_t change = r.after - r.before;
    s += format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{}</td><td class=\"bar\">"
        "<i style=\"width:{:.1f}%\"></i><i style=\"width:{:.1f}%\"></i></td></tr>\n",
        html_text(r.op), r.before, r.after, change < 0 ? "less" : "more",
        change ? format("{:+}", change) : "",
        100.0 * static_cast<double>(r.before) / static_cast<double>(most),
        100.0 * static_cast<double>(r.after) / static_cast<double>(most));
  }
  return s + "</table></div></div>\n";
}

std::string pass_table(const OptimizeReport& report) {
  std::string s =
      "<div><h2>Passes</h2><div class=\"scroll\"><table><tr><th>pass</th><th>edits</th>"
      "<th>refused</th><th>ms</th></tr>\n";
  for (const PassStats& p : report.run.passes)
    if (p.edits || p.refused)
      s += format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}</td></tr>\n",
                  html_text(p.pass->name), p.edits, p.refused, 1e3 * p.seconds);
  return s + "</table></div></div>\n";
}

std::string values(const Model& m, const std::vector<ValueId>& list, const Inference* types) {
  std::string s;
  for (size_t i = 0; i < std::min<size_t>(list.size(), 12); ++i) {
    if (!list[i].valid()) continue;
    const Type& t = types ? types->type(list[i]) : m.value(list[i]).type;
    s += (s.empty() ? "" : ", ") + html_text(m.value(list[i]).name) + " " + html_text(t.text());
  }
  return s + (list.size() > 12 ? ", ..." : "");
}

// The main graph, then the bodies of its nodes.
std::string graphs_of(const Model& m, const Inference* types,
                      const std::function<NodeMark(NodeId)>& mark) {
  std::string s;
  size_t drawn = 0;
  for (uint32_t i = 0; i < m.num_graphs(); ++i) {
    const GraphId g(i);
    if (m.graph(g).removed || m.graph(g).function >= 0 || m.graph(g).nodes.empty()) continue;
    const size_t nodes = m.graph(g).nodes.size();
    if (g == m.main())
      s += format("<h3>{} &rarr; {}</h3>\n", values(m, m.graph(g).inputs, types),
                  values(m, m.graph(g).outputs, types));
    else
      s += format("<h3>body {}</h3>\n", html_text(m.graph(g).name));
    const std::string svg =
        drawn + nodes <= kMostDrawn ? graph_svg(m, g, types, mark) : std::string();
    drawn += nodes;
    s += svg.empty() ? format("<h3>{} nodes, too many to draw</h3>", nodes) : svg;
  }
  return s;
}

}  // namespace

std::string optimize_report(const ModelSide& before, const ModelSide& after,
                            const OptimizeReport& report, const std::string& verified) {
  Inference types_before(*before.model), types_after(*after.model);
  const bool known = types_before.run().ok() && types_after.run().ok();
  std::string s =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>onnxtool optimize: ";
  s += html_text(before.name) + "</title><style>" + kReportStyle + "</style></head><body>\n";
  s += format("<h1>{} &rarr; {}</h1>\n", html_text(before.name, 200), html_text(after.name, 200));
  s += format("<p>{} edits in {} rounds, {:.3f} s; verified: {}</p>\n<div class=\"cards\">\n",
              report.run.edits, report.run.rounds, report.seconds, html_text(verified, 300));
  const auto bytes = [](int64_t n) { return human_bytes(static_cast<uint64_t>(n)); };
  s += card("nodes", std::to_string(report.nodes_before), std::to_string(report.nodes_after),
            static_cast<double>(report.nodes_before), static_cast<double>(report.nodes_after));
  s += card("weights", bytes(before.weight_bytes), bytes(after.weight_bytes),
            static_cast<double>(before.weight_bytes), static_cast<double>(after.weight_bytes));
  s += card("multiply-accumulates", macs_cell(before.macs), macs_cell(after.macs),
            static_cast<double>(before.macs.macs), static_cast<double>(after.macs.macs));
  s += "</div>\n<div class=\"tables\">\n" + op_table(before.ops, after.ops) + pass_table(report) +
       "</div>\n";
  s += kReportTools;
  const Numbers numbers_before = number_nodes(*before.model),
                numbers_after = number_nodes(*after.model);
  const auto side = [&](const char* title, const ModelSide& m, const Inference& types,
                        const char* css) {
    const auto mark = [&](NodeId n) -> NodeMark {
      const std::string key = key_of(*m.model, n);
      const auto a = numbers_before.find(key), b = numbers_after.find(key);
      if (a == numbers_before.end()) return {css, numbers_before.size() + b->second};
      return {b == numbers_after.end() ? css : "kept", a->second};
    };
    return format("<div class=\"graph\"><h2>{}</h2><div class=\"pane\">", title) +
           graphs_of(*m.model, known ? &types : nullptr, mark) + "</div></div>\n";
  };
  s += side("before", before, types_before, "gone") + side("after", after, types_after, "new");
  return s + "</div>\n<script>" + kReportScript + "</script></body></html>\n";
}

}  // namespace onnxtool
