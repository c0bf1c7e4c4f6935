// SPDX-License-Identifier: Apache-2.0
// Operators that run along one axis: ArgMax, ArgMin, CumSum, CumProd, Hardmax.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

// A tensor as [outer, n, inner] around an axis; only for tensors with elements.
struct Around {
  int64_t outer = 1, n = 1, inner = 1;
  int64_t row(int64_t o, int64_t d) const { return (o * n + d) * inner; }
};
Around around(const Dims& dims, int64_t axis) {
  Around a;
  for (size_t i = 0; i < dims.size(); ++i) {
    const auto k = static_cast<int64_t>(i);
    (k < axis ? a.outer : k == axis ? a.n : a.inner) *= dims[i];
  }
  return a;
}

// Integers as values that compare as signed ones.
uint64_t order_bias(DType t) { return t == DType::kUint64 ? uint64_t{1} << 63 : 0; }

// -------------------------------------------------------------------------------- ArgMax, ArgMin
// Index of the best element for each inner position; a NaN is better than any number (numpy).
// `f` or `i` is used as the element type asks.
template <bool greatest>
void best_along(const Tensor& x, const Around& a, int64_t o, bool last,
                std::vector<int64_t>& index) {
  const bool floats = is_float(x.dtype());
  const uint64_t bias = order_bias(x.dtype());
  const auto n = static_cast<size_t>(a.inner);
  std::vector<double> f(floats ? n : 0), best_f = f;
  std::vector<int64_t> i(floats ? 0 : n), best_i = i;
  index.assign(n, 0);
  for (int64_t d = 0; d < a.n; ++d) {
    if (floats)
      load_f64(x, a.row(o, d), f);
    else
      load_i64(x, a.row(o, d), i);
    for (size_t k = 0; k < n; ++k) {
      bool better = d == 0, equal = false;
      if (d > 0 && floats) {
        const bool nan = std::isnan(f[k]), had = std::isnan(best_f[k]);
        better = had ? false : nan || (greatest ? f[k] > best_f[k] : f[k] < best_f[k]);
        equal = had ? nan : f[k] == best_f[k];
      } else if (d > 0) {
        const auto v = static_cast<int64_t>(static_cast<uint64_t>(i[k]) ^ bias);
        const auto b = static_cast<int64_t>(static_cast<uint64_t>(best_i[k]) ^ bias);
        better = greatest ? v > b : v < b;
        equal = v == b;
      }
      if (!better && !(last && equal)) continue;
      index[k] = d;
      if (floats)
        best_f[k] = f[k];
      else
        best_i[k] = i[k];
    }
  }
}

template <bool greatest>
Status eval_arg(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  if (!is_float(x.dtype()) && !is_integer(x.dtype()))
    return unsupported(
        format("{} of {} is not supported", ctx.node().op.view(), dtype_name(x.dtype())));
  Dims dims = x.dims();
  if (ctx.node().attr_int("keepdims", 1) != 0)
    dims[static_cast<size_t>(axis)] = 1;
  else
    dims.erase(dims.begin() + axis);
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kInt64, dims));
  if (x.dims()[static_cast<size_t>(axis)] == 0)
    return ctx.error(format("axis {} of {} is empty", axis, to_string(x.dims())));
  if (r.size() > 0) {
    const Around a = around(x.dims(), axis);
    TRY(ctx.host().reserve(a.inner * 24));
    const bool last = ctx.node().attr_int("select_last_index", 0) != 0;
    std::vector<int64_t> index;
    for (int64_t o = 0; o < a.outer; ++o) {
      best_along<greatest>(x, a, o, last, index);
      store_i64(r, o * a.inner, index);
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_arg(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (!s) return ctx.set(0, DType::kInt64, std::optional<Shape>());
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(s->size())));
  Shape out = *s;
  if (out[static_cast<size_t>(axis)].is_const(0))
    return ctx.error(format("axis {} of {} is empty", axis, to_string(*s)));
  if (ctx.node().attr_int("keepdims", 1) != 0)
    out[static_cast<size_t>(axis)] = 1;
  else
    out.erase(out.begin() + axis);
  return ctx.set(0, DType::kInt64, std::move(out));
}

