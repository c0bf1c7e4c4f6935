// SPDX-License-Identifier: Apache-2.0
// Steps that are products of the library (exec/cuda/blas.h) with what follows them: bias and Relu
// in the library's own epilogue where nothing else comes, else all of it in one sweep.
#pragma once
#include <array>

#include "exec/cuda/apply.h"
#include "exec/cuda/blas.h"

namespace onnxtool::cuda {

// The sweep: adds beta C of Gemm or a bias, then the post operations. Products of half precision
// come to it in fp32, so that there is one rounding.
struct Finish {
  int64_t n = 0;
  DType type = DType::kFloat;
  bool add = false;
  float beta = 1;
  DType add_type = DType::kFloat;
  Nd add_nd;
  Post post;
  bool needed() const { return add || post.count > 0; }
};

struct ProductPlan {
  Product product;  // in, out and shapes are to be set, the rest is planned by plan_end()
  // Elements into A, B, C; several where the batch has no single stride.
  std::vector<std::array<int64_t, 3>> offsets = {{0, 0, 0}};
  int added = -1;  // input: bias or C
  Finish finish;
};
// Plans what follows; `added` and finish.beta are set. nullptr: done.
const char* plan_end(const StepInfo& s, ProductPlan* plan);

class ProductStep {
 public:
  static Result<ProductStep> make(ProductPlan plan, const PrepareContext& ctx);
  // Enqueues all; the result is output 0 of the step.
  Status run(const RunArgs& args, const void* a, const void* b, std::byte* scratch) const;
  int64_t scratch_bytes() const;

 private:
  ProductPlan plan_;
  std::shared_ptr<const Blas> blas_;
};

}  // namespace onnxtool::cuda
