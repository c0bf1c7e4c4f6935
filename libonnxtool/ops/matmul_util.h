// SPDX-License-Identifier: Apache-2.0
// Matrix products with broadcast batch dims as numpy.matmul defines them: shape rule, sizes and
// the loop over the batch, for floats (in double) and integers (64 bits, wrapping).
#pragma once
#include <functional>

#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

// Shape of a * b; nullopt where a rank is not known. One-dimensional operands are a row (a) or a
// column (b) and leave no dim.
Result<std::optional<Shape>> matmul_rule(const Shape* a, const Shape* b);
Result<int64_t> matmul_macs(const Shape* a, const Shape* b);

struct MatMulPlan {
  Dims out;                         // result
  int64_t m = 1, k = 1, n = 1;      // one product
  std::vector<int64_t> a_at, b_at;  // which matrix of a and of b each product of the batch takes
  size_t count() const { return a_at.size(); }
};
Result<MatMulPlan> plan_matmul(const EvalContext& ctx, const Dims& a, const Dims& b);

// finish(index in the batch, m * n values)
Status run_matmul(const EvalContext& ctx, const MatMulPlan& p, std::span<const double> a,
                  std::span<const double> b,
                  const std::function<void(size_t, std::span<double>)>& finish);

// A parameter per row of `dims` (last dim 1; vectors are [rows, 1]) or per column (the dim before
// the last 1), one value for each matrix and row or column. Scalars are repeated.
Result<std::vector<double>> per_row(const EvalContext& ctx, const Tensor& t, const Dims& dims,
                                    std::string_view what);
Result<std::vector<double>> per_column(const EvalContext& ctx, const Tensor& t, const Dims& dims,
                                       std::string_view what);

// Integer operands less their zero points (SIZE_MAX: no such input), multiplied;
// finish(index in the batch, m * n sums).
struct IntegerInputs {
  size_t a = 0, b = 1, a_zero = 2, b_zero = 3;
};
Status run_integer_matmul(const EvalContext& ctx, const MatMulPlan& p, IntegerInputs at,
                          const std::function<void(size_t, std::span<double>)>& finish);

}  // namespace onnxtool
