// SPDX-License-Identifier: Apache-2.0
// Gemm and its fused and quantized relatives FusedGemm, QGemm.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  Dim m, k, n;
};

// Sizes of the product and check of the addend; nullptr shapes count as unknown matrices.
Result<Sizes> gemm_rule(const Node& node, const Shape* a, const Shape* b, const Shape* c) {
  TRY(expect_rank(a, "input 'A'", 2));
  TRY(expect_rank(b, "input 'B'", 2));
  const bool ta = node.attr_int("transA", 0) != 0, tb = node.attr_int("transB", 0) != 0;
  Sizes s;
  Dim k_of_b;
  if (a != nullptr) {
    s.m = (*a)[ta ? 1 : 0];
    s.k = (*a)[ta ? 0 : 1];
  }
  if (b != nullptr) {
    s.n = (*b)[tb ? 0 : 1];
    k_of_b = (*b)[tb ? 1 : 0];
  }
  TRY_ASSIGN(s.k, unify(ta ? "number of rows of 'A'" : "number of columns of 'A'", s.k,
                        tb ? "number of columns of 'B'" : "number of rows of 'B'", k_of_b));
  if (c == nullptr) return s;
  // Unidirectional: C repeats over the result and adds no dim to it.
  const Shape out = {s.m, s.n};
  bool fits = c->size() <= 2;
  for (size_t i = 0; fits && i < c->size(); i++) {
    const Dim d = (*c)[c->size() - 1 - i];
    fits = d.is_const(1) || !Dim::differ(d, out[1 - i]);
  }
  if (!fits)
    return invalid(
        format("input 'C' of shape {} does not broadcast to {}", to_string(*c), to_string(out)));
  return s;
}

Result<int64_t> gemm_macs(const Node& node, const Shape* a, const Shape* b) {
  TRY_ASSIGN(const Sizes s, gemm_rule(node, a, b, nullptr));
  return known_product(Shape{s.m, s.k, s.n});
}
Result<int64_t> macs(const InferContext& ctx) {
  return gemm_macs(ctx.node(), ctx.shape(0), ctx.shape(1));
}
Result<int64_t> macs_quantized(const InferContext& ctx) {
  return gemm_macs(ctx.node(), ctx.shape(0), ctx.shape(3));
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, gemm_rule(ctx.node(), ctx.shape(0), ctx.shape(1), ctx.shape(2)));
  return ctx.set(0, ctx.dtype(0), Shape{s.m, s.n});
}

struct Product {
  int64_t m = 0, k = 0, n = 0;
};
Result<Product> sizes_of(const EvalContext& ctx, size_t b, size_t c) {
  const InShapes in(ctx);
  TRY_ASSIGN(const Sizes s, gemm_rule(ctx.node(), in[0], in[b], in[c]));
  return Product{s.m.value(), s.k.value(), s.n.value()};
}

template <typename T>
std::vector<T> as_rows(const Tensor& t, std::vector<T> v, bool swap) {
  return swap ? transposed(std::span<const T>(v), t.dims()[0], t.dims()[1]) : v;
}

// Walks C along the rows of the result: f(row, values of C for the row).
template <typename F>
void for_rows(const Product& p, const Tensor& c, F f) {
  std::vector<double> row(static_cast<size_t>(p.n));
  const Dims& d = c.dims();
  const bool by_row = d.size() == 2 && d[0] != 1, by_col = !d.empty() && d.back() != 1;
  const int64_t pitch = by_col ? p.n : 1;
  for (int64_t i = 0; i < p.m; i++) {
    load_f64(c, by_row ? i * pitch : 0, row, by_col ? 1 : 0);
    f(i, row);
  }
}

