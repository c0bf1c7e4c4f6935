// SPDX-License-Identifier: Apache-2.0
// eliminate-duplicate-initializer: equal constants are kept once.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

// Type, dims and a sample of the bytes: what is equal has equal keys.
std::string key_of(const Tensor& t) {
  std::string key(1, static_cast<char>(t.dtype()));
  for (int64_t d : t.dims()) key += std::to_string(d) + ",";
  constexpr size_t kSample = 64;
  const auto* raw = reinterpret_cast<const char*>(t.raw());
  key.append(raw, std::min(kSample, t.bytes()));
  if (t.bytes() > kSample) {
    key.append(raw + t.bytes() / 2 / kSample * kSample,
               std::min(kSample, t.bytes() - t.bytes() / 2 / kSample * kSample));
    key.append(raw + t.bytes() - kSample, kSample);
  }
  return key;
}

// A zero point of its own for each quantization: runtimes change these while they fuse, and one
// number shared by hundreds of nodes is in their way.
bool of_quantization(const Model& m, ValueId v) {
  bool found = false;
  m.for_each_use(v, [&](Use u) {
    found = found || m.node(u.node).is("QuantizeLinear") || m.node(u.node).is("DequantizeLinear");
  });
  return found;
}

Status run(const PassContext& ctx, const EditSink& apply) {
  const Model& m = ctx.model();
  std::unordered_map<std::string, std::vector<ValueId>> seen;
  for (uint32_t i = 0; i < m.num_values(); ++i) {
    const ValueId id(i);
    const Value& v = m.value(id);
    if (v.kind != ValueKind::kInitializer || v.lifted || v.graph_output || v.use_count == 0)
      continue;
    if (m.graph(v.graph).function >= 0) continue;
    const Tensor* t = m.constant(id);
    if (!t || t->is_string() || t->bytes() == 0) continue;
    if (t->size() == 1 && of_quantization(m, id)) continue;
    std::vector<ValueId>& same = seen[key_of(*t)];
    bool merged = false;
    for (ValueId other : same) {
      const Tensor* o = m.constant(other);
      if (!o || !m.visible(other, v.graph) || !t->same_bytes(*o)) continue;
      Edit edit;
      edit.replace_output(id, other);
      edit.note = "equal constants";
      merged = apply(std::move(edit));
      if (merged) break;
    }
    if (!merged) same.push_back(id);
  }
  return ok();
}

}  // namespace

extern const Pass pass_eliminate_duplicate_initializer;
const Pass pass_eliminate_duplicate_initializer = {
    .name = "eliminate-duplicate-initializer",
    .summary = "keeps equal constants once",
    .doc =
        "Initializers of equal type, shape and bytes become one, but for single numbers of "
        "QuantizeLinear and DequantizeLinear.",
    .run = run,
};

}  // namespace onnxtool
