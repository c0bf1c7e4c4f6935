// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/resize_util.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"

namespace onnxtool {
namespace {

constexpr double kMaxSize = 0x1p53;

// Weights of one output position whose neighbours start at `start` before floor(x).
using Kernel = std::vector<double>;

double cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

double coordinate(const ResizeForm& form, const ResizeAxis& a, double x) {
  using C = ResizeForm::Coord;
  const double in = static_cast<double>(a.in);
  switch (form.coord) {
    case C::kHalfPixel: return (x + 0.5) / a.scale - 0.5;
    case C::kHalfPixelSymmetric: {
      const double adjustment = static_cast<double>(a.out) / a.length;
      return in / 2 * (1 - adjustment) + (x + 0.5) / a.scale - 0.5;
    }
    case C::kPytorchHalfPixel: return a.out > 1 ? (x + 0.5) / a.scale - 0.5 : 0;
    case C::kAlignCorners: return a.length == 1 ? 0 : x * (in - 1) / (a.length - 1);
    case C::kAsymmetric: return x / a.scale;
    case C::kTfHalfPixelForNn: return (x + 0.5) / a.scale;
    case C::kTfCropAndResize: {
      const double extent = (a.roi_end - a.roi_start) * (in - 1);
      const double start = a.roi_start * (in - 1);
      return a.length == 1 ? start + extent / 2 : start + x * extent / (a.length - 1);
    }
  }
  return 0;
}

double nearest(const ResizeForm& form, double x, double scale) {
  using N = ResizeForm::Nearest;
  const double floor = std::floor(x), part = x - floor;
  switch (form.nearest) {
    case N::kRoundPreferFloor: return part > 0.5 ? floor + 1 : floor;
    case N::kRoundPreferCeil: return part >= 0.5 ? floor + 1 : floor;
    case N::kFloor: return floor;
    case N::kCeil: return std::ceil(x);
    case N::kSimple: return scale < 1 ? std::ceil(x) : floor;
  }
  return floor;
}

// Weights around x = floor + part, 0 < part <= 1; the first belongs to floor - (size / 2 - 1).
Kernel kernel_at(const ResizeForm& form, double part, double scale) {
  const double stretch = form.antialias ? std::min(scale, 1.0) : 1.0;
  const bool is_cubic = form.mode == ResizeForm::Mode::kCubic;
  const double radius = is_cubic ? 2 : 1;
  const int64_t first = static_cast<int64_t>(std::floor(-radius / stretch)) + 1;
  const int64_t last = 1 - first;
  Kernel k;
  for (int64_t i = first; i <= last; ++i) {
    const double d = stretch * (static_cast<double>(i) - part);
    k.push_back(is_cubic ? cubic(d, form.cubic_a) : std::clamp(1 - std::fabs(d), 0.0, 1.0));
  }
  if (form.antialias) {
    const double sum = std::accumulate(k.begin(), k.end(), 0.0);
    if (sum != 0)
      for (double& w : k) w /= sum;
  }
  return k;
}

Error count_error(std::string_view what, size_t have, size_t axes) {
  return invalid(format("{} has {} values for {} axes", what, have, axes));
}

}  // namespace

// Scales of the attributes of Upsample-1 and -7.
std::optional<std::vector<float>> attribute_scales(const Node& node) {
  if (const auto* s = node.attr_floats("scales")) return *s;
  if (node.attr("height_scale") == nullptr || node.attr("width_scale") == nullptr)
    return std::nullopt;
  return std::vector<float>{1, 1, node.attr_float("height_scale", 1),
                            node.attr_float("width_scale", 1)};
}

Result<ResizeForm> resize_form(const Node& node) {
  ResizeForm f;
  const int version = node.version;
  const bool upsample = node.op.view() == "Upsample";
  if (upsample || version < 11) {
    // Old documents say "bilinear" (Upsample-1) and "linear"; both interpolate over all axes.
    TRY_ASSIGN(const size_t mode,
               choice(node, "mode", "nearest", {"nearest", "linear", "bilinear"}));
    f.mode = mode == 0 ? ResizeForm::Mode::kNearest : ResizeForm::Mode::kLinear;
    f.coord = ResizeForm::Coord::kAsymmetric;
    f.nearest = ResizeForm::Nearest::kSimple;
    f.scales_input = !upsample || version >= 9 ? 1 : 0;
    return f;
  }
  f.roi_input = 1;
  f.scales_input = 2;
  f.sizes_input = 3;
  TRY_ASSIGN(const size_t mode, choice(node, "mode", "nearest", {"nearest", "linear", "cubic"}));
  TRY_ASSIGN(const size_t coord,
             choice(node, "coordinate_transformation_mode", "half_pixel",
                    {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                     "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"}));
  TRY_ASSIGN(const size_t nearest,
             choice(node, "nearest_mode", "round_prefer_floor",
                    {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  TRY_ASSIGN(const size_t policy, choice(node, "keep_aspect_ratio_policy", "stretch",
                                         {"stretch", "not_larger", "not_smaller"}));
  f.mode = static_cast<ResizeForm::Mode>(mode);
  f.coord = static_cast<ResizeForm::Coord>(coord);
  f.nearest = static_cast<ResizeForm::Nearest>(nearest);
  f.policy = static_cast<ResizeForm::Policy>(policy);
  if (f.coord == ResizeForm::Coord::kTfHalfPixelForNn && version >= 13)
    return invalid("coordinate_transformation_mode 'tf_half_pixel_for_nn' was removed in opset 13");
  if (f.coord == ResizeForm::Coord::kHalfPixelSymmetric && version < 19)
    return invalid("coordinate_transformation_mode 'half_pixel_symmetric' needs opset 19");
  f.antialias = node.attr_int("antialias", 0) != 0;
  if (f.antialias && f.mode == ResizeForm::Mode::kNearest)
    return invalid("attribute 'antialias' needs mode 'linear' or 'cubic'");
  f.exclude_outside = node.attr_int("exclude_outside", 0) != 0;
  f.cubic_a = node.attr_float("cubic_coeff_a", -0.75f);
  f.extrapolation = node.attr_float("extrapolation_value", 0.0f);
  return f;
}

Result<std::vector<int64_t>> resize_axes(const Node& node, int64_t rank) {
  if (const auto* axes = node.attr_ints("axes")) return axis_positions(*axes, rank);
  std::vector<int64_t> all(static_cast<size_t>(rank));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

Result<ResizeAxis> scaled_axis(int64_t in, float scale) {
  if (!(scale > 0) || std::isinf(scale)) return invalid(format("scale {} is not positive", scale));
  // The size is cut in single precision, as the standard's own shape inference does.
  const double size = std::floor(static_cast<double>(static_cast<float>(in) * scale));
  if (!(size <= kMaxSize))
    return invalid(format("an axis of size {} cannot be scaled by {}", in, scale));
  ResizeAxis a;
  a.in = in;
  a.out = static_cast<int64_t>(size);
  a.scale = scale;
  a.length = a.scale * static_cast<double>(in);
  return a;
}

Result<std::vector<ResizeAxis>> sized_axes(const ResizeForm& form, std::span<const int64_t> in,
                                           std::span<const int64_t> sizes) {
  std::vector<ResizeAxis> r;
  double common = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    if (sizes[i] < 0) return invalid(format("size {} is negative", sizes[i]));
    ResizeAxis a;
    a.in = in[i];
    a.out = sizes[i];
    a.length = static_cast<double>(a.out);
    a.scale = in[i] > 0 ? a.length / static_cast<double>(in[i]) : 1;
    const bool smaller = form.policy == ResizeForm::Policy::kNotLarger;
    common = i == 0 ? a.scale : smaller ? std::min(common, a.scale) : std::max(common, a.scale);
    r.push_back(a);
  }
  if (form.policy == ResizeForm::Policy::kStretch) return r;
  for (ResizeAxis& a : r) {
    a.scale = common;
    a.length = common * static_cast<double>(a.in);
    if (!(a.length < kMaxSize)) return invalid("the result is too large");
    a.out = static_cast<int64_t>(a.length + 0.5);
  }
  return r;
}

Result<std::vector<ResizeAxis>> resized_axes(const Node& node, const ResizeForm& form,
                                             std::span<const int64_t> in_dims, const Tensor* roi,
                                             const Tensor* scales, const Tensor* sizes) {
  TRY_ASSIGN(const auto axes, resize_axes(node, static_cast<int64_t>(in_dims.size())));
  std::vector<int64_t> in;
  for (int64_t a : axes) in.push_back(in_dims[static_cast<size_t>(a)]);
  std::vector<ResizeAxis> r;
  if (sizes != nullptr) {
    const std::vector<int64_t> out = sizes->to_i64();
    if (out.size() != in.size()) return count_error("sizes", out.size(), in.size());
    TRY_ASSIGN(r, sized_axes(form, in, out));
  } else {
    std::optional<std::vector<float>> factors;
    if (form.scales_input == 0) factors = attribute_scales(node);
    if (scales != nullptr) {
      factors.emplace();
      for (double d : scales->to_f64()) factors->push_back(static_cast<float>(d));
    }
    if (!factors && in_dims.empty()) factors.emplace();
    if (!factors) return invalid("neither scales nor sizes are given");
    if (factors->size() != in.size()) return count_error("scales", factors->size(), in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      TRY_ASSIGN(ResizeAxis a, scaled_axis(in[i], (*factors)[i]));
      r.push_back(a);
    }
  }
  if (form.coord == ResizeForm::Coord::kTfCropAndResize && roi != nullptr) {
    const std::vector<double> v = roi->to_f64();
    if (v.size() != 2 * in.size()) return count_error("roi", v.size(), in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      r[i].roi_start = v[i];
      r[i].roi_end = v[i + in.size()];
    }
  }
  for (const ResizeAxis& a : r)
    if (a.in == 0 && a.out > 0) return invalid("an empty axis cannot be enlarged");
  return r;
}

ResizeTaps resize_taps(const ResizeForm& form, const ResizeAxis& axis) {
  ResizeTaps t;
  const bool crop = form.coord == ResizeForm::Coord::kTfCropAndResize;
  if (crop) t.outside.assign(static_cast<size_t>(axis.out), false);
  const double last = static_cast<double>(axis.in - 1);
  for (int64_t i = 0; i < axis.out; ++i) {
    double x = coordinate(form, axis, static_cast<double>(i));
    if (crop && !(x >= 0 && x <= last)) {
      t.outside[static_cast<size_t>(i)] = true;
      x = 0;
    }
    if (std::isnan(x)) x = 0;
    x = std::clamp(x, -2.0 * static_cast<double>(axis.in) - 4,
                   3.0 * static_cast<double>(axis.in) + 4);
    if (form.mode == ResizeForm::Mode::kNearest) {
      t.taps = 1;
      t.index.push_back(static_cast<int64_t>(std::clamp(nearest(form, x, axis.scale), 0.0, last)));
      t.weight.push_back(1);
      continue;
    }
    // The pixel to the left is preferred: a whole x is the right end of its interval.
    double left = std::floor(x);
    if (left == x) left -= 1;
    Kernel k = kernel_at(form, x - left, axis.scale);
    t.taps = k.size();
    const int64_t first = static_cast<int64_t>(left) - static_cast<int64_t>(k.size() / 2) + 1;
    double sum = 0;
    for (size_t j = 0; j < k.size(); ++j) {
      const int64_t at = first + static_cast<int64_t>(j);
      if (form.exclude_outside && (at < 0 || at >= axis.in)) k[j] = 0;
      sum += k[j];
      t.index.push_back(std::clamp<int64_t>(at, 0, axis.in - 1));
    }
    if (form.exclude_outside && sum != 0)
      for (double& w : k) w /= sum;
    t.weight.insert(t.weight.end(), k.begin(), k.end());
  }
  return t;
}

}  // namespace onnxtool
