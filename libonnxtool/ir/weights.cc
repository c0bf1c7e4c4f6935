// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/weights.h"

namespace onnxtool {

void for_each_weight(const Model& m, const std::function<void(const TensorConst&)>& f) {
  for (size_t i = 0; i < m.num_values(); ++i) {
    const Value& v = m.value(ValueId(static_cast<uint32_t>(i)));
    if (v.constant && !v.lifted && v.kind != ValueKind::kNone)
      f(v.constant->sparse ? v.constant->sparse->values : v.constant->dense);
  }
  for (size_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(static_cast<uint32_t>(i)));
    if (n.removed() || m.graph(n.graph).removed) continue;
    for (const Attribute& a : n.attrs) {
      if (const auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value); t && *t)
        f(**t);
      if (const auto* s = std::get_if<std::shared_ptr<const SparseTensor>>(&a.value); s && *s)
        f((*s)->values);
    }
  }
}

int64_t weight_bytes(const Model& m) {
  int64_t total = 0;
  for_each_weight(m,
                  [&](const TensorConst& t) { total += static_cast<int64_t>(t.tensor.bytes()); });
  return total;
}

}  // namespace onnxtool
