// SPDX-License-Identifier: Apache-2.0
// The order of passes. An earlier pass is tried first on each node; all run until nothing changes.
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
    "fuse-hard-sigmoid",  "fuse-conv-affine", "fuse-norm-affine",
    "fuse-matmul-affine", "fuse-affine-conv", "fuse-uniform-scale",
    "fuse-matmul-add",    "fuse-scale",       "fuse-pad",
};

const Pipeline kPipelines[] = {
    {1, "exact eliminations: the same arithmetic, fewer nodes", kExact},
    {2, "fusions of weights and of neighbours", kFusions},
};

}  // namespace

std::span<const Pipeline> pipelines() { return kPipelines; }

}  // namespace onnxtool
