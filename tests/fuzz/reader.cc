// SPDX-License-Identifier: Apache-2.0
// Reader of all forms: what is read is written to bytes that are read and written as the same.
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/load.h"
#include "tests/fuzz/fuzz.h"

using namespace onnxtool;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string input(reinterpret_cast<const char*>(data), size);
  for (const bool lift : {true, false}) {
    LoadOptions options;
    options.lift = lift;
    const auto model = read_any(Bytes::copy(input), "", options);
    if (!model.ok()) continue;
    const auto first = model_bytes(*model);
    if (!first.ok()) continue;  // of other opsets than it can be lowered to
    const auto again = read_model(Bytes::copy(*first), "", options);
    MUST(again.ok(), again.error().text());
    const auto second = model_bytes(*again);
    MUST(second.ok(), second.error().text());
    MUST(*second == *first, "written differently the second time");
    (void)wire_to_text(*first);
    (void)wire_to_json(*first);
  }
  return 0;
}
