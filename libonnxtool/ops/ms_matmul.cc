// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime's products with integer operands and float results: MatMulIntegerToFloat and
// DynamicQuantizeMatMul.
#include "libonnxtool/ops/dynamic_quantize.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/matmul_util.h"

namespace onnxtool {
namespace {

// Inputs of the two operators; SIZE_MAX: there is none.
struct Inputs {
  size_t a_scale, b_scale, a_zero, b_zero, bias;
};
constexpr Inputs kInteger = {2, 3, 4, 5, 6};
constexpr Inputs kDynamic = {SIZE_MAX, 2, SIZE_MAX, 3, 4};

Status infer_with(InferContext& ctx, const Inputs& at, DType type) {
  TRY_ASSIGN(auto s, matmul_rule(ctx.shape(0), ctx.shape(1)));
  const Shape* b = ctx.shape(1);
  if (b != nullptr && b->size() > 1)
    TRY(expect_vector(ctx.shape(at.bias), "bias", b->back(), "number of columns"));
  return ctx.set(0, type, std::move(s));
}
Status infer_integer(InferContext& ctx) { return infer_with(ctx, kInteger, ctx.dtype(2)); }
Status infer_dynamic(InferContext& ctx) { return infer_with(ctx, kDynamic, ctx.dtype(0)); }

Result<int64_t> macs(const InferContext& ctx) { return matmul_macs(ctx.shape(0), ctx.shape(1)); }

// Operand with zero point and scale applied.
Status dequantize(const EvalContext& ctx, std::vector<double>& v, size_t operand, size_t zero,
                  size_t scale, const MatMulPlan& p) {
  const Dims& dims = ctx.in(operand).dims();
  const size_t n = static_cast<size_t>(p.n), kn = static_cast<size_t>(p.k * p.n);
  for (size_t input : {zero, scale}) {
    if (!ctx.has(input)) continue;
    const bool row = operand == 0;
    TRY_ASSIGN(const auto values,
               row ? per_row(ctx, ctx.in(input), dims, "scale or zero point")
                   : per_column(ctx, ctx.in(input), dims, "scale or zero point"));
    for (size_t i = 0; i < v.size(); i++) {
      const double x = values[row ? i / static_cast<size_t>(p.k) : i / kn * n + i % n];
      v[i] = input == zero ? v[i] - x : v[i] * x;
    }
  }
  return ok();
}

Status eval_with(EvalContext& ctx, const Inputs& at, DType type) {
  TRY_ASSIGN(const MatMulPlan p, plan_matmul(ctx, ctx.in(0).dims(), ctx.in(1).dims()));
  TRY_ASSIGN(Tensor y, ctx.allocate(type, p.out));
  TRY_ASSIGN(auto a, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(auto b, values_of(ctx, ctx.in(1)));
  std::vector<double> bias;
  if (at.a_scale == SIZE_MAX) round_to_uint8_grid(a);
  TRY(dequantize(ctx, a, 0, at.a_zero, at.a_scale, p));
  TRY(dequantize(ctx, b, 1, at.b_zero, at.b_scale, p));
  if (ctx.has(at.bias)) {
    bias = ctx.in(at.bias).to_f64();
    if (bias.size() != static_cast<size_t>(p.n))
      return ctx.error("bias has another length than the number of columns");
  }
  TRY(run_matmul(ctx, p, a, b, [&](size_t i, std::span<double> c) {
    for (size_t k = 0; !bias.empty() && k < c.size(); k++) c[k] += bias[k % bias.size()];
    store_f64(y, static_cast<int64_t>(i) * p.m * p.n, c);
  }));
  ctx.set(0, std::move(y));
  return ok();
}
Status eval_integer(EvalContext& ctx) { return eval_with(ctx, kInteger, ctx.in(2).dtype()); }
Status eval_dynamic(EvalContext& ctx) { return eval_with(ctx, kDynamic, ctx.in(0).dtype()); }

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ms_matmul,
             {.name = "MatMulIntegerToFloat",
              .domain = "com.microsoft",
              .infer = infer_integer,
              .eval = eval_integer,
              .macs = macs},
             {.name = "DynamicQuantizeMatMul",
              .domain = "com.microsoft",
              .infer = infer_dynamic,
              .eval = eval_dynamic,
              .macs = macs})
