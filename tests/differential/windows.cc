// SPDX-License-Identifier: Apache-2.0
// Pools and resizing.
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

// Of three dims the largest is oneDNN's, where NaN may lose.
Case pool(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t spatial = g.pick<int64_t>({1, 2, 2, 2, 3});
  Dims x = {g.extent(3), g.extent(9)};
  std::vector<int64_t> kernel, strides, dilations, pads(static_cast<size_t>(2 * spatial));
  for (int64_t i = 0; i < spatial; ++i) {
    kernel.push_back(g.between(1, 4));
    strides.push_back(g.between(1, 3));
    dilations.push_back(g.chance(0.8) ? 1 : 2);
    x.push_back(g.between((kernel.back() - 1) * dilations.back() + 1, 12));
    pads[static_cast<size_t>(i)] = g.below(kernel.back());
    pads[static_cast<size_t>(i + spatial)] = g.below(kernel.back());
  }
  c.add(g.tensor(g.chance(0.8) ? DType::kFloat : DType::kFloat16, x, spatial < 3 && g.chance(0.2),
                 c.op == "AveragePool"));
  c.attr("kernel_shape", kernel);
  if (g.chance(0.8)) c.attr("strides", strides);
  if (g.chance(0.5)) c.attr("dilations", dilations);
  if (g.chance(0.2))
    c.attr("auto_pad", g.pick({"SAME_UPPER", "SAME_LOWER", "VALID"}));
  else if (g.chance(0.7))
    c.attr("pads", pads);
  if (g.chance(0.3)) c.attr("ceil_mode", int64_t{1});
  if (c.op == "AveragePool" && g.chance(0.5)) c.attr("count_include_pad", int64_t{1});
  c.of_scale = 2e-6;
  return c;
}

Case resize(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = {g.extent(3), g.extent(7)};
  const int64_t spatial = g.pick<int64_t>({1, 2, 2, 2, 3});
  for (int64_t i = 0; i < spatial; ++i) d.push_back(g.between(1, 9));
  c.add(g.floats(d, -3, 3, g.chance(0.8) ? DType::kFloat : DType::kFloat16));
  std::vector<float> scales = {1, 1};
  Dims sizes = {d[0], d[1]};
  for (int64_t i = 0; i < spatial; ++i) {
    scales.push_back(g.pick<float>({1, 2, 2, 3, 0.5f, 1.5f, 0.7f}));
    sizes.push_back(g.between(1, 15));
  }
  const bool constant = g.chance(0.85);
  const Tensor s =
      Tensor::of<float>({static_cast<int64_t>(scales.size())}, std::span<const float>(scales));
  if (c.op == "Upsample") {
    c.opset = 9;
    for (float& x : scales) x = std::max(x, 1.0f);
    c.add(Tensor::of<float>({static_cast<int64_t>(scales.size())}, std::span<const float>(scales)),
          constant);
    c.attr("mode", g.pick({"nearest", "linear"}));
    c.of_scale = 2e-5;
    return c;
  }
  c.skip();
  if (g.chance(0.5)) {
    c.add(s, constant);
  } else {
    c.skip();
    c.add(Tensor::ints(sizes), constant);
  }
  const bool nearest = g.chance(0.25);
  c.attr("mode", nearest ? "nearest" : g.pick({"linear", "linear", "cubic"}));
  c.attr("coordinate_transformation_mode", g.pick({"half_pixel", "asymmetric", "align_corners",
                                                   "pytorch_half_pixel", "half_pixel_symmetric"}));
  if (g.chance(0.5))
    c.attr("nearest_mode", g.pick({"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  if (!nearest && g.chance(0.2)) c.attr("antialias", int64_t{1});
  if (g.chance(0.2)) c.attr("exclude_outside", int64_t{1});
  if (g.chance(0.2)) c.attr("cubic_coeff_a", -0.5f);
  c.of_scale = 2e-5;
  return c;
}

Case roi_align(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t images = g.between(1, 2), regions = g.extent(5);
  c.add(g.floats({images, g.between(1, 5), g.between(1, 12), g.between(1, 12)}, -3, 3));
  c.add(g.floats({regions, 4}, -2, 14));
  c.add(g.ints({regions}, 0, images - 1), g.chance(0.3));
  c.attr("output_height", g.between(1, 4));
  c.attr("output_width", g.between(1, 4));
  if (g.chance(0.6)) c.attr("sampling_ratio", g.below(4));
  if (g.chance(0.6)) c.attr("spatial_scale", static_cast<float>(g.uniform(0.3, 1.5)));
  if (g.chance(0.2)) c.attr("mode", "max");
  if (g.chance(0.4)) c.attr("coordinate_transformation_mode", "output_half_pixel");
  c.of_scale = 1e-5;
  return c;
}

Case lrn(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(2, 4, 9);
  c.add(g.floats(d, -3, 3));
  c.attr("size", g.between(1, 7));
  if (g.chance(0.5)) c.attr("alpha", static_cast<float>(g.uniform(1e-4, 0.5)));
  if (g.chance(0.5)) c.attr("beta", g.pick<float>({0.75f, 0.5f, 1.0f, 0.6f}));
  if (g.chance(0.5)) c.attr("bias", static_cast<float>(g.uniform(0.5, 2)));
  c.of_scale = 2e-6;
  return c;
}

}  // namespace

void add_windows(std::vector<Recipe>& to) {
  for (const char* op : {"MaxPool", "AveragePool"}) to.push_back({op, pool});
  for (const char* op : {"Resize", "Upsample"}) to.push_back({op, resize});
  to.push_back({"RoiAlign", roi_align});
  to.push_back({"LRN", lrn});
}

}  // namespace onnxtool::differential
