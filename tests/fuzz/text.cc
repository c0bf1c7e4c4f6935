// SPDX-License-Identifier: Apache-2.0
// Text form: what is read can be written, and what is written is read as the same again.
#include "libonnxtool/onnx/forms.h"
#include "tests/fuzz/fuzz.h"

using namespace onnxtool;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto wire = text_to_wire({reinterpret_cast<const char*>(data), size});
  if (!wire.ok()) return 0;
  const auto text = wire_to_text(*wire);
  MUST(text.ok(), text.error().text());
  const auto again = text_to_wire(*text);
  MUST(again.ok(), again.error().text(), *text);
  const auto last = wire_to_text(*again);
  MUST(last.ok() && *last == *text, *text, last.ok() ? *last : last.error().text());
  return 0;
}
