// SPDX-License-Identifier: Apache-2.0
// GEMM of floats with weights of 4 or 8 bits in blocks along K, where the model allows A to be
// rounded to 8 bits (com.microsoft.MatMulNBits, accuracy_level 4): each block of a row of A gets a
// scale of its own, blocks are multiplied as integers with exact sums. Needs AVX-512 VNNI
// (have_vnni() of byte_gemm.h).
#pragma once

#include "exec/cpu/simd/gemm.h"

namespace onnxtool::simd {

inline constexpr int kDotColumns = 32;  // of a panel

// Panels of kDotColumns columns; block is a multiple of 8. codes: [panel][k / 8][2][16 columns][4]
// bytes for eight k: 4 bits: byte i holds k + i (low) and k + 4 + i (high); 8 bits: k + 4..k + 7
// come as another such piece after. scale, shift (scale * zero): [panel][group][kDotColumns].
struct DotWeights {
  const uint8_t* codes = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  int64_t groups = 0, n = 0, block = 0;
  int bits = 4;
};

// Rows [m0, m1) of A [., k] as bytes q [., groups * block] with a scale for each block and, as that
// times their sum, what a zero point of 1 takes away: factors [., groups, 2].
void quantize_blocks(const float* a, int64_t lda, int64_t k, int64_t block, int64_t groups,
                     int64_t m0, int64_t m1, int8_t* q, float* factors);

// C rows [0, m), the columns of panels [panel0, panel1).
void block_dot_gemm(const int8_t* q, const float* factors, const DotWeights& w, float* c,
                    int64_t ldc, int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e);

}  // namespace onnxtool::simd
