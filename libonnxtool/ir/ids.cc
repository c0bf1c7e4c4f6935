// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/ids.h"

#include <mutex>
#include <unordered_set>

namespace onnxtool {

const std::string* Sym::empty() {
  static const std::string kEmpty;
  return &kEmpty;
}

Sym::Sym(std::string_view s) : s_(empty()) {
  if (s.empty()) return;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view v) const { return std::hash<std::string_view>()(v); }
  };
  static std::mutex mutex;
  static auto* pool = new std::unordered_set<std::string, Hash, std::equal_to<>>();
  const std::lock_guard lock(mutex);
  auto it = pool->find(s);
  if (it == pool->end()) it = pool->emplace(s).first;
  s_ = &*it;
}

Bytes Bytes::copy(std::string s) {
  auto owner = std::make_shared<const std::string>(std::move(s));
  return {reinterpret_cast<const std::byte*>(owner->data()), owner->size(), owner};
}

}  // namespace onnxtool
