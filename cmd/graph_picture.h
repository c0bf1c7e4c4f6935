// SPDX-License-Identifier: Apache-2.0
// A graph as a drawing for a browser: layers from inputs to outputs, in an SVG element that needs
// nothing else.
#pragma once
#include <functional>
#include <string>

#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

inline constexpr size_t kMostDrawn = 3000;  // nodes

// Draws the main graph. `css` gives the class of a node's box. Empty: it has more nodes than
// kMostDrawn. `types` may be null.
std::string graph_svg(const Model& m, const Inference* types,
                      const std::function<std::string(NodeId)>& css);

// Text for HTML: escaped as everywhere in messages, then for markup.
std::string html_text(std::string_view s, size_t limit = 80);

}  // namespace onnxtool
