// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/wire.h"

#include "libonnxtool/base/str.h"

namespace onnxtool {

Error WireCursor::fail(const char* what, const std::byte* at) const {
  return invalid(format("{} at byte {}", what, at - base_));
}

Status WireCursor::varint(uint64_t& value) {
  value = 0;
  const std::byte* const start = p_;
  for (int shift = 0; shift < 70; shift += 7) {
    if (p_ == end_) return fail("truncated number", start);
    const auto b = static_cast<uint64_t>(*p_++);
    if (shift == 63 && b > 1) break;
    value |= (b & 0x7F) << shift;
    if (b < 0x80) return ok();
  }
  return fail("number of more than 64 bits", start);
}

Status WireCursor::next(WireField& f) {
  f.start = p_;
  uint64_t tag = 0;
  TRY(varint(tag));
  if (tag > UINT32_MAX || tag >> 3 == 0) return fail("bad field tag", f.start);
  f.number = static_cast<uint32_t>(tag >> 3);
  f.bits = 0;
  f.data = nullptr;
  f.size = 0;
  const auto fixed = [&](size_t n) -> Status {
    if (static_cast<size_t>(end_ - p_) < n) return fail("truncated field", f.start);
    std::memcpy(&f.bits, p_, n);
    f.data = p_;
    f.size = n;
    p_ += n;
    return ok();
  };
  switch (tag & 7) {
    case 0:
      f.type = WireType::kVarint;
      TRY(varint(f.bits));
      break;
    case 1:
      f.type = WireType::kFixed64;
      TRY(fixed(8));
      break;
    case 5:
      f.type = WireType::kFixed32;
      TRY(fixed(4));
      break;
    case 2: {
      f.type = WireType::kBytes;
      uint64_t n = 0;
      TRY(varint(n));
      if (n > static_cast<uint64_t>(end_ - p_))
        return invalid(format("truncated field {} at byte {}: {} bytes announced, {} left",
                              f.number, f.start - base_, n, end_ - p_));
      f.data = p_;
      f.size = static_cast<size_t>(n);
      p_ += n;
      break;
    }
    case 3: {  // skip to the matching end, counting depth, not recursing
      f.type = WireType::kGroup;
      std::vector<uint32_t> open{f.number};
      while (!open.empty()) {
        if (p_ == end_) return fail("unterminated group", f.start);
        const std::byte* const at = p_;
        uint64_t t = 0;
        TRY(varint(t));
        if (t > UINT32_MAX || t >> 3 == 0) return fail("bad field tag", at);
        uint64_t n = 0;
        switch (t & 7) {
          case 0:
            TRY(varint(n));
            n = 0;
            break;
          case 1: n = 8; break;
          case 5: n = 4; break;
          case 2: TRY(varint(n)); break;
          case 3:
            open.push_back(static_cast<uint32_t>(t >> 3));
            if (open.size() > kMaxNesting)
              return unsupported(
                  format("groups nested more than {} deep at byte {}", kMaxNesting, at - base_));
            break;
          case 4:
            if (open.back() != t >> 3) return fail("mismatched end of group", at);
            open.pop_back();
            break;
          default: return fail("bad wire type", at);
        }
        if (n > static_cast<uint64_t>(end_ - p_)) return fail("truncated field", at);
        p_ += n;
      }
      break;
    }
    default:
      return fail((tag & 7) == 4 ? "end of a group that was not begun" : "bad wire type", f.start);
  }
  f.end = p_;
  return ok();
}

bool wire_type_fits(const FieldDesc& d, WireType t) {
  switch (d.kind) {
    case FieldKind::kInt64:
    case FieldKind::kInt32:
    case FieldKind::kUint64:
    case FieldKind::kEnum: return t == WireType::kVarint || (d.repeated && t == WireType::kBytes);
    case FieldKind::kFloat: return t == WireType::kFixed32 || (d.repeated && t == WireType::kBytes);
    case FieldKind::kDouble:
      return t == WireType::kFixed64 || (d.repeated && t == WireType::kBytes);
    default: return t == WireType::kBytes;
  }
}

Status check_message(const MessageDesc& desc, const std::byte* data, size_t size,
                     const std::byte* base, int depth) {
  if (depth > kMaxNesting)
    return unsupported(
        format("messages nested more than {} deep at byte {}", kMaxNesting, data - base));
  return for_each_field(data, size, base, [&](const WireField& f) -> Status {
    const FieldDesc* d = desc.find(f.number);
    if (d == nullptr || !wire_type_fits(*d, f.type)) return ok();  // an unknown field
    if (d->kind == FieldKind::kMessage) {
      if (auto s = check_message(*d->message, f.data, f.size, base, depth + 1); !s.ok())
        return std::move(s).context(d->name);
    } else if (f.type == WireType::kBytes && d->kind == FieldKind::kFloat) {
      if (f.size % 4)
        return invalid(
            format("{}: {} bytes are no whole floats at byte {}", d->name, f.size, f.start - base));
    } else if (f.type == WireType::kBytes && d->kind == FieldKind::kDouble) {
      if (f.size % 8)
        return invalid(format("{}: {} bytes are no whole doubles at byte {}", d->name, f.size,
                              f.start - base));
    } else if (f.type == WireType::kBytes && d->kind < FieldKind::kFloat) {
      TRY(packed_varints(f, base, [](uint64_t) {}));
    }
    return ok();
  });
}

// --------------------------------------------------------------------------------------- Rope

void Rope::put_varint(std::string& s, uint64_t v) {
  for (; v >= 0x80; v >>= 7) s.push_back(static_cast<char>(v | 0x80));
  s.push_back(static_cast<char>(v));
}

std::string& Rope::tail() {
  if (pieces_.empty() || pieces_.back().borrowed.data) pieces_.emplace_back();
  return pieces_.back().own;
}

void Rope::raw(std::string_view encoded) {
  tail().append(encoded);
  size_ += encoded.size();
}

void Rope::raw(const Bytes& encoded) {
  if (encoded.size < 256) return raw(encoded.view());
  pieces_.push_back({{}, encoded});
  size_ += encoded.size;
}

void Rope::varint(uint32_t field, uint64_t value) {
  std::string s;
  put_varint(s, uint64_t{field} << 3);
  put_varint(s, value);
  raw(s);
}

void Rope::fixed32(uint32_t field, float value) {
  std::string s;
  put_varint(s, uint64_t{field} << 3 | 5);
  char b[4];
  std::memcpy(b, &value, 4);
  s.append(b, 4);
  raw(s);
}

void Rope::bytes(uint32_t field, std::string_view value) {
  std::string s;
  put_varint(s, uint64_t{field} << 3 | 2);
  put_varint(s, value.size());
  raw(s);
  raw(value);
}

void Rope::borrowed(uint32_t field, const Bytes& value) {
  std::string s;
  put_varint(s, uint64_t{field} << 3 | 2);
  put_varint(s, value.size);
  raw(s);
  raw(value);
}

void Rope::message(uint32_t field, Rope&& inner) {
  std::string s;
  put_varint(s, uint64_t{field} << 3 | 2);
  put_varint(s, inner.size_);
  raw(s);
  if (inner.pieces_.size() == 1 && !inner.pieces_[0].borrowed.data)
    return raw(inner.pieces_[0].own);
  size_ += inner.size_;
  for (Piece& p : inner.pieces_) pieces_.push_back(std::move(p));
}

std::string Rope::flat() const {
  std::string s;
  s.reserve(size_);
  (void)for_each([&](const void* p, size_t n) -> Status {
    s.append(static_cast<const char*>(p), n);
    return ok();
  });
  return s;
}

}  // namespace onnxtool
