// SPDX-License-Identifier: Apache-2.0
// Packed weights kept between processes: one file, mapped, so that pages are read as they are used
// and shared by all who run the model. The file is trusted for nothing: its table is checked when
// it is opened, the bytes of an entry by their sum when it is first used.
//
// Entries (64-byte aligned bytes) | table | footer. Table: key, count, then name, offset, size and
// sum of each entry; texts are a length and bytes. Footer: offset, size and sum of the table, and
// the magic word. All numbers are 64 bits, little-endian.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "libonnxtool/base/file.h"

namespace onnxtool {

// The entry that is no packed weights: the model they belong to.
inline constexpr const char* kModelEntry = "model";

// A sum that tells damage, not an attack.
uint64_t sum_of(const void* data, size_t size);

class PackFile {
 public:
  // kInvalid: what is there cannot be used, and why; also for another key.
  static Result<std::unique_ptr<PackFile>> open(const std::string& path, const std::string& key);

  // Null where there is none of that name and size, or where its bytes are damaged.
  std::shared_ptr<const std::byte> find(const std::string& name, int64_t bytes);
  // In bytes; nullopt where there is none of that name.
  std::optional<int64_t> size_of(const std::string& name) const;
  bool damaged() const;  // one was

  struct Entry {
    std::shared_ptr<const std::byte> data;
    int64_t bytes = 0;
  };
  using Entries = std::map<std::string, Entry>;
  // All whole ones.
  Entries entries();
  static Status write(const std::string& path, const std::string& key, const Entries& entries);

 private:
  struct Row {
    uint64_t offset = 0, size = 0, sum = 0;
    enum : uint8_t { kUnread, kWhole, kDamaged } state = kUnread;
  };
  std::shared_ptr<const MappedFile> file_;
  mutable std::mutex mutex_;
  std::map<std::string, Row> rows_;
};

}  // namespace onnxtool
