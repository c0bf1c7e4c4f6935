// SPDX-License-Identifier: Apache-2.0
// Opens operator libraries (op_library.h). Only where the user asked for it: a library is a
// program.
#pragma once
#include <string>

#include "libonnxtool/base/error.h"

namespace onnxtool {

// From then on the library's operators are known everywhere, until the process ends. Before any
// model is used. Errors: kInvalid (cannot be opened, no operator library, its table is wrong, an
// operator exists already), kUnsupported (made for another version of the interface).
Status load_op_library(const std::string& path);

}  // namespace onnxtool
