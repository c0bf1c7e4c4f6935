// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of 8-bit integers with exact 32-bit sums (plan/quantize.h): any kernel,
// stride, dilation and signs, one to three spatial dims.
#include <cstring>

#include "exec/cpu/byte_end.h"
#include "exec/cpu/simd/byte_window.h"
#include "exec/cpu/util.h"
#include "exec/plan/geometry.h"
#include "exec/plan/quantize.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

constexpr int64_t kMaxTaps = 256;

struct Depthwise {
  Geometry g;
  int64_t channels = 0, m = 0, taps = 0;  // taps: as the kernel gets them, a multiple of four
  uint8_t flip = 0, zero = 0;             // zero: the byte in x that means 0
  ByteForm form;
  std::vector<int32_t> offset;
  std::shared_ptr<const std::byte> packed;
  int parts = 1;  // of the weights: they, and the negatives of their zero points
};

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

const char* accept(const StepInfo& s) {
  if (s.main_inputs < 4 || s.main_inputs > 5) return "inputs";
  const auto g = conv_geometry(s);
  if (!g || g->rank() > 3) return "shapes or attributes";
  const int64_t c = s.out[0].dims[1];
  if (g->group != c || s.in[1].dims[1] != 1 || s.in[0].dims[1] != c) return "not depthwise";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  int64_t taps = 1;
  for (int64_t k : g->kernel) taps = std::min(taps * k, kMaxTaps + 1);
  if (taps > kMaxTaps) return "a large window";
  if (auto* why = check_byte_operands(s, 4, taps, c)) return why;
  if (s.has(4) && s.in[1].dtype == DType::kUint8) {
    const auto zeros = s.in[4].constant->to_i64();
    if (std::find(zeros.begin(), zeros.end(), 0) != zeros.end()) return "weights up to 255";
  }
  return byte_form(s, 1) ? nullptr : "post operations";
}

// Faster than oneDNN's kernels where much is to be done for each pixel.
const char* accept_large(const StepInfo& s) {
  if (auto* why = accept(s)) return why;
  return s.out[0].dims[1] >= 128 && s.in[1].size() / s.in[1].dims[0] > 9 ? nullptr : "small";
}

// Where the taps of a pixel lie; `none`: bytes for those outside. True: no tap is outside along the
// last dim.
bool find_taps(const Depthwise& d, const uint8_t* x, int64_t m, const uint8_t* none,
               const uint8_t** to) {
  const Geometry& g = d.g;
  const size_t rank = g.rank();
  int64_t at[3] = {}, image = m;
  for (size_t i = rank; i-- > 0;) {
    at[i] = image % g.out[i] * g.strides[i] - g.begin[i];
    image /= g.out[i];
  }
  int64_t index[3] = {};
  const uint8_t** const end = to + d.taps;
  for (bool more = true; more;) {
    int64_t pixel = image;
    bool inside = true;
    for (size_t i = 0; i < rank; ++i) {
      const int64_t p = at[i] + index[i] * g.dilations[i];
      inside = inside && p >= 0 && p < g.in[i];
      pixel = pixel * g.in[i] + p;
    }
    *to++ = inside ? x + pixel * d.channels : none;
    more = false;
    for (size_t i = rank; i-- > 0 && !more;) {
      more = ++index[i] < g.kernel[i];
      if (!more) index[i] = 0;
    }
  }
  while (to < end) *to++ = none;
  const size_t last = rank - 1;
  return at[last] >= 0 && at[last] + (g.kernel[last] - 1) * g.dilations[last] < g.in[last];
}

// Taps of pixels [m, m + count), one after the other.
void find_all_taps(const Depthwise& d, const uint8_t* x, int64_t m, int64_t count,
                   const uint8_t* none, const uint8_t** to) {
  const Geometry& g = d.g;
  const size_t last = g.rank() - 1;
  const int64_t reach = (g.kernel[last] - 1) * g.dilations[last];
  bool whole = false;
  for (int64_t i = 0; i < count; ++i, to += d.taps) {
    const int64_t column = (m + i) % g.out[last];
    if (whole && column > 0 && column * g.strides[last] - g.begin[last] + reach < g.in[last]) {
      // All taps of the pixel before move by one stride.
      const uint8_t* const* before = to - d.taps;
      for (int64_t t = 0; t < d.taps; ++t)
        to[t] = before[t] == none ? none : before[t] + g.strides[last] * d.channels;
    } else {
      whole = find_taps(d, x, m + i, none, to);
    }
  }
}

