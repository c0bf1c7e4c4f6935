// SPDX-License-Identifier: Apache-2.0
// Resize (nearest and linear) of the last one or two axes of images, in both layouts. Coordinates
// are computed in fp32, as runtimes do, so that results agree with theirs to the last bits.
#include "exec/cpu/simd/resize.h"

#include <cmath>

#include "exec/cpu/util.h"

namespace onnxtool {
namespace cpu {
namespace {

struct Axis {
  int64_t in = 1, out = 1;
  float scale = 1;
};

// Height and width; the image is [planes, h, w] plain or [n, h, w, c] channels-last.
struct Form {
  Axis y, x;
  bool nearest = true;
};

std::optional<Form> form_of(const StepInfo& s) {
  int64_t rank = s.in[0].rank();
  if (rank < 3 || rank > 5) return std::nullopt;
  std::string_view mode = s.attr_str("mode", "nearest");
  if (mode != "nearest" && mode != "linear") return std::nullopt;
  if (s.attr_int("antialias", 0) || s.attr_int("exclude_outside", 0)) return std::nullopt;
  if (s.attr_str("keep_aspect_ratio_policy", "stretch") != "stretch") return std::nullopt;
  std::string_view transform = s.attr_str("coordinate_transformation_mode", "half_pixel");
  if (transform == "tf_crop_and_resize") return std::nullopt;
  bool upsample = s.op.view() == "Upsample";
  size_t scales_at = upsample || s.version() == 10 ? 1 : 2;
  if (s.version() < 9) return std::nullopt;
  Form f;
  f.nearest = mode == "nearest";
  std::vector<float> scales(static_cast<size_t>(rank), 1);
  bool given = false;
  const Tensor* t = s.has(scales_at) ? s.known(scales_at) : nullptr;
  if (s.has(scales_at) && !t) return std::nullopt;
  std::vector<int64_t> axes;
  if (auto* a = s.attr_ints("axes")) axes = *a;
  if (t && t->size() > 0) {
    given = true;
    auto v = t->to_f64();
    if (axes.empty())
      for (int64_t i = 0; i < rank; ++i) axes.push_back(i);
    if (v.size() != axes.size()) return std::nullopt;
    for (size_t i = 0; i < v.size(); ++i) {
      int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
      if (a < 0 || a >= rank) return std::nullopt;
      scales[static_cast<size_t>(a)] = static_cast<float>(v[i]);
    }
  }
  for (int64_t i = 0; i < rank; ++i) {
    auto a = static_cast<size_t>(i);
    Axis axis{s.in[0].dims[a], s.out[0].dims[a], scales[a]};
    if (!given) axis.scale = static_cast<float>(axis.out) / static_cast<float>(axis.in);
    if (axis.scale <= 0) return std::nullopt;
    if (i == rank - 1)
      f.x = axis;
    else if (i == rank - 2 && rank > 3)
      f.y = axis;
    else if (axis.in != axis.out || axis.scale != 1)
      return std::nullopt;
  }
  return f;
}

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || s.in.empty()) return "post operations";
  if (s.in[0].dtype != s.out[0].dtype || !movable(s.in[0].dtype)) return "the element type";
  auto f = form_of(s);
  if (!f) return "the mode or axes";
  if (!f->nearest && !is_f32(s.in[0])) return "not float";
  bool last = !plain(s.in[0]) || !plain(s.out[0]);
  if (last && !(channels_last(s.in[0]) && channels_last(s.out[0]) && s.in[0].rank() <= 4))
    return "layouts differ";
  return nullptr;
}

float source(std::string_view mode, int64_t i, const Axis& a) {
  auto x = static_cast<float>(i);
  if (mode == "align_corners")
    return a.out == 1 ? 0 : x * static_cast<float>(a.in - 1) / static_cast<float>(a.out - 1);
  if (a.scale == 1) return x;
  if (mode == "asymmetric") return x / a.scale;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5f) / a.scale;
  if (mode == "pytorch_half_pixel") return a.out > 1 ? (x + 0.5f) / a.scale - 0.5f : 0;
  if (mode == "half_pixel_symmetric") {
    float adjust = static_cast<float>(a.out) / (a.scale * static_cast<float>(a.in));
    float center = static_cast<float>(a.in) / 2;
    return center * (1 - adjust) + (x + 0.5f) / a.scale - 0.5f;
  }
  return (x + 0.5f) / a.scale - 0.5f;
}

