// SPDX-License-Identifier: Apache-2.0
// Any convolution with up to three spatial dims, channels-last: windows of a block of pixels are
// gathered as rows for the packed GEMM; depthwise ones slide over the image as it lies. For what
// oneDNN has no kernel, and where its code would take more memory than there shall be.
#include "exec/cpu/gemm.h"
#include "exec/cpu/simd/window.h"
#include "exec/cpu/windows.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kBlockBytes = 256 * 1024;

const char* accept(const StepInfo& s) {
  for (size_t i = 0; i < s.main_inputs; ++i)
    if (s.in[i].present() && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0])) return "not float";
  if (!plain(s.in[1])) return "the layout of the weights";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  if (s.has(2) && s.in[2].rank() != 1) return "the bias";
  if (!windows_of(s)) return "shapes or attributes";
  return epilogue_of(s, 1, s.has(2)) ? nullptr : "post operations";
}

const char* accept_depthwise(const StepInfo& s) {
  if (const char* why = accept(s)) return why;
  const Windows w = *windows_of(s);
  if (w.channels != 1 || w.outputs != w.group || w.in[0] != 1 || w.kernel[0] != 1 ||
      w.begin[0] != 0)
    return "not depthwise over images";
  const EpilogueForm f = *epilogue_of(s, 1, s.has(2));
  return f.alpha == 1 && f.shift == SIZE_MAX && f.residual == SIZE_MAX ? nullptr
                                                                       : "post operations";
}

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Weights as the kernel wants them, `bytes` of them: packed ahead where they are constant, else at
// the start of the scratch memory, in each run.
struct Weights {
  std::shared_ptr<const std::byte> packed;
  int64_t scratch = 0;

  const float* get(const RunArgs& a) const {
    return reinterpret_cast<const float*>(packed ? packed.get() : a.scratch);
  }
};
template <typename Fill>
Result<Weights> pack(const StepInfo& s, const std::string& form, int64_t bytes, const Fill& fill,
                     PrepareContext& ctx) {
  if (!s.in[1].constant) return Weights{nullptr, aligned(bytes)};
  const Tensor& source = *s.in[1].constant;
  TRY_ASSIGN(auto packed, ctx.packs.get(source, form, bytes, [&](std::byte* to) {
    fill(source.raw(), to);
    return ok();
  }));
  return Weights{std::move(packed), 0};
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  const Windows w = *windows_of(s);
  EpilogueForm form = *epilogue_of(s, 1, s.has(2));
  const int64_t k = w.taps() * w.channels, n = w.outputs / w.group, m = w.pixels(),
                nr = simd::gemm_nr(), mr = simd::gemm_mr(), panels = simd::gemm_panels(n, nr),
                each = simd::packed_b_floats(k, n);
  form.chain = conv_chain(k);
  const auto fill = [=](const std::byte* from, std::byte* to) {
    parallel_for(w.group * panels, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> rows(static_cast<size_t>(k * nr));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t g = i / panels, p = i % panels;
        const int64_t first = p * nr, count = std::min(nr, n - first);
        turn_weights(w, from, kFloat, g * n + first, g * n + first + count,
                     reinterpret_cast<std::byte*>(rows.data()));
        simd::pack_b_f32(rows.data(), k, true, k, count,
                         reinterpret_cast<float*>(to) + g * each + p * k * nr, 0, 1);
      }
    });
  };
  TRY_ASSIGN(const Weights weights, pack(s, format("gathered:{}:{}:{}", w.group, k, n),
                                         w.group * each * kFloat, fill, ctx));
  const int64_t rows = std::clamp(kBlockBytes / (k * kFloat) / mr * mr, mr, 32 * mr),
                blocks = (m + rows - 1) / rows;
  const int64_t scratch = w.point ? 0 : aligned(rows * k * kFloat + kWindowSlack);
  auto r = prepared([=](const RunArgs& a) {
    if (weights.scratch) fill(in<std::byte>(a, 1), a.scratch);
    const float* packed = weights.get(a);
    const simd::Epilogue whole = bind_epilogue(form, a, w.outputs);
    parallel_for(w.group * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t g = i / blocks, m0 = i % blocks * rows, m1 = std::min(m, m0 + rows);
        const int64_t all = w.channels * w.group;
        const float* x = in<float>(a, 0) + m0 * all + g * w.channels;
        int64_t ld = all;
        if (!w.point) {
          std::byte* to = a.scratch + weights.scratch + parallel_index() * scratch;
          gather_windows(w, in<std::byte>(a, 0), kFloat, 0, g, m0, m1, to, k * kFloat);
          x = reinterpret_cast<const float*>(to);
          ld = k;
        }
        const int64_t at = m0 * w.outputs + g * n;
        simd::Epilogue e = whole;
        if (e.bias_n) e.bias_n += g * n;
        if (e.shift_n) e.shift_n += g * n;
        if (e.residual) e.residual += at;
        simd::gemm_f32(x, ld, packed + g * each, out<float>(a) + at, w.outputs, k, n, 0, m1 - m0, 0,
                       panels, e);
      }
    });
  });
  r->scratch_bytes = weights.scratch + scratch * ctx.threads;
  r->unread_inputs = weights.scratch ? 0 : 2;
  return r;
}

Result<std::unique_ptr<Prepared>> prepare_depthwise(const StepInfo& s, PrepareContext& ctx) {
  const Windows w = *windows_of(s);
  const EpilogueForm f = *epilogue_of(s, 1, s.has(2));
  simd::Window d;
  d.h = w.in[1], d.w = w.in[2], d.c = w.group;
  d.oh = w.out[1], d.ow = w.out[2];
  d.kh = w.kernel[1], d.kw = w.kernel[2];
  d.sh = w.strides[1], d.sw = w.strides[2];
  d.dh = w.dilations[1], d.dw = w.dilations[2];
  d.top = w.begin[1], d.left = w.begin[2];
  Windows one = w;  // all channels as those of one output: [taps, channels]
  one.channels = w.group;
  const auto fill = [=](const std::byte* from, std::byte* to) {
    turn_weights(one, from, kFloat, 0, 1, to);
  };
  TRY_ASSIGN(const Weights weights, pack(s, format("depthwise:{}:{}", w.group, w.taps()),
                                         w.group * w.taps() * kFloat, fill, ctx));
  const int64_t images = w.images;
  const double row = 0.1 * static_cast<double>(d.ow * d.c * d.kh * d.kw) + 5;
  auto r = prepared([=](const RunArgs& a) {
    if (weights.scratch) fill(in<std::byte>(a, 1), a.scratch);
    const float* turned = weights.get(a);
    const simd::Epilogue e = bind_epilogue(f, a, w.outputs);
    parallel_for(images * d.oh, grain_for(row), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t image = begin / d.oh, first = begin % d.oh;
        const int64_t stop = std::min(d.oh, first + end - begin);
        simd::dwconv_nhwc_f32(d, in<float>(a, 0) + image * d.h * d.w * d.c, turned, e.bias_n,
                              out<float>(a) + image * d.oh * d.ow * d.c, first, stop, f.act, f.a,
                              f.b);
        begin += stop - first;
      }
    });
  });
  r->scratch_bytes = weights.scratch;
  r->unread_inputs = weights.scratch ? 0 : 2;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(window_conv,
                     {"depthwise", "Conv", 54, cpu::accept_depthwise, cpu::prepare_depthwise},
                     {"window_conv", "Conv", 55, cpu::accept, cpu::prepare})
