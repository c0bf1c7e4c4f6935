// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/reducing.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"

namespace onnxtool {

std::optional<Reducing> step_reducing(const StepInfo& s) {
  const size_t rank = s.in[0].dims.size();
  Reducing r;
  r.axes.assign(rank, 0);
  if (s.op.view().starts_with("Global")) {
    if (rank < 3) return std::nullopt;
    std::fill(r.axes.begin() + 2, r.axes.end(), 1);
    return r;
  }
  r.keep = s.attr_int("keepdims", 1) != 0;
  const auto axes = s.ints(1, "axes");
  if (s.has(1) && !axes) return std::nullopt;
  if (!axes || axes->empty()) {
    if (s.attr_int("noop_with_empty_axes", 0)) return std::nullopt;
    std::fill(r.axes.begin(), r.axes.end(), 1);
    return r;
  }
  for (int64_t a : *axes) {
    const auto axis = normalize_axis(a, s.in[0].rank());
    if (!axis) return std::nullopt;
    r.axes[static_cast<size_t>(*axis)] = 1;
  }
  return r;
}

}  // namespace onnxtool
