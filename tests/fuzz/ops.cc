// SPDX-License-Identifier: Apache-2.0
// One node of a random operator, version, attributes and inputs (tests/fuzz/nodes/node_case.h).
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/nodes/node_case.h"

using namespace onnxtool;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Choices c(data, size);
  fuzz::NodeCase n = fuzz::random_case(c);
  const std::string fault = fuzz::check_case(c, n);
  MUST(fault.empty(), fault);
  return 0;
}
