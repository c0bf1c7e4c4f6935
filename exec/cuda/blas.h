// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt: row-major C = alpha A B (+ bias a column), batched. Accumulation is
// in fp32 (int32 for int8).
#pragma once
#include <cstdint>
#include <memory>

#include "exec/cuda/gpu.h"
#include "exec/plan/memory.h"

namespace onnxtool::cuda {

struct Product {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;             // A is stored [K, M], B [N, K]
  int64_t lda = 0, ldb = 0, ldc = 0;                         // elements between rows as stored
  int64_t batch = 1, batch_a = 0, batch_b = 0, batch_c = 0;  // strides; 0: the same for all
  DType in = DType::kFloat, out = DType::kFloat;  // float, float16, bfloat16; int8 with int32
  float alpha = 1;
  bool bias = false;                    // one element of `out` a column
  bool relu = false;                    // after it
  bool tf32 = false;                    // float operands may be rounded to 11 bits
  int64_t alignment = kArenaAlignment;  // bytes that all addresses are multiples of

  // Some addresses lie `bytes` beyond what is aligned so.
  void moved_by(int64_t bytes) {
    while (bytes % alignment != 0) alignment /= 2;
  }
};

class Blas {
 public:
  virtual ~Blas() = default;
  virtual Status run(const RunArgs& args, const void* a, const void* b, void* c, const void* bias,
                     void* workspace) const = 0;
  int64_t workspace_bytes = 0;
};

// kUnsupported where the library has no way to do it.
Result<std::unique_ptr<Blas>> make_blas(const Product& product);

}  // namespace onnxtool::cuda
