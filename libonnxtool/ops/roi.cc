// SPDX-License-Identifier: Apache-2.0
// RoiAlign (Mask R-CNN, arXiv 1703.06870) and MaxRoiPool (Fast R-CNN, arXiv 1504.08083).
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

struct AlignForm {
  int64_t height, width, sampling;
  double scale;
  bool max, half_pixel;
};

Result<AlignForm> align_form(const Node& node) {
  AlignForm f;
  f.height = node.attr_int("output_height", 1);
  f.width = node.attr_int("output_width", 1);
  f.sampling = node.attr_int("sampling_ratio", 0);
  f.scale = node.attr_float("spatial_scale", 1.0f);
  if (f.height <= 0 || f.width <= 0 || f.height > INT32_MAX || f.width > INT32_MAX)
    return invalid(format("output of {} x {}", f.height, f.width));
  if (f.sampling < 0 || f.sampling > 4096)
    return invalid(format("attribute 'sampling_ratio' is {}", f.sampling));
  TRY_ASSIGN(const size_t mode, choice(node, "mode", "avg", {"avg", "max"}));
  f.max = mode == 1;
  f.half_pixel = false;
  if (node.version >= 16) {
    TRY_ASSIGN(const size_t coord, choice(node, "coordinate_transformation_mode", "half_pixel",
                                          {"half_pixel", "output_half_pixel"}));
    f.half_pixel = coord == 0;
  }
  return f;
}

Status infer_rois(InferContext& ctx, Dim count, int64_t coordinates, Dim height, Dim width) {
  TRY(expect_rank(ctx, 0, "input", 4));
  TRY(expect_rank(ctx, 1, "rois", 2));
  const Shape *x = ctx.shape(0), *rois = ctx.shape(1);
  if (rois != nullptr) {
    if (Dim::differ((*rois)[1], coordinates))
      return ctx.error(format("rois {} have not {} coordinates", to_string(*rois), coordinates));
    const auto n = unify((*rois)[0], count);
    if (!n)
      return ctx.error(
          format("rois {} and batch_indices [{}] do not fit", to_string(*rois), count.text()));
    count = *n;
  }
  return ctx.set(0, ctx.dtype(0),
                 Shape{or_fresh(ctx, count, 0, 0), x ? (*x)[1] : ctx.fresh(0, 1), height, width});
}

Status infer_roi_align(InferContext& ctx) {
  TRY_ASSIGN(const AlignForm f, align_form(ctx.node()));
  TRY(expect_rank(ctx, 2, "batch_indices", 1));
  const Shape* batch = ctx.shape(2);
  return infer_rois(ctx, batch ? (*batch)[0] : Dim(), 4, f.height, f.width);
}

// One bilinear sample: four pixels with their weights.
struct Sample {
  int64_t at[4];
  double weight[4];
};

Sample sample_at(double y, double x, int64_t height, int64_t width) {
  Sample s{};
  if (!(y >= -1 && y <= static_cast<double>(height) && x >= -1 && x <= static_cast<double>(width)))
    return s;
  auto axis = [](double v, int64_t n, int64_t& low, int64_t& high) {
    v = std::max(v, 0.0);
    low = std::min(static_cast<int64_t>(v), n - 1);
    high = std::min(low + 1, n - 1);
    return low == n - 1 ? 0.0 : v - static_cast<double>(low);
  };
  int64_t y0, y1, x0, x1;
  const double ly = axis(y, height, y0, y1), lx = axis(x, width, x0, x1);
  return {{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
          {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}};
}

double pooled(std::span<const double> image, std::span<const Sample> samples, bool max) {
  double r = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Sample& s = samples[i];
    double v[4];
    for (int k = 0; k < 4; ++k) v[k] = s.weight[k] * image[static_cast<size_t>(s.at[k])];
    if (!max)
      r += v[0] + v[1] + v[2] + v[3];
    else
      r = i == 0 ? *std::max_element(v, v + 4) : std::max(r, *std::max_element(v, v + 4));
  }
  return max || samples.empty() ? r : r / static_cast<double>(samples.size());
}