// Integer types with unit factors: exact, wrapping.
Status eval_wrapping(EvalContext& ctx, const Product& p) {
  for (size_t i = 0; i < ctx.num_inputs(); i++)
    if (ctx.has(i)) TRY(reserve_work(ctx, {2, ctx.in(i).size()}));
  const auto load = [&](size_t i) {
    const std::vector<int64_t> v = ctx.in(i).to_i64();
    return std::vector<uint64_t>(v.begin(), v.end());
  };
  const auto a = as_rows(ctx.in(0), load(0), ctx.node().attr_int("transA", 0) != 0);
  const auto b = as_rows(ctx.in(1), load(1), ctx.node().attr_int("transB", 0) != 0);
  TRY(reserve_work(ctx, {p.m, p.n}));
  std::vector<uint64_t> y(static_cast<size_t>(p.m * p.n));
  gemm(p.m, p.n, p.k, a.data(), p.k, b.data(), p.n, y.data(), p.n);
  if (ctx.has(2)) {
    const std::vector<uint64_t> c = load(2);
    BroadcastWalk walk(Dims{p.m, p.n}, {ctx.in(2).dims()});
    for (size_t i = 0; i < y.size(); i++, walk.next())
      y[i] += c[static_cast<size_t>(walk.offset(0))];
  }
  return ctx.set_i64(0, ctx.in(0).dtype(), {p.m, p.n}, std::vector<int64_t>(y.begin(), y.end()));
}

Result<Activation> fused_activation(const Node& node) {
  const std::string_view name = node.attr_str("activation", "");
  if (name.empty()) return activation_of("none");
  TRY_ASSIGN(Activation a, activation_of(name));
  a.alpha = node.attr_float("activation_alpha", static_cast<float>(a.alpha));
  a.beta = node.attr_float("activation_beta", static_cast<float>(a.beta));
  return a;
}

Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const Product p, sizes_of(ctx, 1, 2));
  TRY_ASSIGN(const Activation act, fused_activation(ctx.node()));
  const double alpha = ctx.node().attr_float("alpha", 1), beta = ctx.node().attr_float("beta", 1);
  const bool fused = ctx.node().attr("activation") != nullptr;
  if (!is_float(ctx.in(0).dtype()) && alpha == 1 && beta == 1 && !fused)
    return eval_wrapping(ctx, p);
  TRY_ASSIGN(auto a, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(auto b, values_of(ctx, ctx.in(1)));
  a = as_rows(ctx.in(0), std::move(a), ctx.node().attr_int("transA", 0) != 0);
  b = as_rows(ctx.in(1), std::move(b), ctx.node().attr_int("transB", 0) != 0);
  TRY_ASSIGN(auto y, scratch(ctx, {p.m, p.n}));
  gemm(p.m, p.n, p.k, a.data(), p.k, b.data(), p.n, y.data(), p.n);
  for (double& v : y) v *= alpha;
  if (ctx.has(2) && beta != 0)
    for_rows(p, ctx.in(2), [&](int64_t i, const std::vector<double>& c) {
      for (int64_t j = 0; j < p.n; j++) y[static_cast<size_t>(i * p.n + j)] += beta * c[j];
    });
  for (double& v : y) v = act(v);
  return ctx.set_f64(0, ctx.in(0).dtype(), {p.m, p.n}, y);
}

// ------------------------------------------------------------------------------------ QGemm
Status check_quantized(const InShapes& in, Dim n) {
  TRY(expect_scalar(in[1], "scale of 'A'"));
  TRY(expect_scalar(in[2], "zero point of 'A'"));
  TRY(expect_scalar_or_vector(in[4], "scale of 'B'", n, "number of columns"));
  TRY(expect_scalar_or_vector(in[5], "zero point of 'B'", n, "number of columns"));
  TRY(expect_scalar(in[7], "scale of the output"));
  return expect_scalar(in[8], "zero point of the output");
}

Status infer_quantized(InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, gemm_rule(ctx.node(), ctx.shape(0), ctx.shape(3), ctx.shape(6)));
  TRY(check_quantized(InShapes(ctx), s.n));
  return ctx.set(0, ctx.has_input(8) ? ctx.dtype(8) : DType::kFloat, Shape{s.m, s.n});
}

