// SPDX-License-Identifier: Apache-2.0
#include "cmd/optimize_report.h"

#include <set>

#include "cmd/graph_picture.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

constexpr const char* kStyle = R"(
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}
.less{color:#176f2c}.more{color:#a11}
.graphs{display:flex;gap:1em;align-items:flex-start}
.graph{flex:1 1 0;min-width:0;overflow:auto;max-height:85vh;border:1px solid #ccc}
svg text{font:11px sans-serif;text-anchor:middle;fill:#222}
svg rect{fill:#eef2f7;stroke:#8a9bb0}
svg path{fill:none;stroke:#b5bec9}
.gone rect{fill:#fbdcdc;stroke:#c66}
.new rect{fill:#d9f2dd;stroke:#4a9}
)";

// What a node of one model is known by in the other.
std::string key_of(const Model& m, NodeId id) {
  const Node& n = m.node(id);
  return n.op.str() + "\n" + (n.has_output(0) ? m.value(n.output(0)).name : n.name);
}

std::set<std::string> keys_of(const Model& m) {
  std::set<std::string> r;
  for (NodeId id : m.graph(m.main()).nodes)
    if (!m.node(id).removed()) r.insert(key_of(m, id));
  return r;
}

std::string row(const std::string& what, const std::string& a, const std::string& b,
                int64_t change) {
  const char* css = change < 0 ? "less" : change > 0 ? "more" : "same";
  return format("<tr><td>{}</td><td>{}</td><td class=\"{}\">{}</td></tr>\n", what, a, css, b);
}

std::string macs_text(const MacCount& c) {
  std::string s = human_count(static_cast<uint64_t>(c.macs));
  if (c.unknown) s += format(" and {} nodes of unknown size", c.unknown);
  return s;
}

}  // namespace

MacCount count_macs(const Model& m, const Inference& state) {
  MacCount c;
  for (uint32_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(i));
    if (n.removed() || m.graph(n.graph).function >= 0) continue;
    const OpDef* def = find_op(n);
    if (!def || !def->macs) continue;
    const auto ctx = state.context(NodeId(i));
    const auto macs = ctx ? def->macs(*ctx) : Result<int64_t>(invalid(""));
    if (!macs.ok() || __builtin_add_overflow(c.macs, *macs, &c.macs)) ++c.unknown;
  }
  return c;
}

std::string optimize_report(const ModelSide& before, const ModelSide& after,
                            const OptimizeReport& report, const std::string& verified) {
  Inference types_before(*before.model), types_after(*after.model);
  const bool a_ok = types_before.run().ok(), b_ok = types_after.run().ok();
  std::string s =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>onnxtool optimize: ";
  s += html_text(before.name) + "</title><style>" + kStyle + "</style></head><body>\n";
  s += format("<h1>{} &rarr; {}</h1>\n", html_text(before.name), html_text(after.name));
  s += format("<p>{} edits in {} rounds, {:.3f} s; verified: {}</p>\n", report.run.edits,
              report.run.rounds, report.seconds, html_text(verified, 300));

  s += "<table><tr><th></th><th>before</th><th>after</th></tr>\n";
  const auto nodes_before = static_cast<int64_t>(report.nodes_before);
  const auto nodes_after = static_cast<int64_t>(report.nodes_after);
  s += row("nodes", std::to_string(nodes_before), std::to_string(nodes_after),
           nodes_after - nodes_before);
  s += row("weights", human_bytes(static_cast<uint64_t>(before.weight_bytes)),
           human_bytes(static_cast<uint64_t>(after.weight_bytes)),
           after.weight_bytes - before.weight_bytes);
  if (a_ok && b_ok) {
    const MacCount a = count_macs(*before.model, types_before);
    const MacCount b = count_macs(*after.model, types_after);
    s += row("MACs", macs_text(a), macs_text(b), b.macs - a.macs);
  }
  std::map<std::string, std::pair<int64_t, int64_t>> all;
  for (const auto& [op, n] : before.ops) all[op].first = n;
  for (const auto& [op, n] : after.ops) all[op].second = n;
  for (const auto& [op, n] : all)
    s += row(html_text(op), std::to_string(n.first), std::to_string(n.second), n.second - n.first);
  s += "</table>\n";

  s += "<table><tr><th>pass</th><th>edits</th><th>refused</th><th>ms</th></tr>\n";
  for (const PassStats& p : report.run.passes)
    if (p.edits || p.refused)
      s += format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}</td></tr>\n",
                  html_text(p.pass->name), p.edits, p.refused, 1e3 * p.seconds);
  s += "</table>\n<div class=\"graphs\">\n";

  const auto side = [&](const ModelSide& m, const Inference* types,
                        const std::set<std::string>& other, const char* css) {
    const std::string svg = graph_svg(*m.model, types, [&](NodeId n) {
      return other.count(key_of(*m.model, n)) ? std::string("kept") : std::string(css);
    });
    return "<div class=\"graph\">" +
           (svg.empty() ? format("<p>too many nodes to draw, or none: over {}</p>", kMostDrawn)
                        : svg) +
           "</div>\n";
  };
  s += side(before, a_ok ? &types_before : nullptr, keys_of(*after.model), "gone");
  s += side(after, b_ok ? &types_after : nullptr, keys_of(*before.model), "new");
  return s + "</div>\n</body></html>\n";
}

}  // namespace onnxtool
