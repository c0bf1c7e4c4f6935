// SPDX-License-Identifier: Apache-2.0
// The protobuf wire format over a byte range, without limits at 2 GB: a field cursor for reading
// and a rope for writing (protobuf.dev/programming-guides/encoding).
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/ids.h"
#include "libonnxtool/onnx/proto.h"

namespace onnxtool {

// Limit of message nesting, as in protobuf's own parsers.
inline constexpr int kMaxNesting = 100;

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kFixed32 = 5 };

// One field as read: scalar in `bits`, or a byte range.
struct WireField {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t bits = 0;
  const std::byte* data = nullptr;
  size_t size = 0;
  const std::byte* start = nullptr;  // of the field's tag
  const std::byte* end = nullptr;    // past the field
  std::string_view view() const { return {reinterpret_cast<const char*>(data), size}; }
  std::string str() const { return std::string(view()); }
  int64_t i64() const { return static_cast<int64_t>(bits); }
  int32_t i32() const { return static_cast<int32_t>(bits); }
  float f32() const {
    const auto u = static_cast<uint32_t>(bits);
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  }
};

// Walks the fields of one message. Errors say the byte offset from `base` (the file's start).
class WireCursor {
 public:
  WireCursor(const std::byte* data, size_t size, const std::byte* base)
      : p_(data), end_(data + size), base_(base) {}
  bool done() const { return p_ == end_; }
  Status next(WireField& field);  // groups (deprecated) are skipped over as one field
  const std::byte* base() const { return base_; }

 private:
  Status varint(uint64_t& value);
  Error fail(const char* what, const std::byte* at) const;
  const std::byte* p_;
  const std::byte* end_;
  const std::byte* base_;
};

// f(field) for each field; a Status error ends it.
template <typename F>
Status for_each_field(const std::byte* data, size_t size, const std::byte* base, F f) {
  WireCursor c(data, size, base);
  WireField field;
  while (!c.done()) {
    TRY(c.next(field));
    TRY(f(static_cast<const WireField&>(field)));
  }
  return ok();
}

// Scalars of a repeated field, packed or not, appended: f(uint64 bits).
template <typename F>
Status packed_varints(const WireField& f, const std::byte* base, F add) {
  if (f.type == WireType::kVarint) {
    add(f.bits);
    return ok();
  }
  const auto* p = reinterpret_cast<const uint8_t*>(f.data);
  const uint8_t* const end = p + f.size;
  while (p < end) {
    uint64_t v = 0;
    int shift = 0;
    const uint8_t* const start = p;
    for (;;) {
      if (p == end || shift > 63)
        return invalid("malformed number at byte " +
                       std::to_string(reinterpret_cast<const std::byte*>(start) - base));
      const uint8_t b = *p++;
      v |= static_cast<uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) break;
      shift += 7;
    }
    add(v);
  }
  return ok();
}

// Checks that a range is a well-formed message of this kind, all the way down, without keeping
// anything. Unknown fields are fine.
Status check_message(const MessageDesc& desc, const std::byte* data, size_t size,
                     const std::byte* base, int depth = 0);
// The wire type of a known field fits its kind.
bool wire_type_fits(const FieldDesc& field, WireType type);

// A message being written: ranges of own and borrowed bytes.
class Rope {
 public:
  void varint(uint32_t field, uint64_t value);
  void fixed32(uint32_t field, float value);
  void bytes(uint32_t field, std::string_view value);  // copied
  void borrowed(uint32_t field, const Bytes& value);   // kept by reference
  void message(uint32_t field, Rope&& inner);
  void raw(const Bytes& encoded);      // already encoded fields
  void raw(std::string_view encoded);  // copied
  template <typename T, typename F>
  void packed(uint32_t field, const std::vector<T>& values, F to_bits) {
    std::string s;
    for (const T& v : values) put_varint(s, to_bits(v));
    bytes(field, s);
  }
  uint64_t size() const { return size_; }
  // f(const void*, size_t) -> Status for each range in order.
  template <typename F>
  Status for_each(F f) const {
    for (const Piece& p : pieces_)
      TRY(p.borrowed.data ? f(p.borrowed.data, p.borrowed.size) : f(p.own.data(), p.own.size()));
    return ok();
  }
  std::string flat() const;
  static void put_varint(std::string& s, uint64_t v);

 private:
  struct Piece {
    std::string own;
    Bytes borrowed;
  };
  std::string& tail();
  std::vector<Piece> pieces_;
  uint64_t size_ = 0;
};

}  // namespace onnxtool
