// SPDX-License-Identifier: Apache-2.0
// Builds nested messages front to back in one buffer: the lengths of messages, known only at
// their ends, are put in by one last copy. Linear in the output whatever the nesting.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace onnxtool {

class WireBuilder {
 public:
  void varint(uint32_t field, uint64_t value) {
    put(out_, uint64_t{field} << 3);
    put(out_, value);
  }
  void f32(uint32_t field, float value) {
    put(out_, uint64_t{field} << 3 | 5);
    append_fixed(&value, 4);
  }
  void f64(uint32_t field, double value) {
    put(out_, uint64_t{field} << 3 | 1);
    append_fixed(&value, 8);
  }
  void bytes(uint32_t field, std::string_view value) {
    put(out_, uint64_t{field} << 3 | 2);
    put(out_, value.size());
    out_.append(value);
  }
  // A message or packed numbers between begin() and end().
  void begin(uint32_t field) {
    put(out_, uint64_t{field} << 3 | 2);
    open_.push_back(marks_.size());
    marks_.push_back({out_.size(), 0, extra_});
  }
  void end() {
    Mark& m = marks_[open_.back()];
    open_.pop_back();
    m.length = (out_.size() - m.at) + (extra_ - m.extra);
    extra_ += varint_size(m.length);
  }
  void packed_varint(uint64_t value) { put(out_, value); }
  void packed_fixed(const void* value, size_t n) { append_fixed(value, n); }
  size_t depth() const { return open_.size(); }

  std::string take() {
    std::string whole;
    whole.reserve(out_.size() + extra_);
    size_t done = 0;
    for (const Mark& m : marks_) {
      whole.append(out_, done, m.at - done);
      put(whole, m.length);
      done = m.at;
    }
    whole.append(out_, done);
    return whole;
  }

 private:
  struct Mark {
    size_t at;  // in out_, where the length belongs
    size_t length;
    size_t extra;  // bytes of the lengths of messages ended before this one began
  };
  static void put(std::string& s, uint64_t v) {
    for (; v >= 0x80; v >>= 7) s.push_back(static_cast<char>(v | 0x80));
    s.push_back(static_cast<char>(v));
  }
  static size_t varint_size(uint64_t v) {
    size_t n = 1;
    for (; v >= 0x80; v >>= 7) ++n;
    return n;
  }
  void append_fixed(const void* value, size_t n) {
    out_.append(static_cast<const char*>(value), n);
  }

  std::string out_;
  std::vector<Mark> marks_;  // in the order of begin()
  std::vector<size_t> open_;
  size_t extra_ = 0;
};

}  // namespace onnxtool
