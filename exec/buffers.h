// SPDX-License-Identifier: Apache-2.0
// Memory of runs: blocks that are used again once nobody holds them, and the cache of packed
// weights.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "exec/pack_file.h"
#include "exec/plan/kernel.h"
#include "libonnxtool/ir/datum.h"

namespace onnxtool {

struct Block {
  std::byte* data = nullptr;  // 64-byte aligned
  int64_t capacity = 0;
  explicit Block(int64_t bytes);  // data is null when memory is not to be had
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
};

// Thread-safe. A block is free when only the pool holds it.
class BufferPool {
 public:
  explicit BufferPool(int64_t limit) : limit_(limit) {}
  Result<std::shared_ptr<Block>> get(int64_t bytes);
  // An uninitialized tensor on such a block.
  Result<Tensor> tensor(DType dtype, const Dims& dims);
  // `t` itself if it lies on a block of this pool that nobody else holds, with that type and dims.
  bool reusable(const Tensor& t, DType dtype, const Dims& dims) const;
  Status check(int64_t bytes) const;  // would `bytes` more be over the limit
  void trim();                        // gives back what has been free for some time

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Block>> blocks_;
  int64_t limit_, total_ = 0;
  int trims_ = 0;
};

class SharedPacks final : public PackCache {
 public:
  explicit SharedPacks(Device* device = nullptr) : device_(device) {}  // whose memory; null: host
  Result<std::shared_ptr<const std::byte>> get(
      const Tensor& source, const std::string& form, int64_t bytes,
      const std::function<Status(std::byte*)>& fill) override;
  int64_t bytes() const;

  // From now on what the file has is taken from it, and all is named so that it can be written.
  // Constants of the model go by name. `model_bytes`, if any, is kept too, as kModelEntry.
  void keep_in(const std::string& path, const std::string& key, const Model& model,
               Bytes model_bytes);
  // Writes what the file lacks, with what it has; nothing where it lacks nothing.
  Status save() const;
  int64_t from_file() const;  // bytes
  std::string note() const;   // why a file that is there is not used, or not all of it

 private:
  std::string name_of(const Tensor& source, const std::string& form) const;
  struct Entry {
    std::weak_ptr<const void>
        owner;  // of the source: its address may be used again once it is gone
    std::shared_ptr<const std::byte> data;
    int64_t bytes = 0;
    std::string name;  // in the file; empty: not for it
    bool in_file = false;
  };
  Result<std::shared_ptr<const std::byte>> make(
      int64_t bytes, const std::function<Status(std::byte*)>& fill) const;
  Device* device_;
  mutable std::mutex mutex_;
  std::map<std::pair<const void*, std::string>, Entry> entries_;
  std::string path_, key_, note_;
  Bytes model_bytes_;
  std::unique_ptr<PackFile> file_;
  struct Named {
    std::weak_ptr<const void> owner;
    std::string name;
  };
  std::map<const void*, Named> names_;  // of the model's constants
};

// Tensors that only borrow their bytes (from an arena) carry this owner.
const std::shared_ptr<const void>& borrow_token();
bool is_borrowed(const Datum& d);
// The same value with bytes of its own.
Result<Datum> own(const Datum& d, BufferPool& pool);

}  // namespace onnxtool
