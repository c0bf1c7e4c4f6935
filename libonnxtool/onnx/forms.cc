// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/forms.h"

namespace onnxtool {

Result<Model> read_text_model(const Bytes& text, const std::string& path,
                              const LoadOptions& options) {
  TRY_ASSIGN(std::string wire, text_to_wire(text.view()));
  return read_model(Bytes::copy(std::move(wire)), path, options);
}

Result<Model> read_json_model(const Bytes& json, const std::string& path,
                              const LoadOptions& options) {
  TRY_ASSIGN(std::string wire, json_to_wire(json.view()));
  return read_model(Bytes::copy(std::move(wire)), path, options);
}

Result<std::string> to_text(const Model& model) {
  TRY_ASSIGN(std::string wire, model_bytes(model));
  return wire_to_text(wire);
}

Result<std::string> to_json(const Model& model) {
  TRY_ASSIGN(std::string wire, model_bytes(model));
  return wire_to_json(wire);
}

}  // namespace onnxtool
