// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution of 8-bit integers (byte_window.h): bytes of four taps are interleaved, so
// that one dot product sums four taps of a channel.
#include "exec/cpu/simd/byte_window.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/byte_window.cc"
#include <hwy/foreach_target.h>

#include "exec/cpu/simd/byte-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int kBlock = 4 * kIntLanes;  // channels

// [channel % 16 / 4] of vectors whose 128-bit parts hold four channels of one part of x each, to
// vectors of neighbouring channels.
HWY_INLINE void in_order(VI q[4]) {
#if HWY_TARGET == HWY_AVX3
  const __m512i t0 = _mm512_shuffle_i32x4(q[0].raw, q[1].raw, 0x44),
                t1 = _mm512_shuffle_i32x4(q[0].raw, q[1].raw, 0xEE),
                t2 = _mm512_shuffle_i32x4(q[2].raw, q[3].raw, 0x44),
                t3 = _mm512_shuffle_i32x4(q[2].raw, q[3].raw, 0xEE);
  q[0].raw = _mm512_shuffle_i32x4(t0, t2, 0x88);
  q[1].raw = _mm512_shuffle_i32x4(t0, t2, 0xDD);
  q[2].raw = _mm512_shuffle_i32x4(t1, t3, 0x88);
  q[3].raw = _mm512_shuffle_i32x4(t1, t3, 0xDD);
#elif HWY_TARGET == HWY_AVX2
  const DI d;
  const VI a = q[0], b = q[1], c = q[2], e = q[3];
  q[0] = hn::ConcatLowerLower(d, b, a);
  q[1] = hn::ConcatLowerLower(d, e, c);
  q[2] = hn::ConcatUpperUpper(d, b, a);
  q[3] = hn::ConcatUpperUpper(d, e, c);
#else
  (void)q;  // one part
#endif
}

// Sums of one pixel's block of channels at i, in order.
template <class Dot, bool kWhole>
HWY_INLINE void window_sums(const uint8_t* const* taps, int64_t count, uint8_t flip,
                            const int8_t* w, int parts, int64_t i, size_t rest, VI (&acc)[1][4]) {
  const DI di;
  const DB db;
  const hn::Repartition<uint16_t, DF> d16;
  const auto top = hn::Set(db, flip);
  ONNXTOOL_UNROLL for (int k = 0; k < 4; ++k) acc[0][k] = hn::Zero(di);
  for (int64_t t = 0; t < count; t += 4) {
    hn::Vec<DB> x[4];
    ONNXTOOL_UNROLL for (int k = 0; k < 4; ++k) {
      const uint8_t* p = taps[t + k] + i;
      x[k] = hn::Xor(kWhole ? hn::LoadU(db, p) : load_n(db, p, rest), top);
    }
    const auto a = hn::BitCast(d16, hn::InterleaveLower(db, x[0], x[1])),
               b = hn::BitCast(d16, hn::InterleaveUpper(db, x[0], x[1])),
               c = hn::BitCast(d16, hn::InterleaveLower(db, x[2], x[3])),
               e = hn::BitCast(d16, hn::InterleaveUpper(db, x[2], x[3]));
    const hn::Vec<decltype(d16)> four[4] = {
        hn::InterleaveLower(d16, a, c), hn::InterleaveUpper(d16, a, c),
        hn::InterleaveLower(d16, b, e), hn::InterleaveUpper(d16, b, e)};
    for (int p = 0; p < parts; ++p, w += 4 * kBlock) {
      ONNXTOOL_UNROLL for (int k = 0; k < 4; ++k) {
        const VI wv = hn::LoadU(di, reinterpret_cast<const int32_t*>(w) + k * kIntLanes);
        acc[0][k] = Dot::dot(acc[0][k], Dot::a(hn::BitCast(di, four[k])), Dot::b(wv));
      }
    }
  }
  in_order(acc[0]);
}

template <class Dot>
HWY_ATTR void window_of(const uint8_t* const* taps, int64_t count, int64_t pixels, uint8_t flip,
                        const int8_t* w, int parts, int64_t channels, int64_t m, void* c,
                        const ByteEnd& e) {
  alignas(64) int32_t sums[kWindowPixels * kBlock];
  bool codes = false;
#if HWY_TARGET == HWY_AVX3
  codes = only_codes(e);
#endif
  for (int64_t i = 0; i < channels; i += kBlock, w += count * kBlock * parts) {
    const int64_t cols = std::min<int64_t>(kBlock, channels - i);
    for (int64_t p = 0; p < pixels; ++p) {
      VI acc[1][4];
      if (cols == kBlock)
        window_sums<Dot, true>(taps + p * count, count, flip, w, parts, i, 0, acc);
      else
        window_sums<Dot, false>(taps + p * count, count, flip, w, parts, i,
                                static_cast<size_t>(cols), acc);
#if HWY_TARGET == HWY_AVX3
      if (codes) {
        store_codes_of<1, 4>(acc, m + p, i, cols, c, channels, e);
        continue;
      }
#endif
      ONNXTOOL_UNROLL for (int k = 0; k < 4; ++k) {
        hn::Store(acc[0][k], DI(), sums + p * kBlock + k * kIntLanes);
      }
    }
    if (!codes) end_tile<kBlock>(sums, pixels, m, i, cols, c, channels, e, byte_table);
  }
}

void window(const uint8_t* const* taps, int64_t count, int64_t pixels, uint8_t flip,
            const int8_t* w, int parts, int64_t channels, int64_t m, void* c, const ByteEnd& e,
            bool vnni) {
#if HWY_TARGET == HWY_AVX3
  if (vnni) return window_of<VnniDot>(taps, count, pixels, flip, w, parts, channels, m, c, e);
#endif
  (void)vnni;
  window_of<WideDot>(taps, count, pixels, flip, w, parts, channels, m, c, e);
}

int block() { return kBlock; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(window);
HWY_EXPORT(block);

int byte_window_channels() { return HWY_DYNAMIC_DISPATCH(block)(); }

int64_t packed_window_bytes(int64_t taps, int64_t channels, int parts) {
  const int64_t b = byte_window_channels();
  return (channels + b - 1) / b * b * taps * parts;
}

void pack_byte_window(const int8_t* w, int64_t taps, int64_t channels, int parts, int8_t* packed) {
  const int64_t b = byte_window_channels();
  for (int64_t i = 0; i < channels; i += b)
    for (int64_t t = 0; t < taps; t += 4)
      for (int64_t p = 0; p < parts; ++p)
        for (int64_t at = 0; at < b; ++at) {  // vectors, parts of them, lanes: see in_order()
          const int64_t k = at / (b / 4), lane = at % (b / 4);
          const int64_t channel = i + lane / 4 * 16 + k * 4 + lane % 4;
          for (int64_t j = 0; j < 4; ++j)
            *packed++ = channel < channels ? w[(p * channels + channel) * taps + t + j] : int8_t{0};
        }
}

void byte_window(const uint8_t* const* taps, int64_t count, int64_t pixels, uint8_t flip,
                 const int8_t* packed, int parts, int64_t channels, int64_t m, void* c,
                 const ByteEnd& e) {
  HWY_DYNAMIC_DISPATCH(window)
  (taps, count, pixels, flip, packed, parts, channels, m, c, e, have_vnni());
}

}  // namespace onnxtool::simd
#endif
