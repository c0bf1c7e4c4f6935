// SPDX-License-Identifier: Apache-2.0
// Convolutions channels-last on the packed GEMM. A window of the input is a row of a matrix; it is
// not copied but read where it lies, in pieces: one a tap, or one a row of taps where these lie
// side by side. Few channels make short pieces, so there the image is copied with its padding
// first. After Dukhan, "The Indirect Convolution Algorithm" (2019).
#include "exec/cpu/gemm.h"
#include "exec/plan/geometry.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

constexpr int64_t kRows = 192;        // of a block
constexpr int64_t kFewChannels = 16;  // up to here padding is copied
constexpr double kLeastOfImage = 0.95;

struct Windows {
  int64_t channels = 0, taps = 1;
  // Spatial dims with ones in front. The padding that is copied is part of `in` and not of `begin`.
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1}, begin[3] = {0, 0, 0};
  int64_t source[3] = {1, 1, 1},
          margin[3] = {0, 0, 0};  // the image as it is, where it is copied to
  bool padded = false, copied = false, row_pieces = false;

  Windows(const StepInfo& s, const Geometry& g) : channels(s.in[0].dims[1]) {
    for (size_t i = 0, to = 3 - g.rank(); i < g.rank(); ++i, ++to) {
      in[to] = source[to] = g.in[i], out[to] = g.out[i], kernel[to] = g.kernel[i];
      stride[to] = g.strides[i], dilation[to] = g.dilations[i], begin[to] = g.begin[i];
      taps *= g.kernel[i];
      padded |= (out[to] - 1) * stride[to] + (kernel[to] - 1) * dilation[to] + 1 > in[to];
      padded |= begin[to] > 0;
    }
    copied = padded && channels <= kFewChannels;
    row_pieces = dilation[2] == 1 && (copied || !padded);
    for (int i = 0; copied && i < 3; ++i) {
      margin[i] = begin[i];
      begin[i] = 0;
      const int64_t reach = (out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1;
      in[i] = std::max(reach, margin[i] + source[i]);
    }
  }

  int64_t columns() const { return row_pieces ? 1 : kernel[2]; }  // pieces of a row of taps
  int64_t pieces() const { return kernel[0] * kernel[1] * columns(); }
  int64_t piece() const { return taps * channels / pieces(); }
  int64_t image() const { return in[0] * in[1] * in[2] * channels; }
  int64_t pixels() const { return out[0] * out[1] * out[2]; }

  // Line `i` (of all images, with padding) of the copy.
  void copy_line(const float* x, int64_t i, float* to) const {
    const int64_t y = i % in[1] - margin[1], z = i / in[1] % in[0] - margin[0];
    to += i * in[2] * channels;
    const bool inside = z >= 0 && z < source[0] && y >= 0 && y < source[1];
    const int64_t before = inside ? margin[2] * channels : 0, n = inside ? source[2] * channels : 0;
    std::fill_n(to, before, 0.0f);
    if (inside)
      std::copy_n(x + ((i / (in[1] * in[0]) * source[0] + z) * source[1] + y) * n, n, to + before);
    std::fill_n(to + before + n, in[2] * channels - before - n, 0.0f);
  }

  // Where the pieces of the windows of pixels [first, first + count) lie.
  void find(const float* x, const float* zeros, int64_t first, int64_t count, int64_t rows,
            const float** to) const {
    for (int64_t r = 0; r < count; ++r) {
      const int64_t p = first + r;
      const int64_t w = p % out[2] * stride[2] - begin[2];
      const int64_t h = p / out[2] % out[1] * stride[1] - begin[1];
      const int64_t d = p / (out[2] * out[1]) % out[0] * stride[0] - begin[0];
      const float* from = x + p / pixels() * image();
      const float** piece = to + r;
      for (int64_t i = 0; i < kernel[0]; ++i)
        for (int64_t j = 0; j < kernel[1]; ++j)
          for (int64_t l = 0; l < columns(); ++l, piece += rows) {
            const int64_t at[3] = {d + i * dilation[0], h + j * dilation[1], w + l * dilation[2]};
            bool inside = true;
            for (int q = 0; q < 3; ++q) inside &= at[q] >= 0 && at[q] < in[q];
            *piece = inside ? from + ((at[0] * in[1] + at[1]) * in[2] + at[2]) * channels : zeros;
          }
    }
  }
};

// The part of all taps that lies inside the image.
double of_image(const Geometry& g) {
  double part = 1;
  for (size_t i = 0; i < g.rank(); ++i) {
    int64_t inside = 0;
    for (int64_t t = 0; t < g.kernel[i]; ++t) {
      const int64_t to_first = g.begin[i] - t * g.dilations[i], to_last = to_first + g.in[i] - 1;
      const int64_t from = to_first > 0 ? (to_first + g.strides[i] - 1) / g.strides[i] : 0;
      const int64_t end = to_last < 0 ? 0 : to_last / g.strides[i] + 1;
      inside += std::max<int64_t>(0, std::min(end, g.out[i]) - from);
    }
    part *= static_cast<double>(inside) / static_cast<double>(g.kernel[i] * g.out[i]);
  }
  return part;
}

