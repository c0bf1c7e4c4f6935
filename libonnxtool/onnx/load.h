// SPDX-License-Identifier: Apache-2.0
// Models from and to files: ONNX protobuf, ONNX text syntax, protobuf JSON. "-" is standard input
// or output. Weights stay views of the mapped files until someone needs other bytes.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "libonnxtool/base/file.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

enum class ModelForm : uint8_t { kBinary, kText, kJson };

// By the file's ending: .txt .onnxtxt .onnx.txt = text, .json = JSON, else binary.
ModelForm form_of_path(const std::string& path);

class FunctionLibrary;  // onnx/function_library.h

struct LoadOptions {
  // Functions that the model gets where it calls them: neither it nor onnxtool knows the operator.
  const FunctionLibrary* functions = nullptr;
  bool lift = true;  // hold nodes at their newest form (ops/lift.h)
  uint64_t stdin_limit = uint64_t{16} << 30;
};

// Errors: kInvalid (unreadable, malformed, with byte offset and field path), kUnsupported (nested
// or large beyond our limits).
Result<Model> load_model(const std::string& path, const LoadOptions& options = {});
// From bytes of the binary form; `path` (may be empty) says where external data lies.
Result<Model> read_model(Bytes bytes, const std::string& path, const LoadOptions& options = {});
// From bytes in any form: looks at the first bytes.
Result<Model> read_any(Bytes bytes, const std::string& path, const LoadOptions& options = {});

enum class ExternalData : uint8_t {
  kKeep,   // tensors that came from external files go to one beside the output; others stay inside
  kNone,   // all inside the model
  kOne,    // all above the threshold into one file
  kMany,   // each above the threshold into a file of its own
  kThere,  // each above the threshold stays in the mapped file below `folder` that it lies in
};

struct SaveOptions {
  ExternalData external = ExternalData::kKeep;
  uint64_t threshold = 1024;  // bytes; smaller tensors stay inside (kOne, kMany)
  uint64_t alignment = 4096;  // of offsets in data files; power of two
  std::string data_name;      // file name for kOne; default: base name of the model + ".data"
  std::string folder;         // for kThere: of the model, as it was given
  ModelForm form = ModelForm::kBinary;
};

// Lowers what was lifted and changed to the model's own opsets (or fails naming op, opset and
// reason), then writes all files beside their place and renames them, data first.
Status save_model(const Model& model, const std::string& path, const SaveOptions& options = {});
// The binary form in memory, without external data.
Result<std::string> model_bytes(const Model& model);
// The same with references to the files in `folder` that weights lie in: for read_model(), with
// a path in that folder.
Result<std::string> model_bytes_beside(const Model& model, const std::string& folder);

}  // namespace onnxtool
