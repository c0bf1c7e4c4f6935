// SPDX-License-Identifier: Apache-2.0
// Products of 8-bit integers with exact 32-bit sums: C[M,N] = end(A[M,K] B[K,N]), A unsigned bytes
// in rows, B signed bytes packed once into panels. Sums are exact as long as K * 255 * 128 fits in
// 32 bits; no instruction that saturates is used. Dot products of AVX-512 VNNI where the machine
// has them, else products of 16-bit pairs.
#pragma once

#include <cstdint>

#include "exec/cpu/simd/tables.h"

namespace onnxtool::simd {

// One operation on a tile of floats, before it is written. Operands lie as C does: row m starts at
// data + m * ld; ld = 0: one row for all.
struct TileOp {
  enum Kind : uint8_t {
    kUnary,   // fn(x; a, b)
    kClamp,   // to [a, b]
    kAffine,  // x * a + b
    kRound,   // clamp(round(x), a, b) * c
    kAddF32,  // x * c + data * a
    kMulF32,  // x * data * a
    kAddU8,   // x * c + (data * a + b)
    kAddS8
  } kind = kAffine;
  UnaryFn fn = nullptr;
  const void* data = nullptr;
  int64_t ld = 0;
  float a = 1, b = 0, c = 1;
};

enum class ByteOut : uint8_t { kF32, kU8, kS8 };

// Columns that rows of one value for each n (offset, weight_zero, scale, bias) hold beyond N, of
// any value.
inline constexpr int kByteSlack = 64;

// What becomes of the sums: x = (acc + offset[n] - row_sum[m] * weight_zero[n]) * scale[n] +
// bias[n], then the ops; bytes are then round(clamp(x * out_scale, low, high)) + zero, and at last
// looked up in the table.
struct ByteEnd {
  const int32_t* offset = nullptr;       // [N]
  const int32_t* weight_zero = nullptr;  // [N] or null
  const int32_t* row_sum = nullptr;      // [M], with weight_zero
  const float* scale = nullptr;          // [N]
  const float* bias = nullptr;           // [N]
  const TileOp* ops = nullptr;
  int count = 0;
  ByteOut out = ByteOut::kF32;
  float out_scale = 1, low = 0, high = 255;
  int32_t zero = 0;
  const uint8_t* table = nullptr;  // [256] by the bits of the result, or null
};

int byte_gemm_mr();  // rows of the register tile: split M at multiples of it
int byte_gemm_nr();  // columns of a packed panel
// A row of A is read in whole groups of four: bytes beyond k meet zeros of B.
inline int64_t byte_gemm_k(int64_t k) { return (k + 3) / 4 * 4; }
int64_t packed_bytes(int64_t k, int64_t n);

// Packs panels [panel0, panel1) of B; element (k, n) lies at b[k * k_stride + n * n_stride]. `flip`
// is XORed to each byte (0x80 moves unsigned codes down by 128).
void pack_bytes(const int8_t* b, int64_t k_stride, int64_t n_stride, uint8_t flip, int64_t k,
                int64_t n, int8_t* packed, int64_t panel0, int64_t panel1);

// Rows [m0, m1) and panels [panel0, panel1) of C, ldc in elements of its type. Pointers are to the
// whole matrices.
void byte_gemm(const uint8_t* a, int64_t lda, const int8_t* packed, void* c, int64_t ldc, int64_t k,
               int64_t n, int64_t m0, int64_t m1, int64_t panel0, int64_t panel1, const ByteEnd& e);

// sum[m] = sum_k a[m, k] for rows [m0, m1).
void byte_row_sums(const uint8_t* a, int64_t lda, int64_t k, int64_t m0, int64_t m1, int32_t* sum);

// y = table[x], n bytes; in place allowed.
void byte_table(const uint8_t* x, const uint8_t* table, uint8_t* y, int64_t n);
void byte_table_f32(const uint8_t* x, const float* table, float* y, int64_t n);

// y = x with the highest bit of each byte turned over; in place allowed.
void flip_bytes(const uint8_t* x, uint8_t* y, int64_t n);

bool have_vnni();  // AVX-512 VNNI: the kernels' own way to sum four products
// For tests and measurements: do without.
void use_vnni_for_test(bool use);

}  // namespace onnxtool::simd
