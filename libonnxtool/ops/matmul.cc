// SPDX-License-Identifier: Apache-2.0
// Matrix products: MatMul, MatMulInteger, QLinearMatMul, FusedMatMul.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/matmul_util.h"

namespace onnxtool {
namespace {

Status infer_product(InferContext& ctx, const Shape* a, const Shape* b, DType type) {
  TRY_ASSIGN(auto s, matmul_rule(a, b));
  return ctx.set(0, type, std::move(s));
}

Result<int64_t> macs_matmul(const InferContext& ctx) {
  return matmul_macs(ctx.shape(0), ctx.shape(1));
}

// ----------------------------------------------------------------------------------- MatMul
Status infer_matmul(InferContext& ctx) {
  return infer_product(ctx, ctx.shape(0), ctx.shape(1), ctx.dtype(0));
}

Status eval_matmul(EvalContext& ctx) {
  const Tensor &a = ctx.in(0), &b = ctx.in(1);
  TRY_ASSIGN(const MatMulPlan p, plan_matmul(ctx, a.dims(), b.dims()));
  TRY_ASSIGN(Tensor y, ctx.allocate(a.dtype(), p.out));
  const int64_t part = p.m * p.n;
  if (is_float(a.dtype())) {
    TRY_ASSIGN(const auto l, values_of(ctx, a));
    TRY_ASSIGN(const auto r, values_of(ctx, b));
    TRY(run_matmul(ctx, p, l, r, [&](size_t i, std::span<double> c) {
      store_f64(y, static_cast<int64_t>(i) * part, c);
    }));
  } else {
    TRY(reserve_work(ctx, {a.size()}));
    TRY(reserve_work(ctx, {b.size()}));
    TRY(reserve_work(ctx, {p.m, p.n}));
    std::vector<uint64_t> l(static_cast<size_t>(a.size())), r(static_cast<size_t>(b.size()));
    const auto signed_view = [](std::vector<uint64_t>& v) {
      return std::span(reinterpret_cast<int64_t*>(v.data()), v.size());
    };
    load_i64(a, 0, signed_view(l));
    load_i64(b, 0, signed_view(r));
    std::vector<uint64_t> c(static_cast<size_t>(part));
    for (size_t i = 0; i < p.count(); i++) {
      std::fill(c.begin(), c.end(), 0);
      gemm(p.m, p.n, p.k, l.data() + p.a_at[i] * p.m * p.k, p.k, r.data() + p.b_at[i] * p.k * p.n,
           p.n, c.data(), p.n);
      store_i64(y, static_cast<int64_t>(i) * part, signed_view(c));
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

// ----------------------------------------------------------------------------- MatMulInteger
Status infer_integer(InferContext& ctx) {
  return infer_product(ctx, ctx.shape(0), ctx.shape(1), DType::kInt32);
}

Status eval_integer(EvalContext& ctx) {
  TRY_ASSIGN(const MatMulPlan p, plan_matmul(ctx, ctx.in(0).dims(), ctx.in(1).dims()));
  TRY_ASSIGN(Tensor y, ctx.allocate(DType::kInt32, p.out));
  TRY(run_integer_matmul(ctx, p, {}, [&](size_t i, std::span<double> c) {
    store_f64(y, static_cast<int64_t>(i) * p.m * p.n, c);
  }));
  ctx.set(0, std::move(y));
  return ok();
}

// ----------------------------------------------------------------------------- QLinearMatMul
Status infer_qlinear(InferContext& ctx) {
  TRY(expect_scalar(ctx.shape(6), "scale of the output"));
  TRY(expect_scalar(ctx.shape(7), "zero point of the output"));
  return infer_product(ctx, ctx.shape(0), ctx.shape(3), ctx.dtype(7));
}
Result<int64_t> macs_qlinear(const InferContext& ctx) {
  return matmul_macs(ctx.shape(0), ctx.shape(3));
}

Status eval_qlinear(EvalContext& ctx) {
  const Dims &a = ctx.in(0).dims(), &b = ctx.in(3).dims();
  TRY_ASSIGN(const MatMulPlan p, plan_matmul(ctx, a, b));
  if (ctx.in(6).size() != 1 || ctx.in(7).size() != 1)
    return unsupported("scale and zero point of the output are not scalars");
  TRY_ASSIGN(const auto a_scale, per_row(ctx, ctx.in(1), a, "scale of the left operand"));
  TRY_ASSIGN(const auto b_scale, per_column(ctx, ctx.in(4), b, "scale of the right operand"));
  const DType type = ctx.in(7).dtype();
  TRY_ASSIGN(Tensor y, ctx.allocate(type, p.out));
  const float y_scale = static_cast<float>(ctx.in(6).f64_at(0));
  const int64_t zero = is_integer(type) ? ctx.in(7).i64_at(0) : 0;
  std::vector<int64_t> codes(static_cast<size_t>(p.n));
  const auto finish = [&](size_t i, std::span<double> c) {
    const double* row_scale = a_scale.data() + p.a_at[i] * p.m;
    const double* col_scale = b_scale.data() + p.b_at[i] * p.n;
    for (int64_t r = 0; r < p.m; r++) {
      double* row = c.data() + r * p.n;
      const int64_t to = (static_cast<int64_t>(i) * p.m + r) * p.n;
      for (int64_t j = 0; j < p.n; j++) {
        const float scale =
            static_cast<float>(row_scale[r]) * static_cast<float>(col_scale[j]) / y_scale;
        if (is_integer(type))
          codes[static_cast<size_t>(j)] = requantize(row[j], scale, zero, type);
        else
          row[j] *= scale;
      }
      if (is_integer(type))
        store_i64(y, to, codes);
      else
        store_f64(y, to, std::span(row, static_cast<size_t>(p.n)));
    }
  };
  TRY(run_integer_matmul(ctx, p, {0, 3, 2, 5}, finish));
  ctx.set(0, std::move(y));
  return ok();
}

// ------------------------------------------------------------------------------- FusedMatMul
// Order of the dims of an operand before the product: transBatch moves the first dim behind the
// batch, trans swaps the last two; vectors stay.
std::vector<size_t> operand_order(const Node& node, bool left, size_t rank) {
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; i++) order[i] = i;
  if (rank < 2) return order;
  if (node.attr_int(left ? "transBatchA" : "transBatchB", 0) != 0)
    std::rotate(order.begin(), order.begin() + 1, order.end() - 1);
  if (node.attr_int(left ? "transA" : "transB", 0) != 0)
    std::swap(order[rank - 2], order[rank - 1]);
  return order;
}

std::optional<Shape> ordered(const Node& node, bool left, const Shape* s) {
  if (s == nullptr) return std::nullopt;
  Shape r;
  for (size_t i : operand_order(node, left, s->size())) r.push_back((*s)[i]);
  return r;
}

Status infer_fused(InferContext& ctx) {
  const auto a = ordered(ctx.node(), true, ctx.shape(0));
  const auto b = ordered(ctx.node(), false, ctx.shape(1));
  return infer_product(ctx, a ? &*a : nullptr, b ? &*b : nullptr, ctx.dtype(0));
}

Result<int64_t> macs_fused(const InferContext& ctx) {
  const auto a = ordered(ctx.node(), true, ctx.shape(0));
  const auto b = ordered(ctx.node(), false, ctx.shape(1));
  return matmul_macs(a ? &*a : nullptr, b ? &*b : nullptr);
}

std::pair<std::vector<double>, Dims> ordered_values(const Node& node, bool left, const Tensor& t) {
  const size_t rank = t.dims().size();
  const std::vector<size_t> order = operand_order(node, left, rank);
  const std::vector<int64_t> strides = row_major_strides(t.dims());
  Dims dims(rank), idx(rank);
  for (size_t i = 0; i < rank; i++) dims[i] = t.dims()[order[i]];
  const std::vector<double> from = t.to_f64();
  std::vector<double> to(from.size());
  for (double& v : to) {
    int64_t at = 0;
    for (size_t i = 0; i < rank; i++) at += idx[i] * strides[order[i]];
    v = from[static_cast<size_t>(at)];
    onnxtool::advance(idx, dims);
  }
  return {std::move(to), std::move(dims)};
}

Status eval_fused(EvalContext& ctx) {
  for (size_t i : {0, 1}) TRY(reserve_work(ctx, {2, ctx.in(i).size()}));
  const auto [a, a_dims] = ordered_values(ctx.node(), true, ctx.in(0));
  const auto [b, b_dims] = ordered_values(ctx.node(), false, ctx.in(1));
  TRY_ASSIGN(const MatMulPlan p, plan_matmul(ctx, a_dims, b_dims));
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), p.out));
  const double alpha = ctx.node().attr_float("alpha", 1);
  TRY(run_matmul(ctx, p, a, b, [&](size_t i, std::span<double> c) {
    for (double& v : c) v *= alpha;
    store_f64(y, static_cast<int64_t>(i) * p.m * p.n, c);
  }));
  ctx.set(0, std::move(y));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    matmul, {.name = "MatMul", .infer = infer_matmul, .eval = eval_matmul, .macs = macs_matmul},
    {.name = "MatMulInteger", .infer = infer_integer, .eval = eval_integer, .macs = macs_matmul},
    {.name = "QLinearMatMul", .infer = infer_qlinear, .eval = eval_qlinear, .macs = macs_qlinear},
    {.name = "FusedMatMul",
     .domain = "com.microsoft",
     .infer = infer_fused,
     .eval = eval_fused,
     .macs = macs_fused},
    {.name = "TransposeMatMul",  // its old name
     .domain = "com.microsoft",
     .infer = infer_fused,
     .eval = eval_fused,
     .macs = macs_fused})
