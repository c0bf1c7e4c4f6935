// SPDX-License-Identifier: Apache-2.0
// Evaluates one node whose inputs are all known: by a fast kernel where one accepts, else by the
// operator's reference evaluation.
#pragma once
#include <span>
#include <vector>

#include "exec/plan/plan.h"

namespace onnxtool {

Tensor half_to_float(const Tensor& t);  // float16 or bfloat16 to float

// Packed weights that nobody shares.
class NoPackCache final : public PackCache {
 public:
  Result<std::shared_ptr<const std::byte>> get(
      const Tensor&, const std::string&, int64_t bytes,
      const std::function<Status(std::byte*)>& fill) override {
    TRY_ASSIGN(Tensor t, Tensor::allocate(DType::kUint8, {bytes}));
    auto holder = std::make_shared<Tensor>(std::move(t));
    TRY(fill(holder->mutable_raw()));
    return std::shared_ptr<const std::byte>(holder, holder->raw());
  }
};

// `out` gives the outputs' types. The results fit them where those are known; an undefined tensor
// stands for an output left out. Over `budget` bytes: kUnsupported.
Result<std::vector<Tensor>> evaluate_constant(const Model& model, const Node& node,
                                              std::span<const Tensor* const> inputs,
                                              std::span<const PlanValue> out,
                                              const KernelIndex& kernels, PrepareContext& ctx,
                                              int64_t budget);

// Makes the bytes of a constant that has a maker.
Status fill_constant(PlanValue& value, const Model& model, const KernelIndex& kernels);

}  // namespace onnxtool
