// SPDX-License-Identifier: Apache-2.0
// What changes when the content of a file does: device, inode, size, times of change.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace onnxtool {

// Of the mapped file (base/file.h) that these bytes lie in; empty for other memory.
std::string file_identity(const void* data);
// Of a file by name; empty where it cannot be told.
std::string file_identity(const std::string& path);

// Where in a file such bytes lie; nullopt for other memory.
struct FilePlace {
  std::string path;  // as the file was opened
  uint64_t offset = 0;
};
std::optional<FilePlace> file_place(const void* data, size_t size);

}  // namespace onnxtool
