// SPDX-License-Identifier: Apache-2.0
// Group and instance normalization (norm.h). Mean and squared deviation are taken block by block,
// two sweeps over a block in L1, and merged pairwise (Chan, Golub, LeVeque, "Updating Formulae and
// a Pairwise Algorithm for Computing Sample Variances", 1979): one sweep over memory, then the
// result.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/group_norm.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>

#include "exec/cpu/simd/norm.h"
#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kBlock = 4096;    // floats of a contiguous block: half of L1
constexpr int64_t kChannels = 256;  // channels-last: statistics of so many channels at a time
constexpr int64_t kPixels = 64;     // and so many pixels in a block

struct Moments {
  double count = 0, mean = 0, m2 = 0;
  void merge(double n, double other_mean, double other_m2) {
    if (n == 0) return;
    const double total = count + n, delta = other_mean - mean;
    m2 += other_m2 + delta * delta * (count * n / total);
    mean += delta * (n / total);
    count = total;
  }
  float inv_std(float eps) const {
    return static_cast<float>(1.0 / std::sqrt((count > 0 ? m2 / count : 0.0) + eps));
  }
};

Moments moments(const float* x, int64_t n) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Moments all;
  for (int64_t b = 0; b < n; b += kBlock) {
    const float* p = x + b;
    const int64_t count = std::min(kBlock, n - b);
    VF s0 = hn::Zero(d), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * lanes <= count; i += 2 * lanes) {
      s0 = hn::Add(s0, hn::LoadU(d, p + i));
      s1 = hn::Add(s1, hn::LoadU(d, p + i + lanes));
    }
    for (; i < count; i += lanes)
      s0 = hn::Add(s0, load_n(d, p + i, static_cast<size_t>(std::min(lanes, count - i))));
    const float mean = hsum(hn::Add(s0, s1)) / static_cast<float>(count);
    const VF m = hn::Set(d, mean);
    s0 = s1 = hn::Zero(d);
    for (i = 0; i + 2 * lanes <= count; i += 2 * lanes) {
      const VF c0 = hn::Sub(hn::LoadU(d, p + i), m), c1 = hn::Sub(hn::LoadU(d, p + i + lanes), m);
      s0 = hn::MulAdd(c0, c0, s0);
      s1 = hn::MulAdd(c1, c1, s1);
    }
    for (; i < count; i += lanes) {
      const size_t rest = static_cast<size_t>(std::min(lanes, count - i));
      const VF c = hn::Sub(load_n(d, p + i, rest), m);
      s0 = hn::IfThenElse(hn::FirstN(d, rest), hn::MulAdd(c, c, s0), s0);
    }
    all.merge(static_cast<double>(count), mean, hsum(hn::Add(s0, s1)));
  }
  return all;
}

// Per-channel mean and m2 of [pixels, stride] for n <= kChannels adjacent channels.
void channel_moments(const float* x, int64_t pixels, int64_t stride, int64_t n, float* mean,
                     float* m2) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < n; c += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - c));
    VF all_mean = hn::Zero(d), all_m2 = hn::Zero(d);
    for (int64_t b = 0; b < pixels; b += kPixels) {
      const int64_t count = std::min(kPixels, pixels - b);
      const float* p = x + b * stride + c;
      VF s = hn::Zero(d);
      for (int64_t i = 0; i < count; ++i) s = hn::Add(s, load_n(d, p + i * stride, rest));
      const VF m = hn::Mul(s, hn::Set(d, 1.0f / static_cast<float>(count)));
      VF q = hn::Zero(d);
      for (int64_t i = 0; i < count; ++i) {
        const VF e = hn::Sub(load_n(d, p + i * stride, rest), m);
        q = hn::MulAdd(e, e, q);
      }
      const float total = static_cast<float>(b + count);
      const VF delta = hn::Sub(m, all_mean);
      const VF w = hn::Set(d, static_cast<float>(count) / total);
      q = hn::MulAdd(hn::Mul(delta, delta), hn::Mul(w, hn::Set(d, static_cast<float>(b))), q);
      all_m2 = hn::Add(all_m2, q);
      all_mean = hn::MulAdd(delta, w, all_mean);
    }
    store_n(all_mean, d, mean + c, rest);
    store_n(all_m2, d, m2 + c, rest);
  }
}

