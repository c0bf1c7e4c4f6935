// SPDX-License-Identifier: Apache-2.0
// Files: read-only mappings and outputs that appear whole or not at all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/error.h"

namespace onnxtool {

// The bytes of a regular file, mapped read-only and private; or bytes read from a pipe.
class MappedFile {
 public:
  // Fails (kInvalid) with path and reason for what is no readable regular file (folders, FIFOs,
  // devices, link loops are refused without blocking).
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  // The same for an already open descriptor, which is closed.
  static Result<std::shared_ptr<const MappedFile>> from_fd(int fd, const std::string& shown);
  // All of standard input, up to `limit` bytes.
  static Result<std::shared_ptr<const MappedFile>> read_stdin(uint64_t limit);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
  std::vector<std::byte> buffer_;
};

// Lets go of the memory of those bytes that lie in a mapped file; they are read again when they
// are needed. Other memory stays as it is.
void release_pages(const void* data, size_t size);

// A file written beside its place and renamed when commit() succeeds. Destroyed without commit,
// or on SIGINT/SIGTERM, it leaves nothing. Existing targets keep their permissions. A target that
// is no regular file (a device, a FIFO) is written in place. All errors are kOutput.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();
  Status write(const void* data, size_t size);
  Status pad_to(uint64_t offset);  // zeros up to offset (a hole where the file system can)
  uint64_t written() const { return written_; }
  // Flushes to disk and moves into place.
  Status commit();

 private:
  OutputFile() = default;
  Status flush();
  std::string path_, temp_;
  int fd_ = -1;
  bool direct_ = false;
  uint64_t written_ = 0;
  std::string buffer_;
};

// Whole buffer to standard output; kOutput on failure (full disk, closed pipe).
Status write_stdout(const void* data, size_t size);

// Folder of a path ("." when it has none) and its last component.
std::string dir_name(const std::string& path);
std::string base_name(const std::string& path);

// Lower-case hex SHA-1 of some bytes (external_data's optional checksum).
std::string sha1_hex(std::span<const std::byte> data);

}  // namespace onnxtool
