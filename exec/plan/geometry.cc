// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/geometry.h"

#include <algorithm>

namespace onnxtool {
namespace {

constexpr int64_t kMaxExtent = int64_t{1} << 40;

bool read(const StepInfo& s, const char* attr, std::vector<int64_t>& to, size_t count,
          int64_t low) {
  if (auto* v = s.attr_ints(attr)) to = *v;
  return to.size() == count &&
         std::all_of(to.begin(), to.end(), [low](int64_t x) { return x >= low && x < kMaxExtent; });
}

// Attributes that all three kinds share.
bool common(const StepInfo& s, Geometry& g) {
  if (s.in.empty() || s.out.empty() || s.in[0].rank() < 3 || s.out[0].rank() != s.in[0].rank())
    return false;
  g.in.assign(s.in[0].dims.begin() + 2, s.in[0].dims.end());
  g.out.assign(s.out[0].dims.begin() + 2, s.out[0].dims.end());
  size_t n = g.in.size();
  if (g.kernel.size() != n || std::any_of(g.kernel.begin(), g.kernel.end(),
                                          [](int64_t k) { return k < 1 || k >= kMaxExtent; }))
    return false;
  g.strides.assign(n, 1);
  g.dilations.assign(n, 1);
  if (!read(s, "strides", g.strides, n, 1) || !read(s, "dilations", g.dilations, n, 1))
    return false;
  std::vector<int64_t> pads(2 * n, 0);
  if (!read(s, "pads", pads, 2 * n, 0)) return false;
  g.begin.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(n));
  g.end.assign(pads.begin() + static_cast<std::ptrdiff_t>(n), pads.end());
  return true;
}

// What both kinds of convolution share: weights are input 1.
bool of_weights(const StepInfo& s, Geometry& g) {
  if (s.in.size() < 2 || s.in[1].rank() < 3) return false;
  g.kernel.assign(s.in[1].dims.begin() + 2, s.in[1].dims.end());
  g.group = s.attr_int("group", 1);
  return common(s, g) && g.group >= 1;
}

// Splits what auto_pad must add: SAME_UPPER puts the odd one at the end.
void split(std::string_view mode, int64_t total, int64_t& begin, int64_t& end) {
  total = std::max<int64_t>(total, 0);
  begin = mode == "SAME_LOWER" ? total - total / 2 : total / 2;
  end = total - begin;
}

void resolve_pads(const StepInfo& s, Geometry& g) {
  std::string_view mode = s.attr_str("auto_pad", "NOTSET");
  for (size_t i = 0; i < g.rank(); ++i) {
    int64_t reach = (g.kernel[i] - 1) * g.dilations[i] + 1;
    if (mode == "VALID") {
      g.begin[i] = g.end[i] = 0;
    } else if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      split(mode, (g.out[i] - 1) * g.strides[i] + reach - g.in[i], g.begin[i], g.end[i]);
    }
  }
}

}  // namespace

bool Geometry::dilated() const {
  return std::any_of(dilations.begin(), dilations.end(), [](int64_t d) { return d != 1; });
}

std::optional<Geometry> conv_geometry(const StepInfo& s) {
  Geometry g;
  if (!of_weights(s, g)) return std::nullopt;
  const Dims& w = s.in[1].dims;
  int64_t channels = s.in[0].dims[1];
  if (channels % g.group || w[0] % g.group || w[1] != channels / g.group ||
      s.out[0].dims[1] != w[0])
    return std::nullopt;
  resolve_pads(s, g);
  for (size_t i = 0; i < g.rank(); ++i) {
    int64_t reach = (g.kernel[i] - 1) * g.dilations[i] + 1;
    if ((g.in[i] + g.begin[i] + g.end[i] - reach) / g.strides[i] + 1 != g.out[i])
      return std::nullopt;
  }
  return g;
}

std::optional<Geometry> transposed_geometry(const StepInfo& s) {
  Geometry g;
  if (!of_weights(s, g)) return std::nullopt;
  const Dims& w = s.in[1].dims;
  int64_t channels = s.in[0].dims[1];
  if (w[0] != channels || channels % g.group || s.out[0].dims[1] != w[1] * g.group)
    return std::nullopt;
  std::string_view mode = s.attr_str("auto_pad", "NOTSET");
  bool given = s.attr_ints("output_shape") != nullptr;
  for (size_t i = 0; i < g.rank(); ++i) {
    int64_t full = (g.in[i] - 1) * g.strides[i] + (g.kernel[i] - 1) * g.dilations[i] + 1;
    int64_t total = full - g.out[i];  // output_padding makes it smaller, below zero at worst
    if (mode == "VALID") {
      g.begin[i] = 0;
    } else if (mode == "SAME_UPPER" || mode == "SAME_LOWER" || given) {
      // The spec's own halves: SAME_UPPER gives the smaller part to the beginning.
      int64_t pads = std::max<int64_t>(total, 0);
      g.begin[i] = mode == "SAME_UPPER" ? pads / 2 : pads - pads / 2;
    }
    g.end[i] = total - g.begin[i];
  }
  return g;
}

std::optional<Geometry> pool_geometry(const StepInfo& s) {
  Geometry g;
  auto* k = s.attr_ints("kernel_shape");
  if (!k) return std::nullopt;
  g.kernel = *k;
  if (!common(s, g)) return std::nullopt;
  if (s.out[0].dims[1] != s.in[0].dims[1]) return std::nullopt;
  resolve_pads(s, g);
  return g;
}

}  // namespace onnxtool
