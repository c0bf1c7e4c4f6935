// SPDX-License-Identifier: Apache-2.0
// What a model costs: the multiply-accumulates of its nodes, those of a local function once.
#pragma once
#include <string>
#include <vector>

#include "libonnxtool/infer/infer.h"

namespace onnxtool {

struct MacCount {
  int64_t macs = 0;
  int64_t unknown = 0;               // nodes whose sizes are not known
  std::vector<std::string> assumed;  // symbols taken as 1
};

// With the sizes of `state`; where some are open, with each free symbol 1, if that tells more.
// `options` are those of `state`.
MacCount count_macs(const Model& m, const Inference& state, InferOptions options = {});

// ">=1.2 G*": some nodes left out, some symbols taken as 1.
std::string macs_cell(const MacCount& c);

}  // namespace onnxtool
