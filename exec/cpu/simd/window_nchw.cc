// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution and pooling of one plane (window.h): output columns lie along the vector.
// Each input row is copied once into a padded line on the stack, split by phase where the stride is
// not 1, so that every tap is a plain load.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/window_nchw.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <limits>

#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/taps.h"
#include "exec/cpu/simd/vec-inl.h"
#include "exec/cpu/simd/window.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kLine = 1024;  // floats of a padded line
constexpr int64_t kSlots = 8;    // lines kept
constexpr int64_t kChunk = 256;  // output columns at a time
constexpr int kGroup = 4;        // vectors in registers

// How a tap enters the accumulator. w: the tap's weight (pools: unused).
struct ConvOp {
  static constexpr bool kWeights = true;
  static constexpr float kPad = 0;
  static HWY_INLINE VF step(VF acc, VF x, VF w) { return hn::MulAdd(w, x, acc); }
};
struct MaxOp {
  static constexpr bool kWeights = false;
  static constexpr float kPad = -std::numeric_limits<float>::infinity();
  static HWY_INLINE VF step(VF acc, VF x, VF) { return max_nan(DF(), acc, x); }
};
struct SumOp {
  static constexpr bool kWeights = false;
  static constexpr float kPad = 0;
  static HWY_INLINE VF step(VF acc, VF x, VF) { return hn::Add(acc, x); }
};

// Lines of the input for output columns [ox0, ox0 + n): element i of phase f of a line is column
// (ox0 + i) * stride - left + f, the pad value where that lies outside.
class Lines {
 public:
  Lines(const Window& p, const float* x, int64_t ox0, int64_t n, float pad)
      : p_(p), x_(x), first_(ox0 * p.sw - p.left), pad_(pad) {
    per_phase_ = n + ((p.kw - 1) * p.dw) / p.sw;
    stride_ = kLine / p.sw;
    for (int64_t k = 0; k < std::min(kOffsets, p.kw); ++k) offset_[k] = far_offset(k);
    std::fill(std::begin(held_), std::end(held_), int64_t{-1});
  }
  // Outputs that fit the buffers with this window (0: none).
  static int64_t fits(const Window& p) {
    const int64_t extra = (p.kw - 1) * p.dw / p.sw;
    return std::clamp<int64_t>(kLine / p.sw - kVectorSlack - extra, 0, kChunk);
  }
  const float* line(int64_t iy) {
    const int64_t slot = iy % kSlots;
    float* to = buf_ + slot * kLine;
    if (held_[slot] == iy) return to;
    held_[slot] = iy;
    const float* row = x_ + iy * p_.w;
    if (p_.sw == 1) {
      const int64_t low = std::clamp<int64_t>(-first_, 0, per_phase_);
      const int64_t high = std::clamp<int64_t>(p_.w - first_, low, per_phase_);
      std::fill(to, to + low, pad_);
      if (high > low)
        std::memcpy(to + low, row + first_ + low, static_cast<size_t>(high - low) * sizeof(float));
      std::fill(to + high, to + per_phase_ + kVectorSlack, pad_);
      return to;
    }
    for (int64_t f = 0; f < p_.sw; ++f) {
      float* phase = to + f * stride();
      // Elements [low, high) of the phase lie inside the row.
      const int64_t at = first_ + f;
      const int64_t low = std::clamp<int64_t>((-at + p_.sw - 1) / p_.sw, 0, per_phase_);
      const int64_t high = std::clamp<int64_t>((p_.w - at + p_.sw - 1) / p_.sw, low, per_phase_);
      std::fill(phase, phase + low, pad_);
      const float* from = row + at;
      for (int64_t i = low; i < high; ++i) phase[i] = from[i * p_.sw];
      std::fill(phase + high, phase + per_phase_ + kVectorSlack, pad_);
    }
    return to;
  }
  // Offset in a line of tap kx for the first output.
  int64_t offset(int64_t kx) const { return kx < kOffsets ? offset_[kx] : far_offset(kx); }

 private:
  static constexpr int64_t kVectorSlack =
      64;  // so far a group of vectors reads past the last output
  static constexpr int64_t kOffsets = 16;
  int64_t stride() const { return stride_; }
  int64_t far_offset(int64_t kx) const {
    const int64_t at = kx * p_.dw;
    return at % p_.sw * stride_ + at / p_.sw;
  }

  const Window& p_;
  const float* x_;
  int64_t first_, per_phase_, stride_;
  int64_t offset_[kOffsets];
  float pad_;
  int64_t held_[kSlots];
  alignas(64) float buf_[kSlots * kLine];
};

