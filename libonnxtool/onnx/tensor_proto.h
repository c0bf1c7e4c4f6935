// SPDX-License-Identifier: Apache-2.0
// TensorProto, SparseTensorProto and TypeProto from and to the wire.
#pragma once
#include <deque>
#include <functional>

#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/onnx/external.h"
#include "libonnxtool/onnx/wire.h"

namespace onnxtool {

// What the results of reading are views of.
struct ReadBytes {
  std::shared_ptr<const void> file;
  std::deque<std::string> merged;  // messages put together from several occurrences
};

struct ReadContext {
  ReadContext(const std::byte* start, std::shared_ptr<const void> file)
      : base(start), owner(std::make_shared<ReadBytes>()) {
    owner->file = std::move(file);
  }
  const std::byte* base;              // start of the file, for offsets in messages
  std::shared_ptr<ReadBytes> owner;   // keeps it mapped
  ExternalFiles* external = nullptr;  // null: external data is refused
  bool load_external = true;          // false: external tensors are checked, not opened
  uint64_t external_bytes = 0;        // sum so far
};

Result<TensorConst> read_tensor(ReadContext& ctx, const std::byte* data, size_t size);
Result<SparseTensor> read_sparse_tensor(ReadContext& ctx, const std::byte* data, size_t size);
Result<Type> read_type(ReadContext& ctx, const std::byte* data, size_t size, int depth = 0);

// The message with its data as raw_data (string_data for strings); `name` replaces the tensor's
// own. With `external` the data is not written but referred to.
Rope write_tensor(const TensorConst& t, std::string_view name,
                  const ExternalRef* external = nullptr);
// An existing TensorProto with data and name fields replaced by a reference.
Rope write_sparse_tensor(const SparseTensor& t, std::string_view name);
Rope write_type(const Type& type);

// All occurrences of a singular message field merge: their bytes one after the other.
struct MergedBytes {
  Bytes bytes;
  void add(const WireField& f, const ReadContext& ctx);
  bool seen = false;

 private:
  std::string* merged_ = nullptr;  // of the context's owner
};

}  // namespace onnxtool
