// SPDX-License-Identifier: Apache-2.0
// fp32 GEMM with weights of 4 or 8 bits, one scale and zero point for each block along K in each
// column: C = epilogue(A ((code - zero) * scale)). Weights are turned into floats panel by panel,
// in cache, and never lie in memory as such. Same sums as a GEMM of the dequantized weights.
#pragma once

#include "exec/cpu/simd/gemm.h"

namespace onnxtool::simd {

// Panels of gemm_nr() columns. codes: [panel][k][gemm_nr() * bits / 8]; 4 bits: byte i of a row
// holds column i (low) and column i + gemm_nr() / 2 (high). scale, zero: [panel][group][gemm_nr()].
struct BlockWeights {
  const uint8_t* codes = nullptr;
  const float* scale = nullptr;
  const float* zero = nullptr;
  int64_t k = 0, n = 0, block = 0;
  int bits = 4;
  int64_t groups() const { return (k + block - 1) / block; }
};

// Rows [0, m), the columns of panels [panel0, panel1).
void block_gemm_f32(const float* a, int64_t lda, const BlockWeights& w, float* c, int64_t ldc,
                    int64_t m, int64_t panel0, int64_t panel1, const Epilogue& e = {});

}  // namespace onnxtool::simd
