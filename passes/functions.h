// SPDX-License-Identifier: Apache-2.0
// Local functions as a whole, before and after the passes run.
#pragma once
#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

// Removes the functions that no node outside of functions reaches; gives their number.
int drop_unused_functions(Model& model);

}  // namespace onnxtool
