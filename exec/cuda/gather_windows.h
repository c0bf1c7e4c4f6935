// SPDX-License-Identifier: Apache-2.0
// The left operand of an implicit GEMM (exec/cuda/tensor.cu): windows of an image as rows, gathered
// in pieces on the way into shared memory.
#pragma once
#include "exec/cuda/apply.h"
#include "exec/cuda/mma.h"
#include "exec/cuda/window.h"

namespace onnxtool::cuda {

inline constexpr int kPieces = 4;                                 // of a row in one stage
inline constexpr int kStageBytes = kPieces * int{sizeof(Piece)};  // of the depth
inline constexpr int kRowBytes =
    (kPieces + 1) * int{sizeof(Piece)};  // in shared memory: no conflicts
inline constexpr int kLoads = 2;         // pieces of each operand that a thread copies in a stage

struct Gemm {
  Window window;  // of a product: a row is a pixel
  DType type = DType::kFloat, out_type = DType::kFloat, bias_type = DType::kFloat;
  int groups = 1, in_each = 1, out_each = 1;  // channels of a group
  int depth = 1, steps = 1, parts = 1;        // in_each times the window; stages; parts of these
  bool pieces = false;                        // 16 bytes of the input lie together
  bool weight_zero = false;
  int32_t x_zero = 0;
  Post post;
  int64_t tiles(int m, int n) const {
    return (window.all_pixels() + m - 1) / m * ((out_each + n - 1) / n) * groups;
  }
};

// Where a thread reads pieces of the input from: its place in the depth, which goes on by one stage
// a time, and the windows of its rows.
template <typename T>
struct Reader {
  static constexpr int kPiece = sizeof(Piece) / sizeof(T), kStage = kStageBytes / sizeof(T);
  int channel, place[kSpatial];  // in the group, in the window
  int element;                   // of the whole depth
  int64_t base[kLoads];          // of the image, channel 0 of the group
  int begin[kLoads][kSpatial];   // of the window
  bool valid[kLoads];

  __device__ void start(const Gemm& c, int first_step, int piece) {
    element = first_step * kStage + piece * kPiece;
    channel = element % c.in_each;
    int k = element / c.in_each;
    for (int d = kSpatial; d-- > 1; k /= c.window.kernel[d]) place[d] = k % c.window.kernel[d];
    place[0] = k;
  }
  __device__ void set_row(const Gemm& c, int i, int64_t p, int group) {
    valid[i] = p < c.window.all_pixels();
    const Pixel pixel = pixel_of(c.window, valid[i] ? p : 0);
    base[i] =
        pixel.image * c.window.from.batch + int64_t{group} * c.in_each * c.window.from.channel;
    for (int d = 0; d < kSpatial; ++d)
      begin[i][d] = pixel.place[d] * c.window.stride[d] - c.window.begin[d];
  }
  __device__ static void step(const Gemm& c, int by, int& channel, int (&place)[kSpatial]) {
    channel += by;
    while (channel >= c.in_each) {
      channel -= c.in_each;
      if (++place[2] < c.window.kernel[2]) continue;
      place[2] = 0;
      if (++place[1] < c.window.kernel[1]) continue;
      place[1] = 0;
      ++place[0];
    }
  }
  __device__ void advance(const Gemm& c) {
    element += kStage;
    step(c, kStage, channel, place);
  }
  // -1: in the padding.
  __device__ int64_t source(const Gemm& c, int i, int ch, const int (&at)[kSpatial]) const {
    int64_t from = base[i] + ch * c.window.from.channel;
    for (int d = 0; d < kSpatial; ++d) {
      const int j = begin[i][d] + at[d] * c.window.dilation[d];
      if (j < 0 || j >= c.window.in[d]) return -1;
      from += j * c.window.from.at[d];
    }
    return from;
  }
  // `fill`: four bytes that mean 0 in the input.
  __device__ void read(const Gemm& c, const T* x, uint32_t fill, int i, Piece* to) const {
    if (!valid[i] || element >= c.depth) {
      *to = {{0, 0, 0, 0}};
    } else if (c.pieces) {
      const int64_t from = source(c, i, channel, place);
      if (from >= 0)
        copy_async(to, x + from);
      else
        *to = {{fill, fill, fill, fill}};
    } else {
      T piece[kPiece];
      int ch = channel, at[kSpatial] = {place[0], place[1], place[2]};
      for (int k = 0; k < kPiece; ++k, step(c, 1, ch, at)) {
        memset(&piece[k], 0, sizeof(T));
        if (element + k >= c.depth) continue;
        const int64_t from = source(c, i, ch, at);
        if (from >= 0)
          piece[k] = x[from];
        else
          memcpy(&piece[k], &fill, sizeof(T));
      }
      memcpy(to, piece, sizeof(Piece));
    }
  }
};

}  // namespace onnxtool::cuda
