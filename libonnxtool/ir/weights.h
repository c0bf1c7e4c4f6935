// SPDX-License-Identifier: Apache-2.0
// What counts as a weight of a model: initializers, and tensors that nodes hold (Constant).
#pragma once
#include <functional>

#include "libonnxtool/ir/model.h"

namespace onnxtool {

void for_each_weight(const Model& m, const std::function<void(const TensorConst&)>& f);
int64_t weight_bytes(const Model& m);

}  // namespace onnxtool
