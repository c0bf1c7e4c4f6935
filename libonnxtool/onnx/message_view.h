// SPDX-License-Identifier: Apache-2.0
// The known fields of one message on the wire, found once, as protobuf's own parsers would have
// them: the last scalar counts, parts of one message merge, of a oneof only the last is there,
// fields with another wire type and unknown enum values are dropped.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "libonnxtool/onnx/wire.h"

namespace onnxtool {

using MessageParts = std::vector<std::string_view>;  // of one message, to be merged

class MessageView {
 public:
  static Result<MessageView> of(const MessageDesc& desc, const MessageParts& parts,
                                const std::byte* base);

  const MessageDesc& desc() const { return *desc_; }
  // By place in the table. Numbers that stand one after the other, not packed, are one entry from
  // the first one's start to the last one's end: see for_each_number().
  std::span<const WireField> fields(size_t place) const { return fields_[place]; }
  void release(size_t place) { fields_[place] = {}; }
  // By the field's number.
  std::span<const WireField> all(uint32_t number) const;
  bool has(uint32_t number) const { return !all(number).empty(); }
  std::string_view text(uint32_t number) const {
    return has(number) ? all(number).back().view() : std::string_view();
  }
  int64_t i64(uint32_t number) const { return has(number) ? all(number).back().i64() : 0; }
  // The sub-message of a singular field; parts() is empty where it is not there.
  MessageParts parts(uint32_t number) const;
  Result<MessageView> message(uint32_t number) const;
  Result<MessageView> message(const FieldDesc& d, const WireField& f) const {
    return of(*d.message, {f.view()}, base_);
  }

 private:
  const MessageDesc* desc_ = nullptr;
  const std::byte* base_ = nullptr;
  std::vector<std::vector<WireField>> fields_;
};

const EnumValue* enum_value(const FieldDesc& d, uint64_t bits);

// f(bits) for each number of a repeated field, packed or not; f returns Status.
template <typename F>
Status for_each_number(const FieldDesc& d, std::span<const WireField> found, const std::byte* base,
                       F f) {
  const size_t width = d.kind == FieldKind::kFloat ? 4 : d.kind == FieldKind::kDouble ? 8 : 0;
  for (const WireField& field : found) {
    if (field.type != WireType::kBytes) {
      TRY(for_each_field(field.start, static_cast<size_t>(field.end - field.start), base,
                         [&](const WireField& one) { return f(one.bits); }));
      continue;
    }
    if (width == 0) {
      Status bad;
      TRY(packed_varints(field, base, [&](uint64_t bits) {
        if (bad.ok()) bad = f(bits);
      }));
      TRY(std::move(bad));
      continue;
    }
    if (field.size % width != 0)
      return invalid(std::string(d.name) + ": " + std::to_string(field.size) +
                     " bytes are no whole numbers");
    for (size_t i = 0; i < field.size; i += width) {
      uint64_t bits = 0;
      std::memcpy(&bits, field.data + i, width);
      TRY(f(bits));
    }
  }
  return ok();
}

}  // namespace onnxtool
