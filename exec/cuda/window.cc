// SPDX-License-Identifier: Apache-2.0
#include "exec/cuda/window.h"

#include <climits>
#include <cstdlib>

namespace onnxtool::cuda {

Image image_of(const Operand& o) {
  const std::vector<int64_t> s = memory_strides(o.dims, o.layout);
  Image r;
  r.batch = s[0];
  r.channel = s[1];
  for (size_t i = 2; i < s.size(); ++i) r.at[kSpatial - s.size() + i] = s[i];
  return r;
}

bool plan_window(const StepInfo& s, const Geometry& g, Window* w) {
  if (g.rank() > kSpatial) return false;
  int64_t size = 1, pixels = 1;
  const auto fits = [](int64_t v) { return v >= 0 && v < INT_MAX / 4; };
  for (size_t i = 0; i < g.rank(); ++i) {
    const size_t d = kSpatial - g.rank() + i;
    const int64_t reach = (g.kernel[i] - 1) * g.dilations[i] + g.begin[i];
    if (!fits(g.in[i]) || !fits(g.out[i] * g.strides[i]) || !fits(reach) ||
        !fits(std::abs(g.end[i])))
      return false;
    w->in[d] = static_cast<int>(g.in[i]);
    w->out[d] = static_cast<int>(g.out[i]);
    w->kernel[d] = static_cast<int>(g.kernel[i]);
    w->stride[d] = static_cast<int>(g.strides[i]);
    w->dilation[d] = static_cast<int>(g.dilations[i]);
    w->begin[d] = static_cast<int>(g.begin[i]);
    w->end[d] = static_cast<int>(g.end[i]);
    size *= g.kernel[i];
    pixels *= g.out[i];
    if (!fits(size) || !fits(pixels)) return false;
  }
  w->size = static_cast<int>(size);
  w->pixels = static_cast<int>(pixels);
  w->images = s.out[0].dims[0];
  w->from = image_of(s.in[0]);
  w->to = image_of(s.out[0]);
  return true;
}

}  // namespace onnxtool::cuda
