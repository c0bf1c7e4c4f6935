// SPDX-License-Identifier: Apache-2.0
// JSON form: what is read can be written, and what is written is read as the same again.
#include "libonnxtool/onnx/forms.h"
#include "tests/fuzz/fuzz.h"

using namespace onnxtool;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto wire = json_to_wire({reinterpret_cast<const char*>(data), size});
  if (!wire.ok()) return 0;
  const auto json = wire_to_json(*wire);
  MUST(json.ok(), json.error().text());
  const auto again = json_to_wire(*json);
  MUST(again.ok(), again.error().text(), *json);
  const auto last = wire_to_json(*again);
  MUST(last.ok() && *last == *json, *json, last.ok() ? *last : last.error().text());
  return 0;
}
