// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/windows.h"

#include <algorithm>
#include <cstring>

#include "exec/plan/geometry.h"

namespace onnxtool::cpu {
namespace {

// n bytes, where possible in whole pieces that may write (within kWindowSlack) and read too much.
inline void copy_run(std::byte* to, const std::byte* from, int64_t n, const std::byte* end) {
  constexpr int64_t kPiece = kWindowSlack;
  if (n > 4 * kPiece || end - from < n + kPiece) {
    std::memcpy(to, from, static_cast<size_t>(n));
    return;
  }
  for (int64_t i = 0; i < n; i += kPiece) std::memcpy(to + i, from + i, kPiece);
}

template <typename T>
void turn(const Windows& w, const std::byte* from, int64_t first, int64_t last, std::byte* to) {
  const int64_t taps = w.taps(), k = taps * w.channels;
  for (int64_t n = first; n < last; ++n)
    for (int64_t c = 0; c < w.channels; ++c)
      for (int64_t t = 0; t < taps; ++t)
        std::memcpy(to + ((n - first) * k + t * w.channels + c) * sizeof(T),
                    from + (n * k + c * taps + t) * sizeof(T), sizeof(T));
}

}  // namespace

std::optional<Windows> windows_of(const StepInfo& s) {
  const auto g = conv_geometry(s);
  if (!g || g->rank() > 3) return std::nullopt;
  Windows w;
  const size_t skip = 3 - g->rank();
  for (size_t i = 0; i < 3; ++i) {
    const bool none = i < skip;
    w.in[i] = none ? 1 : g->in[i - skip];
    w.out[i] = none ? 1 : g->out[i - skip];
    w.kernel[i] = none ? 1 : g->kernel[i - skip];
    w.strides[i] = none ? 1 : g->strides[i - skip];
    w.dilations[i] = none ? 1 : g->dilations[i - skip];
    w.begin[i] = none ? 0 : g->begin[i - skip];
    w.point =
        w.point && w.kernel[i] == 1 && w.strides[i] == 1 && w.begin[i] == 0 && w.in[i] == w.out[i];
  }
  w.images = s.in[0].dims[0];
  w.group = g->group;
  w.channels = s.in[1].dims[1];
  w.outputs = s.out[0].dims[1];
  return w;
}

void gather_windows(const Windows& w, const std::byte* x, int64_t size, int fill_byte, int64_t g,
                    int64_t m0, int64_t m1, std::byte* to, int64_t ld) {
  const int64_t channels = w.channels * size, all = channels * w.group;
  const std::byte* const end = x + w.images * w.in[0] * w.in[1] * w.in[2] * all;
  const auto fill = [fill_byte](std::byte* p, int64_t n) {
    if (n > 0) std::memset(p, fill_byte, static_cast<size_t>(n));
  };
  // A row of taps is one run of bytes where they are neighbours.
  const bool run = w.group == 1 && (w.dilations[2] == 1 || w.kernel[2] == 1);
  const int64_t bytes = w.kernel[2] * channels;
  for (int64_t m = m0; m < m1; ++m, to += ld) {
    const int64_t ox = m % w.out[2], oy = m / w.out[2] % w.out[1],
                  oz = m / w.out[2] / w.out[1] % w.out[0],
                  image = m / w.out[2] / w.out[1] / w.out[0];
    const int64_t left = ox * w.strides[2] - w.begin[2];
    const int64_t first = std::clamp<int64_t>(-left, 0, w.kernel[2]),
                  last = std::clamp<int64_t>(w.in[2] - left, first, w.kernel[2]);
    std::byte* at = to;
    for (int64_t kz = 0; kz < w.kernel[0]; ++kz)
      for (int64_t ky = 0; ky < w.kernel[1]; ++ky, at += bytes) {
        const int64_t z = oz * w.strides[0] - w.begin[0] + kz * w.dilations[0],
                      y = oy * w.strides[1] - w.begin[1] + ky * w.dilations[1];
        if (z < 0 || z >= w.in[0] || y < 0 || y >= w.in[1]) {
          fill(at, bytes);
          continue;
        }
        const std::byte* row = x + ((image * w.in[0] + z) * w.in[1] + y) * w.in[2] * all;
        if (run) {
          fill(at, first * all);
          if (last > first)
            copy_run(at + first * all, row + (left + first) * all, (last - first) * all, end);
          fill(at + last * all, (w.kernel[2] - last) * all);
          continue;
        }
        for (int64_t kx = 0; kx < w.kernel[2]; ++kx) {
          const int64_t px = left + kx * w.dilations[2];
          std::byte* tap = at + kx * channels;
          if (px < 0 || px >= w.in[2])
            fill(tap, channels);
          else
            copy_run(tap, row + px * all + g * channels, channels, end);
        }
      }
  }
}

void turn_weights(const Windows& w, const std::byte* from, int64_t size, int64_t first,
                  int64_t last, std::byte* to) {
  if (size == 1)
    turn<uint8_t>(w, from, first, last, to);
  else
    turn<uint32_t>(w, from, first, last, to);
}

}  // namespace onnxtool::cpu
