// SPDX-License-Identifier: Apache-2.0
// A graph as a drawing for a browser: layers from inputs to outputs, in an SVG element that needs
// nothing else.
#pragma once
#include <functional>
#include <string>

#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

inline constexpr size_t kMostDrawn = 12'000;  // nodes

// How a node's box is marked: its class, and a number that is the same in other drawings of it.
struct NodeMark {
  const char* css = "";
  size_t number = 0;
};

// Draws one graph without the bodies of its nodes. Empty: it has no nodes, or more than kMostDrawn.
// `types` may be null.
std::string graph_svg(const Model& m, GraphId graph, const Inference* types,
                      const std::function<NodeMark(NodeId)>& mark);

// Text for HTML: escaped as everywhere in messages, then for markup.
std::string html_text(std::string_view s, size_t limit = 80);

}  // namespace onnxtool
