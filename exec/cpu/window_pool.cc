// SPDX-License-Identifier: Apache-2.0
// Pools with one and two spatial dims on our own sliding windows, in both layouts. MaxPool comes
// here first because NaN wins, as in the reference; averages come where oneDNN has no form for
// them.
#include "exec/cpu/simd/window.h"
#include "exec/cpu/util.h"
#include "exec/plan/geometry.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* accept(const StepInfo& s) {
  if (!sole_output(s) || !s.post.empty()) return "a second output";
  if (!is_f32(s.in[0]) || !is_f32(s.out[0])) return "not float";
  if (s.in[0].rank() < 3 || s.in[0].rank() > 4) return "more than two spatial dims";
  const bool last = channels_last(s.in[0]) && channels_last(s.out[0]);
  if (!last && !(plain(s.in[0]) && plain(s.out[0]))) return "layouts";
  if (!pool_geometry(s)) return "shapes or attributes";
  return nullptr;
}

const char* accept_average(const StepInfo& s) {
  if (const char* why = accept(s)) return why;
  const auto g = pool_geometry(s);
  for (size_t i = 0; i < g->rank(); ++i) {
    // A window without an element inside has no mean.
    const int64_t reach = (g->kernel[i] - 1) * g->dilations[i] + 1;
    const int64_t last = (g->out[i] - 1) * g->strides[i] - g->begin[i];
    if (g->dilations[i] != 1 || g->begin[i] >= reach || last >= g->in[i])
      return "dilations, or a window inside the padding";
  }
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  const Geometry g = *pool_geometry(s);
  const Dims& d = s.in[0].dims;
  const bool last = channels_last(s.in[0]) && channels_last(s.out[0]);
  const bool max = s.op.view() == "MaxPool", flat = g.rank() == 1;
  const bool count_pads = s.attr_int("count_include_pad", 0) != 0;
  simd::Window w;
  const auto at = [&](const auto& v, size_t i, int64_t none) {
    return flat ? (i == 0 ? none : v[0]) : v[i];
  };
  w.h = at(g.in, 0, 1), w.w = at(g.in, 1, 1);
  w.oh = at(g.out, 0, 1), w.ow = at(g.out, 1, 1);
  w.kh = at(g.kernel, 0, 1), w.kw = at(g.kernel, 1, 1);
  w.sh = at(g.strides, 0, 1), w.sw = at(g.strides, 1, 1);
  w.dh = at(g.dilations, 0, 1), w.dw = at(g.dilations, 1, 1);
  w.top = at(g.begin, 0, 0), w.left = at(g.begin, 1, 0);
  w.bottom = at(g.end, 0, 0), w.right = at(g.end, 1, 0);
  w.c = last ? d[1] : 1;
  const int64_t images = last ? d[0] : d[0] * d[1];
  const double row = 0.1 * static_cast<double>(w.ow * w.c * w.kh * w.kw) + 5;
  return prepared([=](const RunArgs& a) {
    parallel_for(images * w.oh, grain_for(row), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t image = begin / w.oh, first = begin % w.oh;
        const int64_t stop = std::min(w.oh, first + end - begin);
        const float* x = in<float>(a, 0) + image * w.h * w.w * w.c;
        float* y = out<float>(a) + image * w.oh * w.ow * w.c;
        if (max && last)
          simd::max_pool_nhwc_f32(w, x, y, first, stop);
        else if (max)
          simd::max_pool_nchw_f32(w, x, y, first, stop);
        else if (last)
          simd::avg_pool_nhwc_f32(w, count_pads, x, y, first, stop);
        else
          simd::avg_pool_nchw_f32(w, count_pads, x, y, first, stop);
        begin += stop - first;
      }
    });
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(window_pool, {"window_pool", "MaxPool", 40, cpu::accept, cpu::prepare},
                     {"window_pool", "AveragePool", 60, cpu::accept_average, cpu::prepare})
