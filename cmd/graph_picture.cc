// SPDX-License-Identifier: Apache-2.0
#include "cmd/graph_picture.h"

#include <algorithm>
#include <climits>
#include <unordered_map>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr int kWide = 116, kHigh = 22, kGapX = 10, kGapY = 26;
constexpr int kLong = 8;  // layers that an edge passes to be drawn fainter

struct Box {
  NodeId node;
  int layer = 0;
  bool floats = true;  // nothing that it depends on holds it to its layer
  double order = 0;    // mean place of what feeds it, then its place in the layer
  int x = 0, y = 0;
};

std::string tooltip(const Model& m, const Inference* types, NodeId id) {
  const Node& n = m.node(id);
  const auto value = [&](ValueId v) {
    const std::string type = types && types->type(v).known() ? " " + types->type(v).text() : "";
    return html_text(m.value(v).name, 60) + html_text(type, 60);
  };
  std::string s = html_text(n.op.view(), 40) + " " + html_text(n.name, 120);
  for (size_t i = 0; i < std::min<size_t>(n.num_inputs(), 16); ++i)
    if (n.has_input(i)) s += "\n&lt; " + value(n.input(i));
  for (size_t i = 0; i < std::min<size_t>(n.num_outputs(), 16); ++i)
    if (n.has_output(i)) s += "\n&gt; " + value(n.output(i));
  for (const Attribute& a : n.attrs) {
    s += "\n" + html_text(a.name, 40);
    if (a.type == AttrType::kInt && a.ref.empty()) s += format(" = {}", a.i());
    if (a.type == AttrType::kFloat && a.ref.empty()) s += format(" = {:g}", a.f());
    if (a.type == AttrType::kString && a.ref.empty()) s += " = " + html_text(a.s(), 40);
    if (a.type != AttrType::kInts || !a.ref.empty()) continue;
    s += " =";
    for (size_t i = 0; i < std::min<size_t>(a.ints().size(), 12); ++i)
      s += format(" {}", a.ints()[i]);
  }
  return s;
}

}  // namespace

std::string html_text(std::string_view s, size_t limit) {
  std::string r;
  for (char c : escape(s, limit)) {
    if (c == '<')
      r += "&lt;";
    else if (c == '>')
      r += "&gt;";
    else if (c == '&')
      r += "&amp;";
    else if (c == '"')
      r += "&quot;";
    else
      r += c;
  }
  return r;
}

std::string graph_svg(const Model& m, GraphId graph, const Inference* types,
                      const std::function<NodeMark(NodeId)>& mark) {
  const auto order = m.topological_order(graph);
  if (!order.ok() || order->size() > kMostDrawn || order->empty()) return {};
  std::vector<Box> boxes;
  std::unordered_map<uint32_t, size_t> at;
  const auto feeds = [&](NodeId id, auto f) {
    const Node& n = m.node(id);
    for (size_t i = 0; i < n.num_inputs(); ++i)
      if (n.has_input(i)) f(n.input(i));
    if (n.has_subgraphs())
      for (ValueId v : m.captures(id)) f(v);
  };
  const auto feeders = [&](NodeId id, auto f) {
    feeds(id, [&](ValueId v) {
      if (!m.value(v).producer.valid()) return;
      if (const auto it = at.find(m.value(v).producer.v); it != at.end()) f(it->second);
    });
  };
  int layers = 0;
  for (NodeId id : *order) {
    Box b{id};
    feeds(id, [&](ValueId v) { b.floats = b.floats && m.value(v).kind != ValueKind::kInput; });
    feeders(id, [&](size_t k) {
      b.layer = std::max(b.layer, boxes[k].layer + 1);
      b.floats = b.floats && boxes[k].floats;
    });
    layers = std::max(layers, b.layer + 1);
    at[id.v] = boxes.size();
    boxes.push_back(b);
  }
  // What depends on constants only stands right above what reads it.
  std::vector<int> above(boxes.size(), INT_MAX);
  for (size_t i = boxes.size(); i-- > 0;) {
    if (boxes[i].floats && above[i] != INT_MAX) boxes[i].layer = above[i];
    feeders(boxes[i].node, [&](size_t k) { above[k] = std::min(above[k], boxes[i].layer - 1); });
  }
  std::vector<std::vector<size_t>> rows(static_cast<size_t>(layers));
  for (size_t i = 0; i < boxes.size(); ++i) rows[static_cast<size_t>(boxes[i].layer)].push_back(i);
  size_t widest = 0;
  for (const auto& row : rows) widest = std::max(widest, row.size());
  const int width = static_cast<int>(widest) * (kWide + kGapX) + kGapX;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i : rows[r]) {
      double sum = 0;
      int count = 0;
      feeders(boxes[i].node, [&](size_t k) { sum += boxes[k].x, ++count; });
      boxes[i].order = count ? sum / count : width;
    }
    std::stable_sort(rows[r].begin(), rows[r].end(),
                     [&](size_t a, size_t b) { return boxes[a].order < boxes[b].order; });
    const int used = static_cast<int>(rows[r].size()) * (kWide + kGapX) - kGapX;
    for (size_t k = 0; k < rows[r].size(); ++k) {
      Box& b = boxes[rows[r][k]];
      b.x = (width - used) / 2 + static_cast<int>(k) * (kWide + kGapX);
      b.y = kGapY / 2 + static_cast<int>(r) * (kHigh + kGapY);
    }
  }
  const int height = layers * (kHigh + kGapY);
  std::string s =
      format("<svg width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n", width, height);
  for (const Box& b : boxes)
    feeders(b.node, [&](size_t k) {
      const int x1 = boxes[k].x + kWide / 2, y1 = boxes[k].y + kHigh, x2 = b.x + kWide / 2;
      s += format("<path{} d=\"M{} {}C{} {},{} {},{} {}\"/>\n",
                  b.layer - boxes[k].layer > kLong ? " class=\"long\"" : "", x1, y1, x1, y1 + kGapY,
                  x2, b.y - kGapY, x2, b.y);
    });
  for (const Box& b : boxes) {
    const NodeMark how = mark(b.node);
    s += format(
        "<g class=\"{}\" data-k=\"{}\" transform=\"translate({},{})\"><rect width=\"{}\" "
        "height=\"{}\" rx=\"4\"/><text x=\"{}\" y=\"15\">{}</text><title>{}</title></g>\n",
        how.css, how.number, b.x, b.y, kWide, kHigh, kWide / 2,
        html_text(m.node(b.node).op.view(), 18), tooltip(m, types, b.node));
  }
  return s + "</svg>\n";
}

}  // namespace onnxtool
