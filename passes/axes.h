// SPDX-License-Identifier: Apache-2.0
// Axes of reductions and orders of transposes, as rewrites move them about.
#pragma once
#include <optional>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

using Axes = std::vector<int64_t>;  // sorted, not negative, each once

// Negative axes counted from the end, sorted; nullopt: one is out of range or there twice.
std::optional<Axes> normalized(Axes axes, int64_t rank);
// Of a reduction, ArgMax, ArgMin, Squeeze or Unsqueeze (`rank` of its result) where they are known
// and named; of a Squeeze also those that are left out.
std::optional<Axes> axes_of(const PassContext& ctx, NodeId n, int64_t rank);
// The order of a Transpose; empty: not known, or none.
Axes perm_of(const PassContext& ctx, NodeId n);
Axes inverse(const Axes& perm);
bool keeps_order(const Axes& perm);
// A Transpose by perm of such a shape is a Reshape: the dims that are not 1 keep their order.
bool moves_only_ones(const Axes& perm, const Shape& from);

bool contains(const Axes& axes, int64_t a);
// Axes that are left of `rank` without `gone`.
Axes others(const Axes& gone, int64_t rank);

// A reduction of one value over axes given by a constant: `like` with other axes, or another
// keepdims where that is not negative.
EditValue make_reduction(Edit& edit, const PassContext& ctx, NodeId like, EditValue x, Axes axes,
                         int64_t keepdims = -1);
EditValue make_transpose(Edit& edit, EditValue x, Axes perm);

}  // namespace onnxtool
