// SPDX-License-Identifier: Apache-2.0
// The order of passes. An earlier pass is tried first on each node; all run until nothing changes.
// A pass that is not listed here runs at its own level (Pass::level), in the order of names.
#include <algorithm>

#include "passes/passes.h"

namespace onnxtool {
namespace {

const char* const kExact[] = {
    "eliminate-dead-code",
    "eliminate-identity",
    "eliminate-constant-if",
    "eliminate-nop-movement",
    "eliminate-nop-arithmetic",
    "fold-constants",
    "fold-target-shape",
    "fuse-cast-chain",
    "fuse-reshape-chain",
    "fuse-transpose-chain",
    "fuse-transpose-region",
    "fuse-gather-unsqueeze",
    "fuse-concat-chain",
    "fuse-slice-chain",
    "fuse-clip-chain",
    "eliminate-zero-state",
    "eliminate-requantize",
    "eliminate-common-subexpression",
    "eliminate-duplicate-initializer",
    "eliminate-unused-initializer",
};

const char* const kFusions[] = {
    "fuse-hard-sigmoid", "fuse-conv-affine",   "fuse-norm-affine", "fuse-matmul-affine",
    "fuse-affine-conv",  "fuse-uniform-scale", "fuse-matmul-add",  "fuse-scale",
    "fuse-pad",          "convert-ort-conv",
};

bool listed(const Pass* p) {
  const auto in = [&](auto& names) {
    return std::any_of(std::begin(names), std::end(names),
                       [&](const char* n) { return p->name == std::string_view(n); });
  };
  return in(kExact) || in(kFusions);
}

std::vector<Pipeline> make_pipelines() {
  std::vector<Pipeline> r = {
      {1, "exact eliminations: the same arithmetic, fewer nodes", {}},
      {2, "fusions of weights, of neighbours and of patterns that an operator stands for", {}},
      {3, "more bytes for fewer steps: loops unrolled", {}},
  };
  const auto add = [&](Pipeline& to, std::span<const char* const> names) {
    for (const char* n : names)
      if (const Pass* p = find_pass(n)) to.passes.push_back(p);
  };
  add(r[0], kExact);
  // Patterns of many nodes before what takes single nodes of them.
  for (const Pass* p : all_passes())
    if (!listed(p) && p->level >= 1 && p->level <= 3)
      r[static_cast<size_t>(p->level - 1)].passes.push_back(p);
  add(r[1], kFusions);
  return r;
}

}  // namespace

const std::vector<Pipeline>& pipelines() {
  static const std::vector<Pipeline> kPipelines = make_pipelines();
  return kPipelines;
}

}  // namespace onnxtool
