// SPDX-License-Identifier: Apache-2.0
// CropAndResize of com.microsoft: boxes in normalized coordinates cut out of images and resized.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Result<bool> nearest_of(const Node& node) {
  TRY_ASSIGN(const size_t mode, choice(node, "mode", "bilinear", {"bilinear", "nearest"}));
  return mode == 1;
}

Status infer(InferContext& ctx) {
  TRY(nearest_of(ctx.node()));
  TRY(expect_rank(ctx, 0, "input", 4));
  TRY(expect_rank(ctx, 1, "rois", 2));
  TRY(expect_rank(ctx, 2, "batch_indices", 1));
  const Shape *x = ctx.shape(0), *rois = ctx.shape(1);
  if (rois != nullptr && Dim::differ((*rois)[1], 4))
    return ctx.error(format("rois {} have not 4 coordinates", to_string(*rois)));
  if (known_length(ctx, 3).value_or(2) != 2) return ctx.error("crop_size has not two values");
  PartialValue size(2);
  if (const PartialValue* p = ctx.partial(3)) size = *p;
  return ctx.set(0, ctx.dtype(0),
                 Shape{rois ? (*rois)[0] : ctx.fresh(0, 0), x ? (*x)[1] : ctx.fresh(0, 1),
                       or_fresh(ctx, size[0], 0, 2), or_fresh(ctx, size[1], 0, 3)});
}

// Where output position i of n lies between two normalized edges of an axis.
double position(double from, double to, int64_t i, int64_t n, int64_t size) {
  const double last = static_cast<double>(size - 1);
  if (n <= 1) return 0.5 * (from + to) * last;
  return from * last + static_cast<double>(i) * (to - from) * last / static_cast<double>(n - 1);
}

Status eval(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &rois = ctx.in(1);
  TRY_ASSIGN(const bool nearest, nearest_of(ctx.node()));
  const std::vector<int64_t> batch = ctx.in(2).to_i64(), size = ctx.in(3).to_i64();
  const int64_t n = static_cast<int64_t>(batch.size());
  if (x.rank() != 4 || rois.dims() != Dims{n, 4} || size.size() != 2 || size[0] < 0 || size[1] < 0)
    return ctx.error(format("rois {} and {} batch indices do not fit", to_string(rois.dims()), n));
  const int64_t channels = x.dims()[1], height = x.dims()[2], width = x.dims()[3];
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), {n, channels, size[0], size[1]}));
  const double fill = ctx.node().attr_float("extrapolation_value", 0.0f);
  const std::vector<double> v = x.to_f64(), r = rois.to_f64();
  std::vector<double> result(static_cast<size_t>(out.size()));
  size_t to = 0;
  for (int64_t i = 0; i < n && out.size() > 0; ++i) {
    const int64_t image = batch[static_cast<size_t>(i)];
    if (image < 0 || image >= x.dims()[0])
      return ctx.error(format("batch index {} is out of range for {} images", image, x.dims()[0]));
    const double* box = r.data() + i * 4;
    for (int64_t c = 0; c < channels; ++c) {
      const double* pixels = v.data() + (image * channels + c) * height * width;
      for (int64_t k = 0; k < size[0] * size[1]; ++k) {
        const double y = position(box[0], box[2], k / size[1], size[0], height);
        const double q = position(box[1], box[3], k % size[1], size[1], width);
        double& value = result[to++];
        if (!(y >= 0 && y <= static_cast<double>(height - 1) && q >= 0 &&
              q <= static_cast<double>(width - 1))) {
          value = fill;
          continue;
        }
        if (nearest) {
          value = pixels[static_cast<int64_t>(std::round(y)) * width +
                         static_cast<int64_t>(std::round(q))];
          continue;
        }
        const auto y0 = static_cast<int64_t>(std::floor(y)),
                   y1 = static_cast<int64_t>(std::ceil(y));
        const auto x0 = static_cast<int64_t>(std::floor(q)),
                   x1 = static_cast<int64_t>(std::ceil(q));
        const double ly = y - static_cast<double>(y0), lx = q - static_cast<double>(x0);
        const double top = pixels[y0 * width + x0] * (1 - lx) + pixels[y0 * width + x1] * lx;
        const double bottom = pixels[y1 * width + x0] * (1 - lx) + pixels[y1 * width + x1] * lx;
        value = top * (1 - ly) + bottom * ly;
      }
    }
  }
  store_f64(out, 0, result);
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(crop_and_resize,
             {.name = "CropAndResize", .domain = "com.microsoft", .infer = infer, .eval = eval});
