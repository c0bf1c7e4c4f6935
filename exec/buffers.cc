// SPDX-License-Identifier: Apache-2.0
#include "exec/buffers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/file.h"
#include "libonnxtool/base/file_identity.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kKeepFree = int64_t{64} << 20;  // trim() leaves this much

int64_t rounded(int64_t bytes) {
  // Steps of an eighth, so that sizes that vary a little share blocks.
  int64_t step = kAlignment;
  while (step * 16 < bytes) step *= 2;
  return std::max(kAlignment, (bytes + step - 1) / step * step);
}

}  // namespace

// Large blocks are mappings of their own, so that freeing gives the memory back; huge pages are
// asked for only where all of one is wanted.
Block::Block(int64_t bytes) : capacity(rounded(bytes)) {
  if (capacity < kHugePage) {
    data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, static_cast<size_t>(capacity)));
    return;
  }
  const auto huge = static_cast<uintptr_t>(kHugePage), size = static_cast<uintptr_t>(capacity);
  void* p = mmap(nullptr, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return;
  const auto from = reinterpret_cast<uintptr_t>(p), at = (from + huge - 1) / huge * huge;
  if (at > from) munmap(p, at - from);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t end = (at + size + page - 1) / page * page;
  if (end < from + size + huge) munmap(reinterpret_cast<void*>(end), from + size + huge - end);
  data = reinterpret_cast<std::byte*>(at);
  (void)madvise(data, static_cast<size_t>(bytes) / huge * huge, MADV_HUGEPAGE);
}

Block::~Block() {
  if (capacity < kHugePage)
    std::free(data);
  else if (data)
    munmap(data, static_cast<size_t>(capacity));
}

Status BufferPool::check(int64_t bytes) const {
  std::lock_guard lock(mutex_);
  if (bytes < 0 || bytes > limit_ - total_)
    return unsupported(format("running needs {} more than the memory limit of {} allows",
                              human_bytes(static_cast<uint64_t>(std::max<int64_t>(bytes, 0))),
                              human_bytes(static_cast<uint64_t>(limit_))));
  return ok();
}

Result<std::shared_ptr<Block>> BufferPool::get(int64_t bytes) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Block>* best = nullptr;
  for (auto& b : blocks_) {
    if (b.use_count() != 1 || b->capacity < bytes || b->capacity > bytes * 2 + 4096) continue;
    if (!best || b->capacity < (*best)->capacity) best = &b;
  }
  if (best) {
    std::atomic_thread_fence(std::memory_order_acquire);
    return *best;
  }
  if (bytes > limit_ - total_) {
    std::erase_if(blocks_, [this](const std::shared_ptr<Block>& b) {
      if (b.use_count() != 1) return false;
      total_ -= b->capacity;
      return true;
    });
  }
  if (bytes < 0 || bytes > limit_ - total_)
    return unsupported(format("running needs more memory than the limit of {}",
                              human_bytes(static_cast<uint64_t>(limit_))));
  auto block = std::make_shared<Block>(bytes);
  if (!block->data)
    return unsupported(format("cannot allocate {}", human_bytes(static_cast<uint64_t>(bytes))));
  total_ += block->capacity;
  blocks_.push_back(block);
  return block;
}

Result<Tensor> BufferPool::tensor(DType dtype, const Dims& dims) {
  auto count = checked_product(dims);
  auto bytes = count ? raw_bytes(dtype, *count) : std::nullopt;
  if (!bytes) return unsupported(format("a result of shape {} is too large", to_string(dims)));
  TRY_ASSIGN(auto block, get(*bytes));
  const std::byte* data = block->data;
  return Tensor::view(dtype, dims, data, static_cast<size_t>(*bytes), std::move(block));
}

bool BufferPool::reusable(const Tensor& t, DType dtype, const Dims& dims) const {
  if (t.dtype() != dtype || t.dims() != dims || t.owner().use_count() != 2) return false;
  std::lock_guard lock(mutex_);
  bool ours = std::any_of(blocks_.begin(), blocks_.end(), [&](const std::shared_ptr<Block>& b) {
    return b.get() == t.owner().get() && b->data == t.raw();
  });
  if (ours) std::atomic_thread_fence(std::memory_order_acquire);
  return ours;
}

void BufferPool::trim() {
  std::lock_guard lock(mutex_);
  int64_t idle = 0;
  for (auto& b : blocks_)
    if (b.use_count() == 1) idle += b->capacity;
  if (idle <= kKeepFree) {
    trims_ = 0;
    return;
  }
  if (++trims_ < 8) return;  // blocks that runs use in turn are idle between runs
  trims_ = 0;
  std::sort(blocks_.begin(), blocks_.end(),
            [](auto& a, auto& b) { return a->capacity > b->capacity; });
  std::erase_if(blocks_, [&](const std::shared_ptr<Block>& b) {
    if (idle <= kKeepFree || b.use_count() != 1) return false;
    idle -= b->capacity;
    total_ -= b->capacity;
    return true;
  });
}

Result<std::shared_ptr<const std::byte>> SharedPacks::get(
    const Tensor& source, const std::string& form, int64_t bytes,
    const std::function<Status(std::byte*)>& fill) {
  std::pair<const void*, std::string> key(source.raw(), form);
  {
    std::lock_guard lock(mutex_);
    auto it = entries_.find(key);
    if (it != entries_.end() && it->second.bytes == bytes && source.owner() &&
        it->second.owner.lock() == source.owner())
      return it->second.data;
  }
  std::string name = name_of(source, form);
  if (file_ && !name.empty())
    if (auto data = file_->find(name, bytes)) {
      std::lock_guard lock(mutex_);
      entries_[key] = {source.owner(), data, bytes, std::move(name), true};
      return data;
    }
  TRY_ASSIGN(std::shared_ptr<const std::byte> data, make(bytes, fill));
  release_pages(source.raw(), source.bytes());  // mostly nobody reads them again
  std::lock_guard lock(mutex_);
  // Of constants that a plan made, once both are gone.
  std::erase_if(entries_, [this](const auto& e) {
    return path_.empty() && e.second.owner.expired() && e.second.data.use_count() == 1;
  });
  entries_[key] = {source.owner(), data, bytes, std::move(name)};
  return data;
}

