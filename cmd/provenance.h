// SPDX-License-Identifier: Apache-2.0
// What made a model, as an entry of its metadata (onnx.proto ModelProto.metadata_props).
#pragma once
#include <string>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

// Sets the entry; one of the same key goes.
Status set_metadata(Model& model, const std::string& key, const std::string& text);

}  // namespace onnxtool