// Output columns [ox0, ox0 + n) of all rows asked for.
template <class Op>
void chunk(const Window& p, const float* x, const float* weight, float start, float* y, int64_t ox0,
           int64_t n, int64_t oh0, int64_t oh1) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Lines lines(p, x, ox0, n, Op::kPad);
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const TapRange ky = taps_inside(oy, p.sh, p.top, p.dh, p.kh, p.h);
    float* to = y + oy * p.ow + ox0;
    for (int64_t j = 0; j < n; j += kGroup * lanes) {
      VF acc[kGroup];
      ONNXTOOL_UNROLL for (int v = 0; v < kGroup; ++v) acc[v] = hn::Set(d, start);
      const int64_t left = n - j;
      for (int64_t r = ky.begin; r < ky.end; ++r) {
        const float* line = lines.line(oy * p.sh - p.top + r * p.dh) + j;
        for (int64_t q = 0; q < p.kw; ++q) {
          const VF w = hn::Set(d, Op::kWeights ? weight[r * p.kw + q] : 0.0f);
          const float* from = line + lines.offset(q);
          if (left > lanes) {
            ONNXTOOL_UNROLL for (int v = 0; v < kGroup; ++v) {
              acc[v] = Op::step(acc[v], hn::LoadU(d, from + v * lanes), w);
            }
          } else {
            acc[0] = Op::step(acc[0], hn::LoadU(d, from), w);
          }
        }
      }
      ONNXTOOL_UNROLL for (int v = 0; v < kGroup; ++v) {
        if (v * lanes < left)
          store_n(acc[v], d, to + j + v * lanes, static_cast<size_t>(left - v * lanes));
      }
    }
  }
}

// Any window, element by element: for lines that do not fit.
template <class Op>
void plain(const Window& p, const float* x, const float* weight, float start, float* y, int64_t oh0,
           int64_t oh1) {
  const DF d;
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const TapRange ky = taps_inside(oy, p.sh, p.top, p.dh, p.kh, p.h);
    for (int64_t ox = 0; ox < p.ow; ++ox) {
      const TapRange kx = taps_inside(ox, p.sw, p.left, p.dw, p.kw, p.w);
      VF acc = hn::Set(d, start);
      for (int64_t r = ky.begin; r < ky.end; ++r)
        for (int64_t q = kx.begin; q < kx.end; ++q) {
          const int64_t iy = oy * p.sh - p.top + r * p.dh, ix = ox * p.sw - p.left + q * p.dw;
          const float w = Op::kWeights ? weight[r * p.kw + q] : 0.0f;
          acc = Op::step(acc, hn::Set(d, x[iy * p.w + ix]), hn::Set(d, w));
        }
      y[oy * p.ow + ox] = hn::GetLane(acc);
    }
  }
}

template <class Op>
void rows(const Window& p, const float* x, const float* weight, float start, float* y, int64_t oh0,
          int64_t oh1) {
  const int64_t fit = Lines::fits(p);
  if (fit < 16) return plain<Op>(p, x, weight, start, y, oh0, oh1);
  for (int64_t ox = 0; ox < p.ow; ox += fit)
    chunk<Op>(p, x, weight, start, y, ox, std::min(fit, p.ow - ox), oh0, oh1);
}

void dwconv(const Window& p, const float* x, const float* weight, float bias, float* y, int64_t oh0,
            int64_t oh1) {
  rows<ConvOp>(p, x, weight, bias, y, oh0, oh1);
}
void max_pool(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1) {
  rows<MaxOp>(p, x, nullptr, MaxOp::kPad, y, oh0, oh1);
}
void sum_pool(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1) {
  rows<SumOp>(p, x, nullptr, 0, y, oh0, oh1);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(dwconv);
HWY_EXPORT(max_pool);
HWY_EXPORT(sum_pool);

void dwconv_nchw_f32(const Window& p, const float* x, const float* weight, float bias, float* y,
                     int64_t oh0, int64_t oh1, Unary act, float a, float b) {
  HWY_DYNAMIC_DISPATCH(dwconv)(p, x, weight, bias, y, oh0, oh1);
  float* from = y + oh0 * p.ow;
  if (act != Unary::kCopy) unary_fn(act)(from, from, (oh1 - oh0) * p.ow, a, b);
}
void max_pool_nchw_f32(const Window& p, const float* x, float* y, int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(max_pool)(p, x, y, oh0, oh1);
}
void avg_pool_nchw_f32(const Window& p, bool count_include_pad, const float* x, float* y,
                       int64_t oh0, int64_t oh1) {
  HWY_DYNAMIC_DISPATCH(sum_pool)(p, x, y, oh0, oh1);
  for (int64_t oy = oh0; oy < oh1; ++oy) {
    const TapRange ky = taps_inside(oy, p.sh, p.top, p.dh, p.kh, p.h);
    const int64_t rows = count_include_pad ? taps_padded(oy, p.sh, p.top, p.dh, p.kh, p.h, p.bottom)
                                           : ky.end - ky.begin;
    for (int64_t ox = 0; ox < p.ow; ++ox) {
      const TapRange kx = taps_inside(ox, p.sw, p.left, p.dw, p.kw, p.w);
      const int64_t columns = count_include_pad
                                  ? taps_padded(ox, p.sw, p.left, p.dw, p.kw, p.w, p.right)
                                  : kx.end - kx.begin;
      y[oy * p.ow + ox] /= static_cast<float>(rows * columns);
    }
  }
}

}  // namespace onnxtool::simd
#endif
