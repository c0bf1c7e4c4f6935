// SPDX-License-Identifier: Apache-2.0
// 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3), fp32, channels last:
// tiles of 6x6 pixels are transformed, multiplied point by point (36 products of matrices), and
// transformed back to 4x4 outputs, with 2.25 multiplications an output instead of 9. Source: Lavin
// and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); the points are 0,
// +-sqrt(1/2), +-sqrt(2) and infinity, whose error is a quarter of that with 0, +-1, +-2 (Barabasz
// et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2018): about 1.5
// times that of a direct fp32 sum. A tile whose result is not finite (an infinity would reach all
// its outputs) is computed directly instead.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/gemm.h"

namespace onnxtool::simd {

inline constexpr int kWinogradPoints = 36;

struct Winograd {
  int64_t n = 1, h = 0, w = 0, c = 0;  // input [n, h, w, c]
  int64_t oh = 0, ow = 0, k = 0;       // output [n, oh, ow, k]
  int64_t top = 0, left = 0;           // padding before
  int64_t block = 0;                   // tiles that the buffers below hold
  int64_t tiles_y() const { return (oh + 3) / 4; }
  int64_t tiles_x() const { return (ow + 3) / 4; }
  int64_t tiles() const { return n * tiles_y() * tiles_x(); }
  // Floats of the transformed input (v) and of the products (m): a matrix [block, c] or [block, k]
  // a point, one line of cache apart.
  int64_t v_plane() const { return block * c + 16; }
  int64_t m_plane() const { return block * k + 16; }
};

// Weights [k, c, 3, 3] of any alignment as transformed, packed matrices: panels [panel0, panel1) of
// gemm_panels(k, gemm_nr()), all points.
int64_t winograd_packed_floats(int64_t c, int64_t k);
void winograd_pack_f32(const void* weights, int64_t c, int64_t k, float* packed, int64_t panel0,
                       int64_t panel1);

// Tiles [t0, t1) of a block whose first tile is `first`; zeros: c of them.
void winograd_input_f32(const Winograd& p, const float* x, const float* zeros, int64_t first,
                        int64_t t0, int64_t t1, float* v);
// Units [u0, u1) of points x panels, for `tiles` tiles.
void winograd_products_f32(const Winograd& p, const float* v, const float* packed, float* m,
                           int64_t tiles, int64_t u0, int64_t u1);
// The weights as they were are read for tiles that are not finite.
void winograd_output_f32(const Winograd& p, const float* m, const float* x, const float* zeros,
                         const void* weights, int64_t first, int64_t t0, int64_t t1, float* y,
                         const Epilogue& e);

}  // namespace onnxtool::simd
