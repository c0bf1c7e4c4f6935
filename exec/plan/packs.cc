// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/packs.h"

#include "libonnxtool/base/file.h"

namespace onnxtool {

Result<std::shared_ptr<const std::byte>> PassingPacks::get(
    const Tensor& source, const std::string&, int64_t bytes,
    const std::function<Status(std::byte*)>& fill) {
  TRY_ASSIGN(Tensor t, Tensor::allocate(DType::kUint8, {bytes}));
  auto holder = std::make_shared<Tensor>(std::move(t));
  TRY(fill(holder->mutable_raw()));
  release_pages(source.raw(), source.bytes());
  return std::shared_ptr<const std::byte>(holder, holder->raw());
}

}  // namespace onnxtool
