// SPDX-License-Identifier: Apache-2.0
// cuBLASLt is column-major: row-major C = A B is its C^T = B^T A^T.
#include "exec/cuda/blas.h"

#include <cublasLt.h>

#include <mutex>

namespace onnxtool::cuda {
namespace {

constexpr int64_t kWorkspace = int64_t{32} << 20;

Status check_blas(cublasStatus_t code, const char* what) {
  if (code == CUBLAS_STATUS_SUCCESS) return ok();
  const std::string text = format("cuBLASLt: {}: {}", what, cublasLtGetStatusString(code));
  return code == CUBLAS_STATUS_NOT_SUPPORTED || code == CUBLAS_STATUS_ALLOC_FAILED
             ? unsupported(text)
             : internal_error(text);
}

Result<cublasLtHandle_t> handle() {  // one a process; its calls are thread-safe
  static std::mutex mutex;
  static cublasLtHandle_t made = nullptr;
  std::lock_guard lock(mutex);
  if (!made) TRY(check_blas(cublasLtCreate(&made), "start"));
  return made;
}

cudaDataType_t data_type(DType t) {
  switch (t) {
    case DType::kFloat16: return CUDA_R_16F;
    case DType::kBfloat16: return CUDA_R_16BF;
    case DType::kInt8: return CUDA_R_8I;
    case DType::kInt32: return CUDA_R_32I;
    default: return CUDA_R_32F;
  }
}

class LtProduct final : public Blas {
 public:
  ~LtProduct() override {
    for (cublasLtMatrixLayout_t l : {a_, b_, c_})
      if (l) cublasLtMatrixLayoutDestroy(l);
  }

  Status make(const Product& p) {
    TRY_ASSIGN(handle_, handle());
    integer_ = p.in == DType::kInt8;
    alpha_ = p.alpha;
    bias_ = p.bias;
    const cublasComputeType_t compute = integer_ ? CUBLAS_COMPUTE_32I
                                        : p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                 : CUBLAS_COMPUTE_32F;
    TRY(check_blas(cublasLtMatmulDescInit(&op_, compute, integer_ ? CUDA_R_32I : CUDA_R_32F),
                   "a product"));
    const cublasOperation_t ta = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t tb = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    TRY(set(CUBLASLT_MATMUL_DESC_TRANSA, tb));
    TRY(set(CUBLASLT_MATMUL_DESC_TRANSB, ta));
    if (p.bias || p.relu)
      TRY(set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.bias && p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                                             : p.relu         ? CUBLASLT_EPILOGUE_RELU
                                                              : CUBLASLT_EPILOGUE_BIAS));
    if (p.bias) {
      TRY(set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(p.out)));
    }
    TRY(layout(&a_, p.in, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.lda, p.batch,
               p.batch_a));
    TRY(layout(&b_, p.in, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.ldb, p.batch,
               p.batch_b));
    TRY(layout(&c_, p.out, p.n, p.m, p.ldc, p.batch, p.batch_c));
    cublasLtMatmulPreference_t preference = nullptr;
    TRY(check_blas(cublasLtMatmulPreferenceCreate(&preference), "preferences"));
    const uint64_t most = kWorkspace;
    const auto alignment = static_cast<uint32_t>(p.alignment);
    int found = 0;
    cublasStatus_t code = cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
    for (auto what :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatmulPreferenceSetAttribute(preference, what, &alignment, sizeof alignment);
    if (code == CUBLAS_STATUS_SUCCESS)
      code = cublasLtMatmulAlgoGetHeuristic(handle_, &op_, b_, a_, c_, c_, preference, 1, &algo_,
                                            &found);
    cublasLtMatmulPreferenceDestroy(preference);
    TRY(check_blas(code, "choosing an algorithm"));
    if (found == 0) return unsupported("cuBLASLt has no algorithm for this product");
    workspace_bytes = static_cast<int64_t>(algo_.workspaceSize);
    return ok();
  }

  Status run(const RunArgs& args, const void* a, const void* b, void* c, const void* bias,
             void* workspace) const override {
    const int32_t one = 1, zero_i = 0;
    const float zero = 0;
    cublasLtMatmulDescOpaque_t op = op_;  // several threads may run this at once
    if (bias_)
      TRY(check_blas(cublasLtMatmulDescSetAttribute(&op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                    sizeof bias),
                     "the bias"));
    return check_blas(
        cublasLtMatmul(handle_, &op, integer_ ? static_cast<const void*>(&one) : &alpha_, b, b_, a,
                       a_, integer_ ? static_cast<const void*>(&zero_i) : &zero, c, c_, c, c_,
                       &algo_.algo, workspace, algo_.workspaceSize, stream_of(args)),
        "a product");
  }

 private:
  template <typename T>
  Status set(cublasLtMatmulDescAttributes_t what, T value) {
    return check_blas(cublasLtMatmulDescSetAttribute(&op_, what, &value, sizeof value),
                      "an attribute");
  }
  // A row-major matrix as stored: `cols` (dense) by `rows` in column-major words.
  static Status layout(cublasLtMatrixLayout_t* l, DType t, int64_t cols, int64_t rows, int64_t ld,
                       int64_t batch, int64_t stride) {
    TRY(check_blas(cublasLtMatrixLayoutCreate(l, data_type(t), static_cast<uint64_t>(cols),
                                              static_cast<uint64_t>(rows), ld),
                   "a matrix"));
    if (batch == 1) return ok();
    const auto count = static_cast<int32_t>(batch);
    TRY(check_blas(cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                    sizeof count),
                   "a batch"));
    return check_blas(cublasLtMatrixLayoutSetAttribute(
                          *l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
                      "a batch");
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDescOpaque_t op_{};
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
  cublasLtMatmulHeuristicResult_t algo_{};
  float alpha_ = 1;
  bool integer_ = false, bias_ = false;
};

}  // namespace

Result<std::unique_ptr<Blas>> make_blas(const Product& product) {
  auto made = std::make_unique<LtProduct>();
  TRY(made->make(product));
  return std::unique_ptr<Blas>(std::move(made));
}

}  // namespace onnxtool::cuda
