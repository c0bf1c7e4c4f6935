// SPDX-License-Identifier: Apache-2.0
// Parts of a file that are carried along unread, but name values of its graph.
#pragma once
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

// "training information" or "configurations of devices": they name nodes' values as they are in
// the file, so that only a model left as it is stays right. nullptr: the model has neither.
Result<const char*> speaks_of_values(const Model& model);

// Initializers of the main graph that its quantization annotations name, for their tensors or as
// scales and zero points.
Result<std::vector<ValueId>> annotated_initializers(const Model& model);

}  // namespace onnxtool
