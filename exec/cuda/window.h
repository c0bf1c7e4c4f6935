// SPDX-License-Identifier: Apache-2.0
// What kernels with windows know of images: the spatial dims of both, the window that slides over
// the input, and how images lie in memory. One to three spatial dims as three, those left out 1.
#pragma once
#include "exec/cuda/gpu.h"
#include "exec/plan/geometry.h"

namespace onnxtool::cuda {

inline constexpr int kSpatial = 3;

struct Image {  // strides in elements
  int64_t batch = 0, channel = 0, at[kSpatial] = {};
};

struct Window {
  int in[kSpatial] = {1, 1, 1}, out[kSpatial] = {1, 1, 1}, kernel[kSpatial] = {1, 1, 1};
  int stride[kSpatial] = {1, 1, 1}, dilation[kSpatial] = {1, 1, 1};
  int begin[kSpatial] = {}, end[kSpatial] = {};  // padding
  int size = 1;                                  // places of the window
  int pixels = 1;                                // of an output image
  int64_t images = 1;
  Image from, to;

  __host__ __device__ int64_t all_pixels() const { return images * pixels; }
};

// Where the window of a pixel of the output begins in the input.
struct Pixel {
  int64_t image;
  int place[kSpatial];  // in the output
};
__device__ inline Pixel pixel_of(const Window& w, int64_t p) {
  Pixel r;
  r.image = p / w.pixels;
  int rest = static_cast<int>(p - r.image * w.pixels);
  for (int d = kSpatial; d-- > 0; rest /= w.out[d]) r.place[d] = rest % w.out[d];
  return r;
}
__device__ inline int64_t place_in(const Image& i, const Pixel& p, int64_t channel) {
  int64_t at = p.image * i.batch + channel * i.channel;
  for (int d = 0; d < kSpatial; ++d) at += p.place[d] * i.at[d];
  return at;
}
// The element of channel 0 at place k of the pixel's window; -1 in the padding.
__device__ inline int64_t source_of(const Window& w, const Pixel& p, int k) {
  int64_t at = p.image * w.from.batch;
  for (int d = kSpatial; d-- > 0; k /= w.kernel[d]) {
    const int i = p.place[d] * w.stride[d] - w.begin[d] + k % w.kernel[d] * w.dilation[d];
    if (i < 0 || i >= w.in[d]) return -1;
    at += i * w.from.at[d];
  }
  return at;
}

Image image_of(const Operand& o);
// False: more spatial dims than three, or sizes beyond 32 bits.
bool plan_window(const StepInfo& s, const Geometry& g, Window* w);

}  // namespace onnxtool::cuda
