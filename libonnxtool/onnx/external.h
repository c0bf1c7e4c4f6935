// SPDX-License-Identifier: Apache-2.0
// External data (onnx.proto TensorProto.external_data; ExternalDataSecurity.md): the one place
// that opens data files. A location is relative to the model's folder; what is opened must lie
// below that folder or below the folder that the model itself really lies in (a model that is a
// symbolic link into a blob store), judged by the opened descriptor, not by its name.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "libonnxtool/base/file.h"

namespace onnxtool {

struct ExternalRef {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  std::string checksum;  // SHA-1 in hex, or empty
};

class ExternalFiles {
 public:
  // `model_path`: the model's file; empty for standard input: data is then sought below the
  // current folder.
  explicit ExternalFiles(const std::string& model_path);
  Result<std::shared_ptr<const MappedFile>> open(const std::string& location);

 private:
  std::string folder_;                // as given
  std::vector<std::string> allowed_;  // canonical folders
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

// Refuses what can never be opened: empty, absolute, with '..', NUL or control characters.
Status check_location(const std::string& location);

}  // namespace onnxtool
