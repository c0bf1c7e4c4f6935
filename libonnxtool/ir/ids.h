// SPDX-License-Identifier: Apache-2.0
// Strong 32-bit ids into a Model's dense tables, interned names, and shared byte ranges.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace onnxtool {

template <typename Tag>
struct Id {
  uint32_t v = UINT32_MAX;
  constexpr Id() = default;
  constexpr explicit Id(uint32_t value) : v(value) {}
  constexpr bool valid() const { return v != UINT32_MAX; }
  constexpr explicit operator bool() const { return valid(); }
  friend constexpr bool operator==(Id, Id) = default;
  friend constexpr auto operator<=>(Id, Id) = default;
};
using ValueId = Id<struct ValueTag>;
using NodeId = Id<struct NodeTag>;
using GraphId = Id<struct GraphTag>;

// An interned string (op types, domains): one pointer, compared by address, never freed.
class Sym {
 public:
  Sym() : s_(empty()) {}
  Sym(std::string_view s);                                 // NOLINT(google-explicit-constructor)
  Sym(const char* s) : Sym(std::string_view(s)) {}         // NOLINT(google-explicit-constructor)
  Sym(const std::string& s) : Sym(std::string_view(s)) {}  // NOLINT
  const std::string& str() const { return *s_; }
  std::string_view view() const { return *s_; }
  friend bool operator==(Sym a, Sym b) { return a.s_ == b.s_; }
  size_t hash() const { return std::hash<const void*>()(s_); }

 private:
  static const std::string* empty();
  const std::string* s_;
};

// Bytes kept alive by an owner (a mapped file or a buffer of ours).
struct Bytes {
  const std::byte* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;
  bool empty() const { return size == 0; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data), size}; }
  std::string str_copy() const { return std::string(view()); }
  static Bytes copy(std::string s);
};

}  // namespace onnxtool

template <typename Tag>
struct std::hash<onnxtool::Id<Tag>> {
  size_t operator()(onnxtool::Id<Tag> id) const noexcept {
    return id.v * 0x9E3779B97F4A7C15ull >> 16;
  }
};
template <>
struct std::hash<onnxtool::Sym> {
  size_t operator()(onnxtool::Sym s) const noexcept { return s.hash(); }
};
