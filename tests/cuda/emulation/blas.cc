// SPDX-License-Identifier: Apache-2.0
// Products as exec/cuda/blas.h defines them, without cuBLASLt.
#include "exec/cuda/blas.h"

#include <cstdio>
#include <cstdlib>

#include "exec/cuda/types.h"

namespace onnxtool::cuda {
namespace {

class Plain final : public Blas {
 public:
  explicit Plain(const Product& p) : p_(p) { workspace_bytes = 256; }
  Status run(const RunArgs& args, const void* a, const void* b, void* c, const void* bias,
             void* workspace) const override {
    const Product& p = p_;
    for (const void* at : {a, b, static_cast<const void*>(c)})
      if (reinterpret_cast<uintptr_t>(at) % static_cast<uintptr_t>(p.alignment)) {
        std::fputs("an operand of a product is not aligned as promised\n", stderr);
        std::abort();
      }
    emulated_work(stream_of(args), [=] {
      std::memset(workspace, 0xff, 256);
      for (int64_t i = 0; i < p.batch * p.m * p.n; ++i) {
        const int64_t z = i / (p.m * p.n), row = i / p.n % p.m, col = i % p.n;
        double sum = 0;
        for (int64_t k = 0; k < p.k; ++k) {
          const int64_t at = z * p.batch_a + (p.transpose_a ? k * p.lda + row : row * p.lda + k);
          const int64_t bt = z * p.batch_b + (p.transpose_b ? col * p.ldb + k : k * p.ldb + col);
          sum += double{load_as_float(a, at, p.in)} * load_as_float(b, bt, p.in);
        }
        sum *= p.alpha;
        if (p.bias) sum += load_as_float(bias, col, p.out);
        if (p.relu && sum < 0) sum = 0;
        const int64_t ct = z * p.batch_c + row * p.ldc + col;
        if (p.out == DType::kInt32)
          static_cast<int32_t*>(c)[ct] = static_cast<int32_t>(static_cast<int64_t>(sum));
        else
          store_float(c, ct, p.out, static_cast<float>(sum));
      }
    });
    return ok();
  }

 private:
  Product p_;
};

}  // namespace

Result<std::unique_ptr<Blas>> make_blas(const Product& product) {
  return std::unique_ptr<Blas>(std::make_unique<Plain>(product));
}

}  // namespace onnxtool::cuda
