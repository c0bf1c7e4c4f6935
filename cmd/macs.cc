// SPDX-License-Identifier: Apache-2.0
#include "cmd/macs.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

MacCount count(const Model& m, const Inference& state) {
  MacCount c;
  for (uint32_t i = 0; i < m.num_nodes(); ++i) {
    const Node& n = m.node(NodeId(i));
    if (n.removed() || m.graph(n.graph).removed) continue;
    const OpDef* def = find_op(n);
    if (!def || !def->macs) continue;
    const auto ctx = state.context(NodeId(i));
    const auto macs = ctx ? def->macs(*ctx) : Result<int64_t>(invalid(""));
    if (!macs.ok() || __builtin_add_overflow(c.macs, *macs, &c.macs)) ++c.unknown;
  }
  return c;
}

}  // namespace

MacCount count_macs(const Model& m, const Inference& state, InferOptions options) {
  MacCount known = count(m, state);
  if (known.unknown == 0) return known;
  std::vector<std::string> assumed;
  std::vector<Type> inputs;
  for (ValueId v : m.graph(m.main()).inputs) {
    Type t = state.type(v);  // sizes without a name are called as inference calls them
    if (t.is_tensor() && t.shape)
      for (Dim& d : *t.shape) {
        if (d.is_const()) continue;
        for (const std::string& name : d.symbols())
          if (options.symbols.emplace(name, 1).second) assumed.push_back(name);
        if (d.is_symbol()) d = Dim(options.symbols.find(d.text())->second);
      }
    inputs.push_back(std::move(t));
  }
  if (assumed.empty()) return known;
  options.inputs = std::move(inputs);
  Inference ones(m, options);
  if (!ones.run().ok()) return known;  // some models do not take 1
  MacCount c = count(m, ones);
  if (c.unknown >= known.unknown) return known;
  c.assumed = std::move(assumed);
  return c;
}

std::string macs_cell(const MacCount& c) {
  return (c.unknown ? ">=" : "") + human_count(static_cast<uint64_t>(c.macs)) +
         (c.assumed.empty() ? "" : "*");
}

}  // namespace onnxtool
