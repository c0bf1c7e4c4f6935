// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

const Attribute* Node::attr(std::string_view n) const {
  for (const Attribute& a : attrs)
    if (a.name == n) return &a;
  return nullptr;
}

namespace {
template <typename T>
const T* payload(const Node& node, std::string_view n) {
  const Attribute* a = node.attr(n);
  return a != nullptr && a->ref.empty() ? std::get_if<T>(&a->value) : nullptr;
}
}  // namespace

int64_t Node::attr_int(std::string_view n, int64_t def) const {
  const auto* v = payload<int64_t>(*this, n);
  return v ? *v : def;
}
float Node::attr_float(std::string_view n, float def) const {
  const auto* v = payload<float>(*this, n);
  return v ? *v : def;
}
std::string_view Node::attr_str(std::string_view n, std::string_view def) const {
  const auto* v = payload<std::string>(*this, n);
  return v ? std::string_view(*v) : def;
}
const std::vector<int64_t>* Node::attr_ints(std::string_view n) const {
  return payload<std::vector<int64_t>>(*this, n);
}
const std::vector<float>* Node::attr_floats(std::string_view n) const {
  return payload<std::vector<float>>(*this, n);
}
const std::vector<std::string>* Node::attr_strings(std::string_view n) const {
  return payload<std::vector<std::string>>(*this, n);
}
const Tensor* Node::attr_tensor(std::string_view n) const {
  const auto* v = payload<std::shared_ptr<const TensorConst>>(*this, n);
  return v ? &(*v)->tensor : nullptr;
}
GraphId Node::attr_graph(std::string_view n) const {
  const auto* v = payload<GraphId>(*this, n);
  return v ? *v : GraphId();
}
bool Node::has_subgraphs() const {
  return std::any_of(attrs.begin(), attrs.end(), [](const Attribute& a) {
    return a.type == AttrType::kGraph || a.type == AttrType::kGraphs;
  });
}

}  // namespace onnxtool