const char* accept(const StepInfo& s) {
  for (size_t i = 0; i < s.main_inputs; ++i)
    if (s.in[i].present() && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0]) || !s.in[1].constant) return "weights are not constant";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  const auto g = conv_geometry(s);
  if (!g || g->group != 1) return "groups";
  if (g->rank() > 3) return "more than three spatial dims";
  if (s.has(2) && s.in[2].rank() != 1) return "the bias";
  if (s.out[0].dims[1] < simd::gemm_nr()) return "few output channels";
  if (of_image(*g) < kLeastOfImage) return "much of it is padding, which oneDNN leaves out";
  return epilogue_of(s, 1, s.has(2)) ? nullptr : "post operations";
}

// [N, C, taps] as panels of [taps * C, N].
Result<std::shared_ptr<const std::byte>> pack(const StepInfo& s, const Windows& w, int64_t n,
                                              PrepareContext& ctx) {
  const Tensor& source = *s.in[1].constant;
  const int64_t k = w.taps * w.channels;
  const auto fill = [&](std::byte* to) -> Status {
    const Tensor aligned = source.to_aligned();
    const auto* from = reinterpret_cast<const float*>(aligned.raw());
    const int64_t nr = simd::gemm_nr();
    parallel_for(simd::gemm_panels(n, nr), 1, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin * nr; j < end * nr; ++j) {
        float* column = reinterpret_cast<float*>(to) + j / nr * nr * k + j % nr;
        for (int64_t c = 0; c < w.channels; ++c)
          for (int64_t t = 0; t < w.taps; ++t)
            column[(t * w.channels + c) * nr] = j < n ? from[(j * w.channels + c) * w.taps + t] : 0;
      }
    });
    return ok();
  };
  return ctx.packs.get(source, format("windows:{}:{}:{}", w.channels, w.taps, n),
                       simd::packed_b_floats(k, n) * static_cast<int64_t>(sizeof(float)), fill);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  const Windows w(s, *conv_geometry(s));
  const int64_t n = s.out[0].dims[1], m = s.out[0].size() / n, mr = simd::gemm_mr();
  const int64_t images = m / w.pixels(), panels = simd::gemm_panels(n, simd::gemm_nr());
  EpilogueForm form = *epilogue_of(s, 1, s.has(2));
  form.chain = conv_chain(w.taps * w.channels);
  TRY_ASSIGN(auto weights, pack(s, w, n, ctx));
  // Blocks of rows go to threads; few of them are cut by panels as well.
  const int64_t want = ctx.threads == 1 ? 1 : 4 * ctx.threads;
  const int64_t blocks = std::max((m + kRows - 1) / kRows, std::min(want, m / (4 * mr)));
  const int64_t rows = ((m + blocks - 1) / blocks + mr - 1) / mr * mr;
  const int64_t parts = std::clamp<int64_t>(want / ((m + rows - 1) / rows), 1, panels);
  const int64_t copy_bytes =
      w.copied ? (images * w.image() * int64_t{sizeof(float)} + 63) / 64 * 64 : 0;
  const int64_t table = w.pieces() * rows,
                table_bytes = (table * int64_t{sizeof(void*)} + 63) / 64 * 64;
  auto r = prepared([=, zeros =
                            std::vector<float>(static_cast<size_t>(w.channels))](const RunArgs& a) {
    const auto* x = in<float>(a, 0);
    if (w.copied) {
      auto* copy = reinterpret_cast<float*>(a.scratch);
      const int64_t lines = images * w.in[0] * w.in[1];
      parallel_for(lines, grain_for(0.1 * static_cast<double>(w.in[2] * w.channels)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) w.copy_line(x, i, copy);
                   });
      x = copy;
    }
    parallel_for((m + rows - 1) / rows * parts, 1, [&](int64_t begin, int64_t end) {
      auto* at =
          reinterpret_cast<const float**>(a.scratch + copy_bytes + parallel_index() * table_bytes);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i / parts * rows, count = std::min(rows, m - first), part = i % parts;
        if (part == 0 || i == begin) w.find(x, zeros.data(), first, count, rows, at);
        simd::Epilogue e = bind_epilogue(form, a, n);
        if (e.residual != nullptr) e.residual += first * n;
        simd::gemm_pieces_f32(at, rows, w.pieces(), w.piece(),
                              reinterpret_cast<const float*>(weights.get()),
                              out<float>(a) + first * n, n, n, count, panels * part / parts,
                              panels * (part + 1) / parts, e);
      }
    });
  });
  r->scratch_bytes = copy_bytes + table_bytes * ctx.threads;
  r->unread_inputs = 2;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(gemm_conv, {"gemm_conv", "Conv", 40, cpu::accept, cpu::prepare})
