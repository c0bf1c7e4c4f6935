// SPDX-License-Identifier: Apache-2.0
#include "exec/pack_file.h"

#include <algorithm>
#include <cstring>

namespace onnxtool {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr char kMagic[] = "onnxtool packs 1";  // 16 characters
constexpr size_t kFooter = 3 * sizeof(uint64_t) + 16;

void put(std::string& s, uint64_t v) { s.append(reinterpret_cast<const char*>(&v), sizeof v); }
void put(std::string& s, const std::string& text) {
  put(s, text.size());
  s += text;
}

// Takes numbers and texts from the front; `bad` once there is too little.
struct Cursor {
  const std::byte* at;
  uint64_t left;
  bool bad = false;
  uint64_t number() {
    uint64_t v = 0;
    if (left < sizeof v) return bad = true, 0;
    std::memcpy(&v, at, sizeof v);
    at += sizeof v;
    left -= sizeof v;
    return v;
  }
  std::string text() {
    const uint64_t n = number();
    if (bad || n > left) return bad = true, "";
    std::string s(reinterpret_cast<const char*>(at), n);
    at += n;
    left -= n;
    return s;
  }
};

}  // namespace

uint64_t sum_of(const void* data, size_t size) {
  // Four independent chains of xor, multiply and rotate: as fast as memory is read.
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;
  uint64_t h[4] = {size + 1, 2, 3, 4};
  const auto* p = static_cast<const unsigned char*>(data);
  const auto mix = [](uint64_t a, uint64_t w) {
    a = (a ^ w) * kOdd;
    return a << 29 | a >> 35;
  };
  for (; size >= 32; size -= 32, p += 32) {
    uint64_t w[4];
    std::memcpy(w, p, sizeof w);
    for (int i = 0; i < 4; ++i) h[i] = mix(h[i], w[i]);
  }
  for (; size > 0; --size, ++p) h[0] = mix(h[0], *p);
  return mix(mix(h[0], h[1]), mix(h[2], h[3]));
}

Result<std::unique_ptr<PackFile>> PackFile::open(const std::string& path, const std::string& key) {
  TRY_ASSIGN(auto file, MappedFile::open(path));
  const uint64_t size = file->size();
  if (size < kFooter) return invalid("cut off");
  Cursor footer{file->data() + size - kFooter, kFooter};
  const uint64_t at = footer.number(), length = footer.number(), sum = footer.number();
  if (std::memcmp(footer.at, kMagic, 16) != 0) return invalid("another kind of file, or cut off");
  if (at > size - kFooter || length != size - kFooter - at) return invalid("damaged");
  if (sum_of(file->data() + at, length) != sum) return invalid("damaged");
  Cursor table{file->data() + at, length};
  if (table.text() != key) return invalid("made for something else");
  auto packs = std::make_unique<PackFile>();
  for (uint64_t n = table.number(); n > 0 && !table.bad; --n) {
    const std::string name = table.text();
    Row r;
    r.offset = table.number();
    r.size = table.number();
    r.sum = table.number();
    if (r.offset % kAlignment != 0 || r.offset > at || r.size > at - r.offset)
      return invalid("damaged");
    packs->rows_.emplace(name, r);
  }
  if (table.bad || table.left != 0) return invalid("damaged");
  packs->file_ = std::move(file);
  return packs;
}

std::shared_ptr<const std::byte> PackFile::find(const std::string& name, int64_t bytes) {
  Row* row = nullptr;
  {
    std::lock_guard lock(mutex_);
    const auto it = rows_.find(name);
    if (it == rows_.end() || it->second.size != static_cast<uint64_t>(bytes)) return nullptr;
    row = &it->second;  // stays where it is
    if (row->state == Row::kDamaged) return nullptr;
  }
  const std::byte* data = file_->data() + row->offset;
  const bool whole = sum_of(data, row->size) == row->sum;
  std::lock_guard lock(mutex_);
  row->state = whole ? Row::kWhole : Row::kDamaged;
  if (!whole) return nullptr;
  return {file_, data};
}

std::optional<int64_t> PackFile::size_of(const std::string& name) const {
  const auto it = rows_.find(name);
  if (it == rows_.end()) return std::nullopt;
  return static_cast<int64_t>(it->second.size);
}

bool PackFile::damaged() const {
  std::lock_guard lock(mutex_);
  return std::any_of(rows_.begin(), rows_.end(),
                     [](const auto& r) { return r.second.state == Row::kDamaged; });
}

PackFile::Entries PackFile::entries() {
  Entries all;
  for (const auto& [name, row] : rows_)
    if (auto data = find(name, static_cast<int64_t>(row.size)))
      all[name] = {std::move(data), static_cast<int64_t>(row.size)};
  return all;
}

Status PackFile::write(const std::string& path, const std::string& key, const Entries& entries) {
  TRY_ASSIGN(OutputFile f, OutputFile::create(path));
  std::string table;
  put(table, key);
  put(table, entries.size());
  for (const auto& [name, e] : entries) {
    TRY(f.pad_to((f.written() + kAlignment - 1) / kAlignment * kAlignment));
    put(table, name);
    put(table, f.written());
    put(table, static_cast<uint64_t>(e.bytes));
    put(table, sum_of(e.data.get(), static_cast<size_t>(e.bytes)));
    TRY(f.write(e.data.get(), static_cast<size_t>(e.bytes)));
  }
  std::string footer;
  put(footer, f.written());
  put(footer, table.size());
  put(footer, sum_of(table.data(), table.size()));
  footer.append(kMagic, 16);
  TRY(f.write(table.data(), table.size()));
  TRY(f.write(footer.data(), footer.size()));
  return f.commit();
}

}  // namespace onnxtool