Status eval_roi_align(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &rois = ctx.in(1);
  TRY_ASSIGN(const AlignForm f, align_form(ctx.node()));
  const std::vector<int64_t> batch = ctx.in(2).to_i64();
  const int64_t n = static_cast<int64_t>(batch.size());
  if (x.rank() != 4 || rois.dims() != Dims{n, 4})
    return ctx.error(format("rois {} and {} batch indices do not fit", to_string(rois.dims()), n));
  const int64_t channels = x.dims()[1], height = x.dims()[2], width = x.dims()[3];
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), {n, channels, f.height, f.width}));
  if (out.size() > 0 && span_size(x.dims(), 2, 4) == 0) return ctx.error("the input has no pixel");
  const std::vector<double> v = x.to_f64(), r = rois.to_f64();
  std::vector<double> result(static_cast<size_t>(out.size()));
  std::vector<Sample> samples;
  for (int64_t i = 0; i < n && out.size() > 0; ++i) {
    const int64_t image = batch[static_cast<size_t>(i)];
    if (image < 0 || image >= x.dims()[0])
      return ctx.error(format("batch index {} is out of range for {} images", image, x.dims()[0]));
    const double shift = f.half_pixel ? 0.5 : 0;
    double c[4];
    for (size_t k = 0; k < 4; ++k) {
      c[k] = r[static_cast<size_t>(i) * 4 + k] * f.scale - shift;
      if (!std::isfinite(c[k])) return ctx.error(format("region {} is not finite", i));
    }
    double w = c[2] - c[0], h = c[3] - c[1];
    if (!f.half_pixel) {  // malformed regions become 1 x 1
      w = std::max(w, 1.0);
      h = std::max(h, 1.0);
    }
    const double bin_h = h / static_cast<double>(f.height),
                 bin_w = w / static_cast<double>(f.width);
    const double grid_h =
        f.sampling > 0 ? static_cast<double>(f.sampling) : std::max(0.0, std::ceil(bin_h));
    const double grid_w =
        f.sampling > 0 ? static_cast<double>(f.sampling) : std::max(0.0, std::ceil(bin_w));
    if (grid_h * grid_w > 1e8)
      return unsupported(format("region {} of {} x {} is too large", i, h, w));
    TRY(reserve_work(ctx,
                     {static_cast<int64_t>(grid_h * grid_w), sizeof(Sample), f.height, f.width}));
    for (int64_t bin = 0; bin < f.height * f.width; ++bin) {
      TRY(ctx.host().step());
      samples.clear();
      for (double iy = 0; iy < grid_h && grid_w > 0; ++iy)
        for (double ix = 0; ix < grid_w; ++ix)
          samples.push_back(sample_at(
              c[1] + static_cast<double>(bin / f.width) * bin_h + (iy + 0.5) * bin_h / grid_h,
              c[0] + static_cast<double>(bin % f.width) * bin_w + (ix + 0.5) * bin_w / grid_w,
              height, width));
      for (int64_t ch = 0; ch < channels; ++ch) {
        const auto pixels =
            std::span(v).subspan(static_cast<size_t>((image * channels + ch) * height * width),
                                 static_cast<size_t>(height * width));
        result[static_cast<size_t>((i * channels + ch) * f.height * f.width + bin)] =
            pooled(pixels, samples, f.max);
      }
    }
  }
  store_f64(out, 0, result);
  ctx.set(0, std::move(out));
  return ok();
}

// -------------------------------------------------------------------------------- MaxRoiPool
Result<std::vector<int64_t>> pooled_shape(const Node& node) {
  const auto* p = node.attr_ints("pooled_shape");
  if (p == nullptr || p->size() != 2) return invalid("attribute 'pooled_shape' has not two values");
  for (int64_t v : *p)
    if (v <= 0 || v > INT32_MAX)
      return invalid(format("attribute 'pooled_shape' has the value {}", v));
  return *p;
}

