// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/forms.h"

namespace onnxtool {

Result<std::string> text_to_wire(std::string_view) { return unsupported("text form is not built yet"); }
Result<std::string> wire_to_text(std::string_view) { return unsupported("text form is not built yet"); }

}  // namespace onnxtool