Result<std::shared_ptr<const std::byte>> SharedPacks::make(
    int64_t bytes, const std::function<Status(std::byte*)>& fill) const {
  auto block = std::make_shared<Block>(bytes);
  if (!block->data)
    return unsupported(
        format("cannot allocate {} for packed weights", human_bytes(static_cast<uint64_t>(bytes))));
  TRY(fill(block->data));
  if (!device_) return std::shared_ptr<const std::byte>(block, block->data);
  TRY_ASSIGN(std::shared_ptr<std::byte> data, device_->upload(block->data, bytes));
  return std::shared_ptr<const std::byte>(std::move(data));
}

int64_t SharedPacks::bytes() const {
  std::lock_guard lock(mutex_);
  int64_t total = 0;
  for (auto& [key, e] : entries_) total += e.bytes;
  return total;
}

// What was made of no constant of the model goes by its content. Forms of this process only
// (addresses in them) have no name.
std::string SharedPacks::name_of(const Tensor& source, const std::string& form) const {
  if (path_.empty() || form.find("opaque") != std::string::npos) return "";
  const auto it = names_.find(source.raw());
  const bool named = it != names_.end() && it->second.owner.lock() == source.owner();
  const std::string what =
      named ? it->second.name : format("{:016x}", sum_of(source.raw(), source.bytes()));
  return format("{}{}/{}/{}", dtype_name(source.dtype()), to_string(source.dims()), form, what);
}

void SharedPacks::keep_in(const std::string& path, const std::string& key, const Model& model,
                          Bytes model_bytes) {
  path_ = path;
  model_bytes_ = std::move(model_bytes);
  key_ = key;
  for (size_t i = 0; i < model.num_values(); ++i) {
    const Value& v = model.value(ValueId(static_cast<uint32_t>(i)));
    if (!v.constant || v.constant->sparse || v.kind == ValueKind::kNone) continue;
    // Names say nothing where two values have the same.
    const Tensor& t = v.constant->dense.tensor;
    names_.emplace(t.raw(), Named{t.owner(), format("{}:{}", i, v.name)});
  }
  if (file_identity(path).empty()) return;
  auto file = PackFile::open(path, key);
  if (file.ok())
    file_ = std::move(*file);
  else
    note_ = file.error().message;
}

Status SharedPacks::save() const {
  if (path_.empty()) return ok();
  PackFile::Entries all;
  bool lacks = !model_bytes_.empty();
  if (lacks)
    all[kModelEntry] = {{model_bytes_.owner, model_bytes_.data},
                        static_cast<int64_t>(model_bytes_.size)};
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, e] : entries_) {
      if (e.name.empty()) continue;
      all[e.name] = {e.data, e.bytes};
      lacks = lacks || !e.in_file;
    }
  }
  if (!lacks) return ok();
  if (file_)
    for (auto& [name, e] : file_->entries()) all.emplace(name, std::move(e));
  return PackFile::write(path_, key_, all);
}

int64_t SharedPacks::from_file() const {
  std::lock_guard lock(mutex_);
  int64_t total = 0;
  for (auto& [key, e] : entries_) total += e.in_file ? e.bytes : 0;
  return total;
}

std::string SharedPacks::note() const {
  return note_.empty() && file_ && file_->damaged() ? "damaged" : note_;
}

const std::shared_ptr<const void>& borrow_token() {
  static const std::shared_ptr<const void> token = std::make_shared<const int>(0);
  return token;
}

bool is_borrowed(const Datum& d) {
  switch (d.kind) {
    case TypeKind::kTensor: return d.tensor.owner() == borrow_token();
    case TypeKind::kSequence:
      return d.seq && std::any_of(d.seq->begin(), d.seq->end(), is_borrowed);
    case TypeKind::kOptional: return d.opt && is_borrowed(*d.opt);
    case TypeKind::kMap: return d.map && d.map->values.owner() == borrow_token();
    default: return false;
  }
}

Result<Datum> own(const Datum& d, BufferPool& pool) {
  if (!is_borrowed(d)) return d;
  Datum r = d;
  if (d.kind == TypeKind::kTensor) {
    TRY_ASSIGN(r.tensor, pool.tensor(d.tensor.dtype(), d.tensor.dims()));
    if (d.tensor.bytes())
      std::memcpy(const_cast<std::byte*>(r.tensor.raw()), d.tensor.raw(), d.tensor.bytes());
  } else if (d.kind == TypeKind::kSequence) {
    Sequence s;
    for (const Datum& e : *d.seq) {
      TRY_ASSIGN(Datum copy, own(e, pool));
      s.push_back(std::move(copy));
    }
    r.seq = std::make_shared<const Sequence>(std::move(s));
  } else if (d.kind == TypeKind::kOptional) {
    TRY_ASSIGN(Datum copy, own(*d.opt, pool));
    r.opt = std::make_shared<const Datum>(std::move(copy));
  } else {
    MapData m = *d.map;
    TRY_ASSIGN(Datum copy, own(Datum(m.values), pool));
    m.values = copy.tensor;
    r.map = std::make_shared<const MapData>(std::move(m));
  }
  return r;
}

}  // namespace onnxtool