void run(const Depthwise& d, const RunArgs& args) {
  const auto* x = in<uint8_t>(args, 0);
  auto* none = reinterpret_cast<uint8_t*>(args.scratch);
  std::memset(none, d.zero, static_cast<size_t>(d.channels));
  simd::TileOp ops[kByteOps];
  simd::ByteEnd e = bind_end(d.form, args, ops);
  e.offset = d.offset.data();
  const double ns = 0.02 * static_cast<double>(d.taps * d.channels) + 5;
  parallel_for(d.m, grain_for(ns, simd::kWindowPixels), [&](int64_t begin, int64_t end) {
    const uint8_t* taps[simd::kWindowPixels * kMaxTaps];
    for (int64_t m = begin; m < end; m += simd::kWindowPixels) {
      const int64_t pixels = std::min<int64_t>(simd::kWindowPixels, end - m);
      find_all_taps(d, x, m, pixels, none, taps);
      simd::byte_window(taps, d.taps, pixels, d.flip,
                        reinterpret_cast<const int8_t*>(d.packed.get()), d.parts, d.channels, m,
                        args.out[0], e);
    }
  });
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  Depthwise d;
  d.g = *conv_geometry(s);
  d.channels = s.out[0].dims[1];
  d.m = s.out[0].size() / d.channels;
  int64_t kernel = 1;
  for (int64_t k : d.g.kernel) kernel *= k;
  d.form = *byte_form(s, 1);
  const ByteWeights w = byte_weights(s, 4, kernel, d.channels, 1, kernel);
  d.parts = w.zero.empty() ? 1 : 2;
  d.taps = round_up(kernel, 4);
  d.flip = s.in[0].dtype == DType::kInt8 ? 0x80 : 0;
  const auto zero = static_cast<int32_t>(s.attr_int("x_zero", 0)) + d.flip;
  d.zero = static_cast<uint8_t>(zero ^ d.flip);
  d.offset = w.offsets(zero, kernel);
  const auto fill = [&](std::byte* to) -> Status {
    const Tensor t = s.in[1].constant->to_aligned();
    const auto* from = reinterpret_cast<const uint8_t*>(t.raw());
    TRY_ASSIGN(Tensor parts, Tensor::allocate(DType::kInt8, {d.parts, d.channels, d.taps}));
    auto v = parts.mut<int8_t>();
    std::fill(v.begin(), v.end(), int8_t{0});
    for (int64_t c = 0; c < d.channels; ++c)
      for (int64_t k = 0; k < kernel; ++k) {
        const auto at = static_cast<size_t>(c * d.taps + k);
        v[at] = static_cast<int8_t>(from[c * kernel + k] ^ w.flip);
        if (d.parts == 2)
          v[at + static_cast<size_t>(d.channels * d.taps)] =
              static_cast<int8_t>(-w.zero[static_cast<size_t>(c)]);
      }
    simd::pack_byte_window(v.data(), d.taps, d.channels, d.parts, reinterpret_cast<int8_t*>(to));
    return ok();
  };
  std::string form = format("window:{}:{}", kernel, d.channels);
  for (int32_t z : w.zero) form += format(":{}", z);
  TRY_ASSIGN(d.packed, ctx.packs.get(*s.in[1].constant, form,
                                     simd::packed_window_bytes(d.taps, d.channels, d.parts), fill));
  const int64_t scratch = d.channels;
  auto r = prepared([d = std::move(d)](const RunArgs& args) { run(d, args); });
  r->scratch_bytes = scratch;
  r->unread_inputs = packed_inputs(s);
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(byte_depthwise,
                     {"byte_depthwise", step_kind::kQConv, 15, cpu::accept_large, cpu::prepare},
                     {"byte_depthwise", step_kind::kQConv, 35, cpu::accept, cpu::prepare})
