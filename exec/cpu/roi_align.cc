// SPDX-License-Identifier: Apache-2.0
// RoiAlign (Mask R-CNN, arXiv 1703.06870), average mode, fp32: the samples of a region are placed
// once for all channels.
#include <atomic>
#include <cmath>

#include "exec/cpu/util.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

struct Sample {
  int64_t at[4];
  float weight[4];
};

struct Form {
  int64_t regions, channels, height, width, out_h, out_w, images;
  double scale, sampling;
  bool half_pixel, wide;
};

// Samples of the axis positions lie at `v`: both neighbours and the weight of the upper one.
bool axis(double v, int64_t n, int64_t* low, int64_t* high, float* upper) {
  if (!(v >= -1 && v <= static_cast<double>(n))) return false;
  v = std::max(v, 0.0);
  *low = std::min(static_cast<int64_t>(v), n - 1);
  *high = std::min(*low + 1, n - 1);
  *upper = *low == n - 1 ? 0.0f : static_cast<float>(v - static_cast<double>(*low));
  return true;
}

// Samples of one region, bin after bin; false: the region is not finite or asks for too many.
bool place(const Form& f, const float* r, std::vector<Sample>& to, int64_t* each) {
  const double shift = f.half_pixel ? 0.5 : 0;
  double c[4];
  for (int k = 0; k < 4; ++k) {
    c[k] = static_cast<double>(r[k]) * f.scale - shift;
    if (!std::isfinite(c[k])) return false;
  }
  double w = c[2] - c[0], h = c[3] - c[1];
  if (!f.half_pixel) {
    w = std::max(w, 1.0);
    h = std::max(h, 1.0);
  }
  const double bin_h = h / static_cast<double>(f.out_h), bin_w = w / static_cast<double>(f.out_w);
  const double grid_h = f.sampling > 0 ? f.sampling : std::max(0.0, std::ceil(bin_h));
  const double grid_w = f.sampling > 0 ? f.sampling : std::max(0.0, std::ceil(bin_w));
  if (grid_h * grid_w * static_cast<double>(f.out_h * f.out_w) > 1e7) return false;
  *each = static_cast<int64_t>(grid_h * grid_w);
  to.clear();
  for (int64_t bin = 0; bin < f.out_h * f.out_w; ++bin)
    for (double iy = 0; iy < grid_h && grid_w > 0; ++iy) {
      const double y =
          c[1] + static_cast<double>(bin / f.out_w) * bin_h + (iy + 0.5) * bin_h / grid_h;
      for (double ix = 0; ix < grid_w; ++ix) {
        const double x =
            c[0] + static_cast<double>(bin % f.out_w) * bin_w + (ix + 0.5) * bin_w / grid_w;
        Sample s{};
        int64_t y0, y1, x0, x1;
        float ly, lx;
        if (axis(y, f.height, &y0, &y1, &ly) && axis(x, f.width, &x0, &x1, &lx))
          s = {{y0 * f.width + x0, y0 * f.width + x1, y1 * f.width + x0, y1 * f.width + x1},
               {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}};
        to.push_back(s);
      }
    }
  return true;
}

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || !all_plain(s) || s.main_inputs != 3) return "layouts or inputs";
  if (!is_f32(s.in[0]) || !is_f32(s.in[1]) || !is_f32(s.out[0])) return "not float";
  if (s.in[2].dtype != DType::kInt64 && s.in[2].dtype != DType::kInt32) return "the index type";
  if (s.in[0].rank() != 4 || s.in[1].dims != Dims{s.in[2].size(), 4}) return "shapes";
  if (s.attr_str("mode", "avg") != "avg") return "the mode";
  const int64_t sampling = s.attr_int("sampling_ratio", 0);
  if (sampling < 0 || sampling > 4096) return "attributes";
  const std::string_view c = s.attr_str("coordinate_transformation_mode", "half_pixel");
  return c == "half_pixel" || c == "output_half_pixel" ? nullptr : "the coordinates";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  const Dims &x = s.in[0].dims, &y = s.out[0].dims;
  Form f{y[0], x[1], x[2], x[3], y[2], y[3], x[0], 0, 0, false, false};
  f.scale = static_cast<double>(s.attr_float("spatial_scale", 1.0f));
  f.sampling = static_cast<double>(s.attr_int("sampling_ratio", 0));
  f.half_pixel = s.version() >= 16 &&
                 s.attr_str("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  f.wide = s.in[2].dtype == DType::kInt64;
  return prepared([f](const RunArgs& a) -> Status {
    std::atomic<int64_t> bad{-1}, no_image{-1};
    const int64_t plane = f.height * f.width, bins = f.out_h * f.out_w;
    parallel_for(f.regions, 1, [&](int64_t begin, int64_t end) {
      std::vector<Sample> samples;
      for (int64_t i = begin; i < end; ++i) {
        int64_t each = 0;
        const int64_t image =
            f.wide ? in<int64_t>(a, 2)[i] : static_cast<int64_t>(in<int32_t>(a, 2)[i]);
        if (image < 0 || image >= f.images) {
          no_image = i;
          return;
        }
        if (!place(f, in<float>(a, 1) + i * 4, samples, &each)) {
          bad = i;
          return;
        }
        const float scale = each > 0 ? 1.0f / static_cast<float>(each) : 0.0f;
        for (int64_t c = 0; c < f.channels; ++c) {
          const float* p = in<float>(a, 0) + (image * f.channels + c) * plane;
          float* to = out<float>(a) + (i * f.channels + c) * bins;
          const Sample* at = samples.data();
          for (int64_t b = 0; b < bins; ++b) {
            float sum = 0;
            for (int64_t k = 0; k < each; ++k, ++at)
              sum += (at->weight[0] * p[at->at[0]] + at->weight[1] * p[at->at[1]]) +
                     (at->weight[2] * p[at->at[2]] + at->weight[3] * p[at->at[3]]);
            to[b] = sum * scale;
          }
        }
      }
    });
    if (const int64_t i = no_image; i >= 0)
      return invalid(format("batch index {} is out of range for {} images",
                            f.wide ? in<int64_t>(a, 2)[i] : in<int32_t>(a, 2)[i], f.images));
    if (bad >= 0) return invalid(format("region {} is not finite, or too large", bad.load()));
    return ok();
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(roi_align, {"roi_align", "RoiAlign", 30, cpu::accept, cpu::prepare})
