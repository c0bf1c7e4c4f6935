// SPDX-License-Identifier: Apache-2.0
// Reads, lifts and infers, within budgets; infers again from the inferred types.
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/onnx/load.h"
#include "tests/fuzz/fuzz.h"

using namespace onnxtool;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto model = read_any(Bytes::copy(std::string(reinterpret_cast<const char*>(data), size)), "");
  if (!model.ok()) return 0;
  for (const bool strict : {false, true}) {
    InferOptions options;
    options.strict = strict;
    options.collect = true;
    options.max_visits = 20000;
    (void)infer(*model, options);
  }
  return 0;
}
