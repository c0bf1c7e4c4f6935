// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/matmul_util.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Matrix {
  Shape batch;
  Dim rows = 1, cols = 1;
};

Result<Matrix> matrix_of(const Shape& s, bool left) {
  if (s.empty()) return invalid(format("{} operand is a scalar", left ? "left" : "right"));
  Matrix r;
  if (s.size() == 1) {
    (left ? r.cols : r.rows) = s[0];
    return r;
  }
  r.batch.assign(s.begin(), s.end() - 2);
  r.rows = s[s.size() - 2];
  r.cols = s.back();
  return r;
}

// Values of t for each element of `dims`, which t must broadcast to.
Result<std::vector<double>> expanded(const EvalContext& ctx, const Tensor& t, Dims from,
                                     const Dims& dims, std::string_view what) {
  TRY_ASSIGN(auto values, scratch(ctx, dims));
  if (t.size() == 1) from.clear();
  const auto joined = broadcast_dims(from, dims);
  if (!joined || *joined != dims)
    return invalid(
        format("{} has shape {}, {} expected", what, to_string(t.dims()), to_string(dims)));
  BroadcastRuns runs(dims, {from});
  while (runs.next())
    load_f64(t, runs.offset(0),
             std::span(values).subspan(static_cast<size_t>(runs.out()), runs.count()),
             runs.stride(0));
  return values;
}

}  // namespace

Result<std::optional<Shape>> matmul_rule(const Shape* a, const Shape* b) {
  Matrix l, r;
  if (a != nullptr) {
    TRY_ASSIGN(l, matrix_of(*a, true));
  }
  if (b != nullptr) {
    TRY_ASSIGN(r, matrix_of(*b, false));
  }
  if (a == nullptr || b == nullptr) return std::optional<Shape>();
  if (Dim::differ(l.cols, r.rows))
    return invalid(format("shapes {} and {} do not multiply: {} columns, {} rows", to_string(*a),
                          to_string(*b), l.cols.text(), r.rows.text()));
  TRY_ASSIGN(Shape out, broadcast_shapes(l.batch, r.batch));
  if (a->size() > 1) out.push_back(l.rows);
  if (b->size() > 1) out.push_back(r.cols);
  return std::optional(std::move(out));
}

Result<int64_t> matmul_macs(const Shape* a, const Shape* b) {
  TRY_ASSIGN(auto out, matmul_rule(a, b));
  if (!out) return unsupported("a shape is not known");
  out->push_back(a->back());
  return known_product(*out);
}

Result<MatMulPlan> plan_matmul(const EvalContext& ctx, const Dims& a, const Dims& b) {
  const Shape sa = to_shape(a), sb = to_shape(b);
  TRY_ASSIGN(const auto out, matmul_rule(&sa, &sb));
  MatMulPlan p;
  TRY_ASSIGN(p.out, known_dims(*out));
  p.k = a.back();
  if (a.size() > 1) p.m = a[a.size() - 2];
  if (b.size() > 1) p.n = b.back();
  const Dims ab(a.begin(), a.end() - static_cast<ptrdiff_t>(std::min<size_t>(a.size(), 2)));
  const Dims bb(b.begin(), b.end() - static_cast<ptrdiff_t>(std::min<size_t>(b.size(), 2)));
  TRY_ASSIGN(const Dims batch, broadcast_all({ab, bb}));
  // Empty products need no batch, and their batch may be of any size.
  const std::optional<int64_t> size = checked_product(p.out);
  const std::optional<int64_t> count = checked_product(batch);
  if (!size || !count) return unsupported(format("result {} is too large", to_string(p.out)));
  if (*size == 0) return p;
  TRY(reserve_work(ctx, {2, *count}));
  p.a_at.reserve(static_cast<size_t>(*count));
  p.b_at.reserve(static_cast<size_t>(*count));
  BroadcastWalk walk(batch, {ab, bb});
  for (int64_t i = 0; i < *count; i++, walk.next()) {
    p.a_at.push_back(walk.offset(0));
    p.b_at.push_back(walk.offset(1));
  }
  return p;
}

Status run_matmul(const EvalContext& ctx, const MatMulPlan& p, std::span<const double> a,
                  std::span<const double> b,
                  const std::function<void(size_t, std::span<double>)>& finish) {
  TRY_ASSIGN(auto c, scratch(ctx, {p.m, p.n}));
  for (size_t i = 0; i < p.count(); i++) {
    std::fill(c.begin(), c.end(), 0.0);
    gemm(p.m, p.n, p.k, a.data() + p.a_at[i] * p.m * p.k, p.k, b.data() + p.b_at[i] * p.k * p.n,
         p.n, c.data(), p.n);
    finish(i, c);
  }
  return ok();
}

Result<std::vector<double>> per_row(const EvalContext& ctx, const Tensor& t, const Dims& dims,
                                    std::string_view what) {
  Dims rows = dims, from = t.dims();
  rows.back() = 1;
  if (from.size() == 1 && dims.size() > 1) from.push_back(1);
  return expanded(ctx, t, std::move(from), rows, what);
}

Result<std::vector<double>> per_column(const EvalContext& ctx, const Tensor& t, const Dims& dims,
                                       std::string_view what) {
  Dims cols = dims;
  if (cols.size() == 1)
    cols[0] = 1;
  else
    cols[cols.size() - 2] = 1;
  return expanded(ctx, t, t.dims(), cols, what);
}

Status run_integer_matmul(const EvalContext& ctx, const MatMulPlan& p, IntegerInputs at,
                          const std::function<void(size_t, std::span<double>)>& finish) {
  TRY_ASSIGN(auto a, values_of(ctx, ctx.in(at.a)));
  TRY_ASSIGN(auto b, values_of(ctx, ctx.in(at.b)));
  if (ctx.has(at.a_zero)) {
    TRY_ASSIGN(const auto zero, per_row(ctx, ctx.in(at.a_zero), ctx.in(at.a).dims(),
                                        "zero point of the left operand"));
    for (size_t i = 0; i < a.size(); i++) a[i] -= zero[i / static_cast<size_t>(p.k)];
  }
  if (ctx.has(at.b_zero)) {
    TRY_ASSIGN(const auto zero, per_column(ctx, ctx.in(at.b_zero), ctx.in(at.b).dims(),
                                           "zero point of the right operand"));
    const size_t n = static_cast<size_t>(p.n), kn = static_cast<size_t>(p.k * p.n);
    for (size_t i = 0; i < b.size(); i++) b[i] -= zero[i / kn * n + i % n];
  }
  return run_matmul(ctx, p, a, b, finish);
}

}  // namespace onnxtool
