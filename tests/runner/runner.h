// SPDX-License-Identifier: Apache-2.0
// Runs one text case. Results name the backend and say why a check failed; empty: it passed.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "tests/runner/case_file.h"

namespace onnxtool::cases {

struct Verdict {
  std::string backend;  // "reference", "engine", "infer", "pass"
  std::string why;      // empty: passed
};

std::vector<Verdict> run_op_case(const Case& c);
std::vector<Verdict> run_pass_case(const Case& c);

}  // namespace onnxtool::cases
