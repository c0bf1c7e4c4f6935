// SPDX-License-Identifier: Apache-2.0
// The other forms of a model: ONNX text syntax (onnx docs/Syntax.md) and the protobuf JSON mapping
// of ModelProto (field names in lowerCamelCase or as in onnx.proto when read, bytes in base64).
#pragma once
#include <string>
#include <string_view>

#include "libonnxtool/onnx/load.h"

namespace onnxtool {

// Wire bytes of a ModelProto from text or JSON. Errors: kInvalid with line and column.
Result<std::string> text_to_wire(std::string_view text);
Result<std::string> json_to_wire(std::string_view json);
// Text or JSON of the wire bytes of a ModelProto. `to_text` drops what the syntax cannot say
// (unknown fields) and fails on what it would change.
Result<std::string> wire_to_text(std::string_view wire);
Result<std::string> wire_to_json(std::string_view wire);

Result<Model> read_text_model(const Bytes& text, const std::string& path,
                              const LoadOptions& options);
Result<Model> read_json_model(const Bytes& json, const std::string& path,
                              const LoadOptions& options);
Result<std::string> to_text(const Model& model);
Result<std::string> to_json(const Model& model);

}  // namespace onnxtool
