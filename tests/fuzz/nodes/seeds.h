// SPDX-License-Identifier: Apache-2.0
// Valid nodes to start from: the text cases and official cases of one node.
#pragma once
#include <string>
#include <vector>

#include "tests/fuzz/nodes/node_case.h"

namespace onnxtool::fuzz {

struct Seed {
  std::string name;
  NodeCase node;
};

// A path is a file of text cases (*.test), or a folder with such or with cases
// (scripts/node_cases).
std::vector<Seed> seeds_of(const std::vector<std::string>& paths);

}  // namespace onnxtool::fuzz