Status eval_quantized(EvalContext& ctx) {
  TRY_ASSIGN(const Product p, sizes_of(ctx, 3, 6));
  TRY(check_quantized(InShapes(ctx), p.n));
  TRY_ASSIGN(auto a, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(auto b, values_of(ctx, ctx.in(3)));
  const double a_zero = ctx.in(2).f64_at(0);
  for (double& v : a) v -= a_zero;
  a = as_rows(ctx.in(0), std::move(a), ctx.node().attr_int("transA", 0) != 0);
  b = as_rows(ctx.in(3), std::move(b), ctx.node().attr_int("transB", 0) != 0);
  const std::vector<double> b_zero = ctx.in(5).to_f64(), b_scale = ctx.in(4).to_f64();
  const size_t n = static_cast<size_t>(p.n);
  for (size_t i = 0; i < b.size(); i++) b[i] -= b_zero[b_zero.size() == 1 ? 0 : i % n];
  TRY_ASSIGN(auto y, scratch(ctx, {p.m, p.n}));
  gemm(p.m, p.n, p.k, a.data(), p.k, b.data(), p.n, y.data(), p.n);
  if (ctx.has(6))
    for_rows(p, ctx.in(6), [&](int64_t i, const std::vector<double>& c) {
      for (int64_t j = 0; j < p.n; j++) y[static_cast<size_t>(i * p.n + j)] += c[j];
    });
  const float scale = ctx.node().attr_float("alpha", 1) * static_cast<float>(ctx.in(1).f64_at(0));
  const auto scale_of = [&](size_t i) {
    return scale * static_cast<float>(b_scale[b_scale.size() == 1 ? 0 : i % n]);
  };
  if (!ctx.has(8)) {
    for (size_t i = 0; i < y.size(); i++) y[i] = static_cast<float>(y[i]) * scale_of(i);
    return ctx.set_f64(0, DType::kFloat, {p.m, p.n}, y);
  }
  const DType type = ctx.in(8).dtype();
  const int64_t zero = ctx.in(8).i64_at(0);
  const float y_scale = ctx.has(7) ? static_cast<float>(ctx.in(7).f64_at(0)) : 1.0f;
  std::vector<int64_t> codes(y.size());
  for (size_t i = 0; i < y.size(); i++)
    codes[i] = requantize(y[i], scale_of(i) / y_scale, zero, type);
  return ctx.set_i64(0, type, {p.m, p.n}, codes);
}

// --------------------------------------------------------------------------------- versions
// 7: numpy-style broadcasting of C in place of the attribute `broadcast`.
Result<bool> broadcast_up(Model& m, NodeId n) {
  if (refers(m.node(n), "broadcast")) return false;
  m.remove_attr(n, "broadcast");
  return true;
}
Status broadcast_down(Model& m, NodeId n) {
  const ValueId c = m.node(n).input(2);
  const Type* type = c.valid() ? &m.value(c).type : nullptr;
  // The old form repeats C over leading dims only.
  if (type != nullptr && type->shape && type->shape->size() == 2 && (*type->shape)[1].is_const(1))
    return step_error("input 'C' is a column, which the older form cannot broadcast");
  m.set_attr(n, Attribute::of("broadcast", int64_t{1}));
  return ok();
}
// 11: C became optional.
Status optional_down(Model& m, NodeId n) {
  if (m.node(n).has_input(2)) return ok();
  const DType type = declared_dtype(m, m.node(n).input(0));
  if (type == DType::kUndefined)
    return step_error("input 'C' is required, and the element type of 'A' is not known");
  TRY_ASSIGN(Tensor zero, Tensor::allocate(type, {1}));
  set_constant_input(m, n, 2, "C", std::move(zero));
  return ok();
}
constexpr VersionStep kSteps[] = {{7, broadcast_up, broadcast_down},
                                  {11, step_same_up, optional_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    gemm, {.name = "Gemm", .infer = infer, .eval = eval, .steps = kSteps, .macs = macs},
    {.name = "FusedGemm", .domain = "com.microsoft", .infer = infer, .eval = eval, .macs = macs},
    {.name = "QGemm",
     .domain = "com.microsoft",
     .infer = infer_quantized,
     .eval = eval_quantized,
     .macs = macs_quantized})
