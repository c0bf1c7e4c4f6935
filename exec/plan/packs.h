// SPDX-License-Identifier: Apache-2.0
// Packed weights that nobody keeps: each is made when asked for and goes with who asked.
#pragma once
#include "exec/plan/kernel.h"

namespace onnxtool {

class PassingPacks final : public PackCache {
 public:
  Result<std::shared_ptr<const std::byte>> get(
      const Tensor& source, const std::string& form, int64_t bytes,
      const std::function<Status(std::byte*)>& fill) override;
};

}  // namespace onnxtool
