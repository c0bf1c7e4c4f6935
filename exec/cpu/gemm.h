// SPDX-License-Identifier: Apache-2.0
// Packed fp32 matrix products for several kernels: epilogues from post operations, packed weights,
// and the split over threads.
#pragma once
#include <optional>

#include "exec/cpu/simd/gemm.h"
#include "exec/cpu/util.h"

namespace onnxtool::cpu {

// Post operations as one GEMM epilogue; operands are step inputs, SIZE_MAX: none.
struct EpilogueForm {
  float alpha = 1;
  size_t bias = SIZE_MAX;      // [N]
  size_t shift = SIZE_MAX;     // [N], added too
  size_t residual = SIZE_MAX;  // [M, N], rows as the output's
  simd::Residual use = simd::Residual::kNone;
  simd::Unary act = simd::Unary::kCopy;
  float a = 0, b = 0;
  int64_t chain = simd::kChain;
};
// Of convolutions over k products: in deep networks of ReLUs each layer makes the errors before it
// larger.
inline int64_t conv_chain(int64_t k) { return k <= 256 ? 16 : k <= 1024 ? 32 : 64; }

// nullopt: not of that form. `channel_axis`: the output axis that N is; dims are the output's.
std::optional<EpilogueForm> epilogue_of(const StepInfo& s, size_t channel_axis, bool has_bias);

// The epilogue with this run's pointers.
simd::Epilogue bind_epilogue(const EpilogueForm& f, const RunArgs& args, int64_t ldr);

// B (constant input `index`, [K, N] with row stride ldb, or stored [N, K]) packed and cached.
Result<std::shared_ptr<const std::byte>> pack_b(const StepInfo& s, size_t index, int64_t ldb,
                                                bool transposed, int64_t k, int64_t n,
                                                PrepareContext& ctx);

// c[M, N] = epilogue(a[M, K] b), split over threads by rows and panels.
void parallel_gemm(const float* a, int64_t lda, const float* packed, float* c, int64_t ldc,
                   int64_t m, int64_t k, int64_t n, const simd::Epilogue& e);

}  // namespace onnxtool::cpu
