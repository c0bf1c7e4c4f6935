// SPDX-License-Identifier: Apache-2.0
// What onnxtool has of each operator: the table of `list ops`.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/ops/schema.h"

namespace onnxtool {

// Official test cases (tests/node) that use an operator and pass. Sorted by name.
struct OpCases {
  const char* op;  // "Conv", "ai.onnx.ml.Scaler"
  int cases;
};
std::span<const OpCases> op_cases();  // cmd/op_cases.cc, written by tests/node/run --update

struct OpRow {
  std::string domain, name;
  std::vector<const Schema*> versions;  // ascending; empty: no schema
  std::vector<std::string> types;       // of the newest version's first input, else output
  bool shape_rule = false, reference = false;
  std::vector<std::string> cpu, cuda;  // fast kernels; cuda: of the plug-in, if it is found
  int cases = 0;
};
// The standard first, then com.microsoft, each by domain and name; then what has no schema.
std::vector<OpRow> op_table();

// "1 7 13"; "1 10 (deprecated)".
std::string versions_text(const OpRow& row);
// Short: "floats" for float16, float and double, "ints", "uints", "float8", "complex", "any".
std::string types_text(const OpRow& row);

}  // namespace onnxtool
