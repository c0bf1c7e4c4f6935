// SPDX-License-Identifier: Apache-2.0
// fp32 GEMM: C[M,N] = epilogue(A[M,K] B[K,N]), A row-major, B packed once into column panels of
// gemm_nr() columns (or row-major as it is). FMA accumulation in fp32, in chains of products whose
// sums are added: error <= (chain + K / chain) * 2^-24 of sum |a b|, typically its root. C aliases
// no input.
// Blocking after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
#pragma once

#include <cstdint>

#include "exec/cpu/simd/eltwise.h"

namespace onnxtool::simd {

enum class Residual : uint8_t { kNone, kAddBeforeAct, kAddAfterAct, kMulAfterAct };

inline constexpr int64_t kChain = 128;

// c = act(alpha * acc + bias_n[n] + shift_n[n] + bias_m[m] (+ residual)) (+ or * residual)
struct Epilogue {
  float alpha = 1;
  const float* bias_n = nullptr;   // [N] or null
  const float* shift_n = nullptr;  // [N] or null
  const float* bias_m = nullptr;   // [M] or null
  const float* residual = nullptr;
  int64_t ldr = 0;
  Residual residual_use = Residual::kNone;
  Unary act = Unary::kCopy;
  float act_a = 0, act_b = 0;
  int64_t chain = kChain;  // an even number; 64 costs 2 % of the time, 32: 4 %, 16: 8 %
};

int gemm_mr();  // rows of the register tile: split M at multiples of it
int gemm_nr();  // columns of a packed panel
inline int64_t gemm_panels(int64_t n, int64_t nr) { return (n + nr - 1) / nr; }

// Floats that pack_b_f32 writes for a whole B (panels are padded with zeros); 64-byte alignment of
// the buffer is worth having.
int64_t packed_b_floats(int64_t k, int64_t n);

// Packs panels [panel0, panel1) of B. transposed = false: B is [K, N] with row stride ldb;
// true: B is stored as [N, K] with row stride ldb.
void pack_b_f32(const float* b, int64_t ldb, bool transposed, int64_t k, int64_t n, float* packed,
                int64_t panel0, int64_t panel1);

// Rows [m0, m1) and panels [panel0, panel1) of C. Pointers are to the whole matrices. k = 0 is
// allowed (acc = 0).
void gemm_f32(const float* a, int64_t lda, const float* packed, float* c, int64_t ldc, int64_t k,
              int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1,
              const Epilogue& e = {});

// Rows [0, m) with A in `pieces` runs of `piece` floats a row (k = pieces * piece): that of row r
// and piece i begins at rows[i * stride + r].
void gemm_pieces_f32(const float* const* rows, int64_t stride, int64_t pieces, int64_t piece,
                     const float* packed, float* c, int64_t ldc, int64_t n, int64_t m,
                     int64_t panel0, int64_t panel1, const Epilogue& e = {});

// The same with B row-major and unpacked, columns [n0, n1) (a 1x1 convolution in NCHW, or B used
// once). Split N at multiples of gemm_nr().
void gemm_rowmajor_f32(const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                       int64_t ldc, int64_t k, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const Epilogue& e = {});

// y[n] = sum_k a[k] * bt[n, k]: B stored transposed [N, K] and unpacked, rows n0..n1 of it.
// For one-row products with weights that are not worth packing.
void gemv_t_f32(const float* a, const float* bt, int64_t ldb, float* y, int64_t k, int64_t n0,
                int64_t n1, const Epilogue& e = {});

}  // namespace onnxtool::simd
