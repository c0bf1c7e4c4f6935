// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/bind.h"

#include <algorithm>

namespace onnxtool {

bool refers_to_call(const Node& node) {
  return std::any_of(node.attrs.begin(), node.attrs.end(),
                     [](const Attribute& a) { return !a.ref.empty(); });
}

Node bind_attributes(const Node& node, const Function& fn, std::span<const Attribute> given) {
  Node copy = node;
  std::vector<Attribute> attrs;
  for (Attribute& a : copy.attrs) {
    if (a.ref.empty()) {
      attrs.push_back(std::move(a));
      continue;
    }
    auto named = [&](const Attribute& x) { return x.name == a.ref; };
    auto it = std::find_if(given.begin(), given.end(), named);
    const Attribute* value = it != given.end() ? &*it : nullptr;
    if (!value) {
      auto def = std::find_if(fn.attribute_defaults.begin(), fn.attribute_defaults.end(), named);
      if (def == fn.attribute_defaults.end()) continue;  // left out at the call: left out here
      value = &*def;
    }
    Attribute b = *value;
    b.name = a.name;
    attrs.push_back(std::move(b));
  }
  copy.attrs = std::move(attrs);
  return copy;
}

}  // namespace onnxtool