// y = (x - mean) * scale + shift, scalars.
void apply(const float* x, float* y, int64_t n, float mean, float scale, float shift) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF m = hn::Set(d, mean), s = hn::Set(d, scale), b = hn::Set(d, shift);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::MulAdd(hn::Sub(hn::LoadU(d, x + i), m), s, b), d, y + i);
  if (i < n) {
    const size_t rest = static_cast<size_t>(n - i);
    store_n(hn::MulAdd(hn::Sub(load_n(d, x + i, rest), m), s, b), d, y + i, rest);
  }
}
void apply_each(const float* x, float* y, int64_t n, const float* mean, const float* scale,
                const float* shift) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    const VF v = hn::Sub(load_n(d, x + i, rest), load_n(d, mean + i, rest));
    store_n(hn::MulAdd(v, load_n(d, scale + i, rest), load_n(d, shift + i, rest)), d, y + i, rest);
  }
}

void first(const GroupNorm& p, UnaryFn act, const float* x, float* y, int64_t begin, int64_t end) {
  const int64_t per_group = p.channels / p.groups;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t g = item % p.groups, base = item * per_group * p.spatial;
    const Moments m = moments(x + base, per_group * p.spatial);
    const float mean = static_cast<float>(m.mean), inv = m.inv_std(p.eps);
    for (int64_t k = 0; k < per_group; ++k) {
      const int64_t c = g * per_group + k;
      const float scale = p.gamma != nullptr ? p.gamma[c] * inv : inv;
      const float shift = p.beta != nullptr ? p.beta[c] : 0.0f;
      for (int64_t i = 0; i < p.spatial; i += kBlock) {
        const int64_t at = base + k * p.spatial + i, n = std::min(kBlock, p.spatial - i);
        apply(x + at, y + at, n, mean, scale, shift);
        if (act != nullptr) act(y + at, y + at, n, p.act_a, p.act_b);
      }
    }
  }
}

// Groups [g0, g1) of one image, channels last: all of them in one sweep where they are narrow.
void last(const GroupNorm& p, UnaryFn act, const float* x, float* y, int64_t g0, int64_t g1) {
  const int64_t per_group = p.channels / p.groups;
  alignas(64) float mean[kChannels], m2[kChannels], shift[kChannels];
  const int64_t joint = per_group >= kChannels ? 1 : kChannels / per_group;
  for (int64_t g = g0; g < g1; g += joint) {
    const int64_t groups = std::min(joint, g1 - g), channels = groups * per_group;
    const int64_t c0 = g * per_group;
    // A group wider than a chunk needs its moments over all chunks before the first is written.
    Moments wide;
    const bool one = channels > kChannels;
    for (int64_t c = 0; one && c < channels; c += kChannels) {
      const int64_t n = std::min(kChannels, channels - c);
      channel_moments(x + c0 + c, p.spatial, p.channels, n, mean, m2);
      for (int64_t i = 0; i < n; ++i) wide.merge(static_cast<double>(p.spatial), mean[i], m2[i]);
    }
    for (int64_t c = 0; c < channels; c += kChannels) {
      const int64_t n = std::min(kChannels, channels - c);
      if (!one) channel_moments(x + c0, p.spatial, p.channels, n, mean, m2);
      for (int64_t k = 0; k < n; k += per_group) {
        Moments m = wide;
        const int64_t width = std::min(per_group, n - k);
        for (int64_t i = k; !one && i < k + width; ++i)
          m.merge(static_cast<double>(p.spatial), mean[i], m2[i]);
        const float inv = m.inv_std(p.eps);
        for (int64_t i = k; i < k + width; ++i) {
          const int64_t channel = c0 + c + i;
          mean[i] = static_cast<float>(m.mean);
          m2[i] = p.gamma != nullptr ? p.gamma[channel] * inv : inv;  // now the scale
          shift[i] = p.beta != nullptr ? p.beta[channel] : 0.0f;
        }
      }
      for (int64_t pixel = 0; pixel < p.spatial; ++pixel) {
        const int64_t at = pixel * p.channels + c0 + c;
        apply_each(x + at, y + at, n, mean, m2, shift);
        if (act != nullptr) act(y + at, y + at, n, p.act_a, p.act_b);
      }
    }
  }
}

void group_norm(const GroupNorm& p, UnaryFn act, const float* x, float* y, int64_t begin,
                int64_t end) {
  if (!p.channels_last) return first(p, act, x, y, begin, end);
  while (begin < end) {
    const int64_t image = begin / p.groups, g0 = begin % p.groups;
    const int64_t count = std::min(end - begin, p.groups - g0);
    const int64_t base = image * p.channels * p.spatial;
    last(p, act, x + base, y + base, g0, g0 + count);
    begin += count;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(group_norm);

void group_norm_f32(const GroupNorm& p, const float* x, float* y, int64_t begin, int64_t end) {
  const UnaryFn act = p.act == Unary::kCopy ? nullptr : unary_fn(p.act);
  HWY_DYNAMIC_DISPATCH(group_norm)(p, act, x, y, begin, end);
}

}  // namespace onnxtool::simd
#endif