// -------------------------------------------------------------------------------- CumSum, CumProd
template <bool product>
Status eval_cumulative(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (ctx.in(1).size() != 1) return ctx.error("'axis' must be a scalar");
  const auto axis = normalize_axis(ctx.in(1).i64_at(0), x.rank());
  if (!axis)
    return ctx.error(format("axis {} is out of range for rank {}", ctx.in(1).i64_at(0), x.rank()));
  const bool floats = is_float(x.dtype());
  if (!floats && !is_integer(x.dtype()))
    return unsupported(
        format("{} of {} is not supported", ctx.node().op.view(), dtype_name(x.dtype())));
  TRY_ASSIGN(Tensor r, ctx.allocate(x.dtype(), x.dims()));
  if (x.size() > 0) {
    const bool reverse = ctx.node().attr_int("reverse", 0) != 0;
    const bool exclusive = ctx.node().attr_int("exclusive", 0) != 0;
    const Around a = around(x.dims(), *axis);
    TRY(ctx.host().reserve(a.inner * 32));
    const auto n = static_cast<size_t>(a.inner);
    std::vector<double> f(floats ? n : 0), sum_f = f;
    std::vector<int64_t> i(floats ? 0 : n), sum_i = i;
    for (int64_t o = 0; o < a.outer; ++o) {
      std::fill(sum_f.begin(), sum_f.end(), product ? 1.0 : 0.0);
      std::fill(sum_i.begin(), sum_i.end(), product ? 1 : 0);
      for (int64_t step = 0; step < a.n; ++step) {
        const int64_t row = a.row(o, reverse ? a.n - 1 - step : step);
        if (exclusive) floats ? store_f64(r, row, sum_f) : store_i64(r, row, sum_i);
        if (floats) {
          load_f64(x, row, f);
          for (size_t k = 0; k < n; ++k) product ? sum_f[k] *= f[k] : sum_f[k] += f[k];
        } else {
          load_i64(x, row, i);
          for (size_t k = 0; k < n; ++k) {
            const auto s = static_cast<uint64_t>(sum_i[k]), v = static_cast<uint64_t>(i[k]);
            sum_i[k] = static_cast<int64_t>(product ? s * v : s + v);
          }
        }
        if (!exclusive) floats ? store_f64(r, row, sum_f) : store_i64(r, row, sum_i);
      }
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

template <bool product>
Status infer_cumulative(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const auto axis = ctx.ints(1);
  if (const Shape* a = ctx.shape(1);
      a && element_count(*a).is_const() && element_count(*a) != Dim(1))
    return ctx.error(format("'axis' has shape {}, it must be a scalar", to_string(*a)));
  if (s && axis && axis->size() == 1 &&
      !normalize_axis((*axis)[0], static_cast<int64_t>(s->size())))
    return ctx.error(format("axis {} is out of range for rank {}", (*axis)[0], s->size()));
  TRY(infer_same(ctx));
  const auto p = partial_of(ctx, 0);
  if (!p || !s || s->size() != 1) return ok();
  const bool exclusive = ctx.node().attr_int("exclusive", 0) != 0;
  PartialValue r(p->size());
  const bool reverse = ctx.node().attr_int("reverse", 0) != 0;
  Dim acc = product ? 1 : 0;
  for (size_t step = 0; step < p->size(); ++step) {
    const size_t k = reverse ? p->size() - 1 - step : step;
    const Dim next = product ? acc * (*p)[k] : acc + (*p)[k];
    r[k] = fit_dim(ctx.dtype(0), exclusive ? acc : next);
    acc = next;
  }
  ctx.set_partial(0, std::move(r));
  return ok();
}

// --------------------------------------------------------------------------------------- Hardmax
// Before version 13 all dims from `axis` on count as one.
Status eval_hardmax(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const bool old = ctx.version() < 13;
  TRY_ASSIGN(Tensor r, ctx.allocate(x.dtype(), x.dims()));
  const int64_t attr = ctx.node().attr_int("axis", old ? 1 : -1);
  const bool at_end = old && attr == x.rank();  // the matrix has one column
  int64_t axis = 0;
  if (!at_end) {
    TRY_ASSIGN(axis, ctx.axis("axis", old ? 1 : -1, x.rank()));
  }
  if (x.size() > 0) {
    Around a = at_end ? Around{x.size(), 1, 1} : around(x.dims(), axis);
    if (old) a = Around{a.outer, a.n * a.inner, 1};
    TRY(ctx.host().reserve(a.inner * 24));
    std::vector<int64_t> index;
    const double one = 1;
    for (int64_t o = 0; o < a.outer; ++o) {
      best_along<true>(x, a, o, false, index);
      for (int64_t k = 0; k < a.inner; ++k)
        store_f64(r, a.row(o, index[static_cast<size_t>(k)]) + k, {&one, 1});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_hardmax(InferContext& ctx) {
  const bool old = ctx.version() < 13;
  if (const Shape* s = ctx.shape(0)) {
    const auto rank = static_cast<int64_t>(s->size());
    const bool at_end = old && ctx.node().attr_int("axis", 1) == rank;
    if (!at_end) TRY(ctx.axis("axis", old ? 1 : -1, rank));
  }
  return infer_same(ctx);
}

// Opset 11 allowed negative axes.
Status lower_axis(Model& m, NodeId n) {
  return m.node(n).attr("axis") ? lower_negative_axes(m, n, "axis") : ok();
}
constexpr VersionStep kNegativeAxesStep = {11, step_same_up, lower_axis};
constexpr VersionStep kArgSteps[] = {kNegativeAxesStep};
constexpr VersionStep kHardmaxSteps[] = {kNegativeAxesStep,
                                         {13, coerced_axis_up, coerced_axis_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    scan_axis, {.name = "ArgMax", .infer = infer_arg, .eval = eval_arg<true>, .steps = kArgSteps},
    {.name = "ArgMin", .infer = infer_arg, .eval = eval_arg<false>, .steps = kArgSteps},
    {.name = "CumSum", .infer = infer_cumulative<false>, .eval = eval_cumulative<false>},
    {.name = "CumProd", .infer = infer_cumulative<true>, .eval = eval_cumulative<true>},
    {.name = "Hardmax", .infer = infer_hardmax, .eval = eval_hardmax, .steps = kHardmaxSteps}, )