Status infer_max_roi_pool(InferContext& ctx) {
  TRY_ASSIGN(const auto p, pooled_shape(ctx.node()));
  return infer_rois(ctx, Dim(), 5, p[0], p[1]);
}

Status eval_max_roi_pool(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &rois = ctx.in(1);
  TRY_ASSIGN(const auto p, pooled_shape(ctx.node()));
  if (x.rank() != 4 || rois.rank() != 2 || rois.dims()[1] != 5)
    return ctx.error(
        format("rois {} do not fit the input {}", to_string(rois.dims()), to_string(x.dims())));
  const int64_t n = rois.dims()[0], channels = x.dims()[1], height = x.dims()[2],
                width = x.dims()[3];
  const double scale = ctx.node().attr_float("spatial_scale", 1.0f);
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), {n, channels, p[0], p[1]}));
  const std::vector<double> v = x.to_f64(), r = rois.to_f64();
  std::vector<double> result(static_cast<size_t>(out.size()), 0.0);
  for (int64_t i = 0; i < n && out.size() > 0; ++i) {
    const double* roi = r.data() + i * 5;
    const double image = roi[0];
    if (!(image >= 0 && image < static_cast<double>(x.dims()[0])))
      return ctx.error(format("batch index {} is out of range for {} images", image, x.dims()[0]));
    int64_t c[4];
    for (int k = 0; k < 4; ++k) {
      const double at = std::round(roi[k + 1] * scale);
      if (!(std::fabs(at) < 1e9)) return ctx.error(format("region {} is not finite", i));
      c[k] = static_cast<int64_t>(at);
    }
    const double bin_w =
        static_cast<double>(std::max<int64_t>(c[2] - c[0] + 1, 1)) / static_cast<double>(p[1]);
    const double bin_h =
        static_cast<double>(std::max<int64_t>(c[3] - c[1] + 1, 1)) / static_cast<double>(p[0]);
    auto edge = [](double bins, double size, int64_t start, int64_t n, bool end) {
      const double at = end ? std::ceil(bins * size) : std::floor(bins * size);
      return std::clamp<int64_t>(static_cast<int64_t>(at) + start, 0, n);
    };
    for (int64_t k = 0; k < channels * p[0] * p[1]; ++k) {
      const int64_t ph = k / p[1] % p[0], pw = k % p[1], ch = k / (p[0] * p[1]);
      const int64_t y0 = edge(static_cast<double>(ph), bin_h, c[1], height, false);
      const int64_t y1 = edge(static_cast<double>(ph + 1), bin_h, c[1], height, true);
      const int64_t x0 = edge(static_cast<double>(pw), bin_w, c[0], width, false);
      const int64_t x1 = edge(static_cast<double>(pw + 1), bin_w, c[0], width, true);
      const double* pixels =
          v.data() + (static_cast<int64_t>(image) * channels + ch) * height * width;
      double most = 0;
      bool first = true;
      for (int64_t y = y0; y < y1; ++y)
        for (int64_t q = x0; q < x1; ++q) {
          const double value = pixels[y * width + q];
          most = first ? value : std::max(most, value);
          first = false;
        }
      result[static_cast<size_t>(i * channels * p[0] * p[1] + k)] = most;
    }
  }
  store_f64(out, 0, result);
  ctx.set(0, std::move(out));
  return ok();
}

// Version 10 takes coordinates without the half pixel shift.
constexpr VersionStep kAlignSteps[] = {
    {16,
     [](Model& m, NodeId n) -> Result<bool> {
       m.set_attr(n, Attribute::of("coordinate_transformation_mode", "output_half_pixel"));
       return true;
     },
     [](Model& m, NodeId n) {
       return lower_fixed(m, n, "coordinate_transformation_mode", "half_pixel",
                          "output_half_pixel");
     }},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(roi,
             {.name = "RoiAlign",
              .infer = infer_roi_align,
              .eval = eval_roi_align,
              .steps = kAlignSteps,
              .flags = kManyReads},
             {.name = "MaxRoiPool",
              .infer = infer_max_roi_pool,
              .eval = eval_max_roi_pool,
              .flags = kManyReads});