std::vector<int32_t> nearest_table(const StepInfo& s, const Axis& a) {
  bool old = s.op.view() == "Upsample" || s.version() == 10;
  std::string_view transform =
      old ? "asymmetric" : s.attr_str("coordinate_transformation_mode", "half_pixel");
  std::string_view rounding = old ? "floor" : s.attr_str("nearest_mode", "round_prefer_floor");
  std::vector<int32_t> t;
  for (int64_t i = 0; i < a.out; ++i) {
    float x = source(transform, i, a);
    float r = rounding == "floor"               ? std::floor(x)
              : rounding == "ceil"              ? std::ceil(x)
              : rounding == "round_prefer_ceil" ? std::floor(x + 0.5f)
                                                : std::ceil(x - 0.5f);
    t.push_back(static_cast<int32_t>(std::clamp<int64_t>(static_cast<int64_t>(r), 0, a.in - 1)));
  }
  return t;
}

std::vector<simd::LinearTap> linear_table(const StepInfo& s, const Axis& a) {
  bool old = s.op.view() == "Upsample" || s.version() == 10;
  std::string_view transform =
      old ? "asymmetric" : s.attr_str("coordinate_transformation_mode", "half_pixel");
  std::vector<simd::LinearTap> t;
  for (int64_t i = 0; i < a.out; ++i) {
    float x = std::clamp(source(transform, i, a), 0.0f, static_cast<float>(a.in - 1));
    auto i0 = static_cast<int32_t>(x);
    auto i1 = static_cast<int32_t>(std::min<int64_t>(i0 + 1, a.in - 1));
    float w1 = i0 == i1 ? 0 : x - static_cast<float>(i0);
    t.push_back({i0, i1, 1 - w1, w1});
  }
  return t;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Form f = *form_of(s);
  bool last = !plain(s.in[0]) || !plain(s.out[0]);
  int64_t size = element_size(s.in[0].dtype);
  int64_t channels = last ? s.in[0].dims[1] : 1;
  int64_t images = s.in[0].size() / (f.y.in * f.x.in * channels);
  int64_t run = channels * size;
  int64_t in_bytes = f.y.in * f.x.in * run, out_bytes = f.y.out * f.x.out * run;
  int64_t rows = images * f.y.out;
  double ns = 0.3 * static_cast<double>(f.x.out * channels);
  // One row after the other over all images.
  auto each_row = [=](int64_t begin, int64_t end, auto row_range) {
    while (begin < end) {
      int64_t image = begin / f.y.out, r0 = begin % f.y.out;
      int64_t r1 = std::min(f.y.out, r0 + end - begin);
      row_range(image, r0, r1);
      begin += r1 - r0;
    }
  };
  if (f.nearest) {
    auto ty = nearest_table(s, f.y), tx = nearest_table(s, f.x);
    return prepared([=](const RunArgs& a) {
      parallel_for(rows, grain_for(ns), [&](int64_t begin, int64_t end) {
        each_row(begin, end, [&](int64_t image, int64_t r0, int64_t r1) {
          simd::resize_nearest(in<std::byte>(a, 0) + image * in_bytes, f.x.in, run,
                               out<std::byte>(a) + image * out_bytes, ty.data(), tx.data(), f.x.out,
                               r0, r1);
        });
      });
    });
  }
  auto ty = linear_table(s, f.y), tx = linear_table(s, f.x);
  return prepared([=](const RunArgs& a) {
    parallel_for(rows, grain_for(ns * 2), [&](int64_t begin, int64_t end) {
      each_row(begin, end, [&](int64_t image, int64_t r0, int64_t r1) {
        const float* x = in<float>(a, 0) + image * in_bytes / 4;
        float* y = out<float>(a) + image * out_bytes / 4;
        if (last)
          simd::resize_linear_nhwc_f32(x, f.x.in, channels, y, ty.data(), tx.data(), f.x.out, r0,
                                       r1);
        else
          simd::resize_linear_nchw_f32(x, f.x.in, y, ty.data(), tx.data(), f.x.out, r0, r1);
      });
    });
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(resize, {"resize", "Resize Upsample", 20, cpu::accept, cpu::prepare})
