// SPDX-License-Identifier: Apache-2.0
// Resize (nearest and linear) of the last one or two axes of images, in both layouts. Where an
// output lies in the input is what the reference says (ops/resize_util.h).
#include "exec/cpu/simd/resize.h"

#include "exec/cpu/util.h"
#include "libonnxtool/ops/resize_util.h"

namespace onnxtool {
namespace cpu {
namespace {

// Height and width; the image is [planes, h, w] plain or [n, h, w, c] channels-last.
struct Form {
  ResizeForm form;
  ResizeAxis y, x;
};

std::optional<Form> form_of(const StepInfo& s) {
  const size_t rank = s.in[0].dims.size();
  if (rank < 3 || rank > 5 || s.node == nullptr) return std::nullopt;
  auto form = resize_form(*s.node);
  if (!form.ok() || form->mode == ResizeForm::Mode::kCubic || form->antialias ||
      form->exclude_outside || form->coord == ResizeForm::Coord::kTfCropAndResize)
    return std::nullopt;
  bool known = true;
  auto given = [&](size_t i) -> const Tensor* {
    if (i == 0 || !s.has(i)) return nullptr;
    const Tensor* t = s.known(i);
    known &= t != nullptr;
    return t != nullptr && t->size() > 0 ? t : nullptr;
  };
  const Tensor* scales = given(form->scales_input);
  const Tensor* sizes = given(form->sizes_input);
  if (!known) return std::nullopt;
  auto axes = resize_axes(*s.node, static_cast<int64_t>(rank));
  auto resized = resized_axes(*s.node, *form, s.in[0].dims, nullptr, scales, sizes);
  if (!axes.ok() || !resized.ok()) return std::nullopt;
  ResizeAxis same;
  same.in = same.out = 1;
  same.length = 1;
  Form f{*form, same, same};
  for (size_t i = 0; i < axes->size(); ++i) {
    const ResizeAxis& r = (*resized)[i];
    const auto at = static_cast<size_t>((*axes)[i]);
    if (at == rank - 1)
      f.x = r;
    else if (at == rank - 2 && rank > 3)
      f.y = r;
    else if (!r.identity())
      return std::nullopt;
  }
  for (size_t d = rank > 3 ? rank - 2 : rank - 1; d < rank; ++d) {
    ResizeAxis& r = d == rank - 1 ? f.x : f.y;
    if (std::find(axes->begin(), axes->end(), static_cast<int64_t>(d)) == axes->end()) {
      r.in = r.out = s.in[0].dims[d];
      r.length = static_cast<double>(r.out);
    }
    if (r.out != s.out[0].dims[d]) return std::nullopt;
  }
  return f;
}

bool is_nearest(const Form& f) { return f.form.mode == ResizeForm::Mode::kNearest; }

const char* accept(const StepInfo& s) {
  if (!s.post.empty() || s.in.empty()) return "post operations";
  if (s.in[0].dtype != s.out[0].dtype || !movable(s.in[0].dtype)) return "the element type";
  auto f = form_of(s);
  if (!f) return "the mode or axes";
  if (!is_nearest(*f) && !is_f32(s.in[0])) return "not float";
  bool last = !plain(s.in[0]) || !plain(s.out[0]);
  if (last && !(channels_last(s.in[0]) && channels_last(s.out[0]) && s.in[0].rank() <= 4))
    return "layouts differ";
  return nullptr;
}

std::vector<int32_t> nearest_table(const Form& f, const ResizeAxis& a) {
  const ResizeTaps taps = resize_taps(f.form, a);
  return {taps.index.begin(), taps.index.end()};
}

std::vector<simd::LinearTap> linear_table(const Form& f, const ResizeAxis& a) {
  const ResizeTaps taps = resize_taps(f.form, a);
  std::vector<simd::LinearTap> t;
  for (size_t i = 0; i < taps.index.size(); i += taps.taps) {
    simd::LinearTap tap{};
    size_t used = 0;
    for (size_t k = 0; k < taps.taps; ++k) {
      if (taps.weight[i + k] == 0) continue;
      (used == 0 ? tap.i0 : tap.i1) = static_cast<int32_t>(taps.index[i + k]);
      (used == 0 ? tap.w0 : tap.w1) = static_cast<float>(taps.weight[i + k]);
      ++used;
    }
    if (used < 2) {  // the same twice: a weight of 0 would make NaN of an infinity
      tap.i1 = tap.i0;
      tap.w0 = tap.w1 = tap.w0 / 2;
    }
    t.push_back(tap);
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
  if (is_nearest(f)) {
    auto ty = nearest_table(f, f.y), tx = nearest_table(f, f.x);
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
  auto ty = linear_table(f, f.y), tx = linear_table(f, f.x);
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
