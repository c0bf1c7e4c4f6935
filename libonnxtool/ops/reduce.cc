// SPDX-License-Identifier: Apache-2.0
// Reductions over axes (attribute before 13 or 18, input since): ReduceSum, Mean, Max, Min, Prod,
// L1, L2, LogSum, LogSumExp, SumSquare. Floats accumulate in double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

enum class Kind { kSum, kMean, kMax, kMin, kProd, kL1, kL2, kLogSum, kLogSumExp, kSumSquare };

// These leave the integers on the way.
bool in_double(Kind k) { return k == Kind::kL2 || k == Kind::kLogSum || k == Kind::kLogSumExp; }

// Axes to reduce, sorted; `given` empty or absent means all of them, or none with
// `noop_with_empty_axes`.
Result<std::vector<int64_t>> axes_of(const Node& node,
                                     const std::optional<std::vector<int64_t>>& given,
                                     int64_t rank) {
  if (given && !given->empty()) return normalize_axes(*given, rank);
  std::vector<int64_t> all;
  if (node.attr_int("noop_with_empty_axes", 0) == 0)
    for (int64_t i = 0; i < rank; ++i) all.push_back(i);
  return all;
}

double start_value(Kind k) {
  switch (k) {
    case Kind::kProd: return 1;
    case Kind::kMax:
    case Kind::kLogSumExp: return -std::numeric_limits<double>::infinity();
    case Kind::kMin: return std::numeric_limits<double>::infinity();
    default: return 0;
  }
}

double fold(Kind k, double a, double x) {
  switch (k) {
    case Kind::kProd: return a * x;
    case Kind::kL1: return a + std::fabs(x);
    case Kind::kL2:
    case Kind::kSumSquare: return a + x * x;
    case Kind::kLogSumExp:
    case Kind::kMax: return std::isnan(x) || x > a ? (std::isnan(a) ? a : x) : a;
    case Kind::kMin: return std::isnan(x) || x < a ? (std::isnan(a) ? a : x) : a;
    default: return a + x;
  }
}

// Unsigned values are biased by the sign bit, so that they compare as signed ones.
uint64_t fold(Kind k, uint64_t a, uint64_t x) {
  const auto sa = static_cast<int64_t>(a), sx = static_cast<int64_t>(x);
  switch (k) {
    case Kind::kProd: return a * x;
    case Kind::kL1: return a + (sx < 0 ? 0 - x : x);
    case Kind::kSumSquare: return a + x * x;
    case Kind::kMax: return sx > sa ? x : a;
    case Kind::kMin: return sx < sa ? x : a;
    default: return a + x;
  }
}

double finish(Kind k, double a, int64_t count) {
  switch (k) {
    case Kind::kMean: return a / static_cast<double>(count);
    case Kind::kL2: return std::sqrt(a);
    case Kind::kLogSum: return std::log(a);
    default: return a;
  }
}

struct Plan {
  Dims data;                       // input dims
  Dims inner;                      // output dims with reduced ones kept as 1
  Dims out;                        // output dims
  int64_t results = 0, count = 1;  // output elements, and input elements of each
};

Result<std::vector<double>> reduce_f64(EvalContext& ctx, Kind k, const Plan& p) {
  const Tensor& x = ctx.in(0);
  std::vector<double> acc(static_cast<size_t>(p.results), start_value(k));
  double buf[BroadcastRuns::kMax];
  const auto each = [&](auto f) {
    BroadcastRuns runs(p.data, {p.inner});
    while (runs.next()) {
      const size_t n = runs.count();
      load_f64(x, runs.out(), {buf, n});
      const int64_t stride = runs.stride(0);
      double* a = acc.data() + runs.offset(0);
      for (size_t e = 0; e < n; ++e, a += stride) f(*a, buf[e], a - acc.data());
    }
  };
  each([&](double& a, double v, ptrdiff_t) { a = fold(k, a, v); });
  if (k == Kind::kLogSumExp) {
    const std::vector<double> top = acc;
    std::fill(acc.begin(), acc.end(), 0.0);
    each([&](double& a, double v, ptrdiff_t i) {
      const double m = top[static_cast<size_t>(i)];
      a += std::isinf(m) ? (v == m ? 1.0 : 0.0) : std::exp(v - m);
    });
    for (size_t i = 0; i < acc.size(); ++i) acc[i] = top[i] + std::log(acc[i]);
  }
  for (double& a : acc) a = finish(k, a, p.count);
  return acc;
}

std::vector<int64_t> reduce_i64(EvalContext& ctx, Kind k, const Plan& p) {
  const Tensor& x = ctx.in(0);
  const DType t = x.dtype();
  const bool biased = t == DType::kUint64 && (k == Kind::kMax || k == Kind::kMin);
  const uint64_t bias = biased ? uint64_t{1} << 63 : 0;
  uint64_t start = k == Kind::kProd ? 1 : 0;
  if (k == Kind::kMax) start = t == DType::kBool ? 0 : static_cast<uint64_t>(int_min_of(t)) ^ bias;
  if (k == Kind::kMin) start = t == DType::kBool ? 1 : int_max_of(t) ^ bias;
  std::vector<uint64_t> acc(static_cast<size_t>(p.results), start);
  int64_t buf[BroadcastRuns::kMax];
  BroadcastRuns runs(p.data, {p.inner});
  while (runs.next()) {
    load_i64(x, runs.out(), {buf, runs.count()});
    uint64_t* a = acc.data() + runs.offset(0);
    for (size_t e = 0; e < runs.count(); ++e, a += runs.stride(0))
      *a = fold(k, *a, static_cast<uint64_t>(buf[e]) ^ bias);
  }
  std::vector<int64_t> r;
  for (uint64_t a : acc) {
    a ^= bias;
    if (k == Kind::kMean && p.count != 0)
      a = is_signed_integer(t) ? static_cast<uint64_t>(static_cast<int64_t>(a) / p.count)
                               : a / static_cast<uint64_t>(p.count);
    r.push_back(static_cast<int64_t>(a));
  }
  return r;
}

template <Kind k>
Status eval(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const DType t = x.dtype();
  TRY_ASSIGN(const std::vector<int64_t> axes, axes_of(ctx.node(), ctx.ints(1, "axes"), x.rank()));
  const bool keep = ctx.node().attr_int("keepdims", 1) != 0;
  Plan p{x.dims(), x.dims(), {}};
  for (int64_t a : axes) p.inner[static_cast<size_t>(a)] = 1;
  for (size_t i = 0; i < p.inner.size(); ++i)
    if (keep || !std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i)))
      p.out.push_back(p.inner[i]);
  TRY_ASSIGN(Tensor r, ctx.allocate(t, p.out));
  p.results = r.size();
  if (p.results > 0) p.count = x.size() / p.results;
  TRY(ctx.host().reserve(p.results * 8));
  const bool bools = t == DType::kBool && (k == Kind::kMax || k == Kind::kMin);
  if (is_float(t) || (is_integer(t) && in_double(k))) {
    TRY_ASSIGN(const std::vector<double> v, reduce_f64(ctx, k, p));
    store_f64(r, 0, v);
  } else if (is_integer(t) || bools) {
    store_i64(r, 0, reduce_i64(ctx, k, p));
  } else {
    return unsupported(format("{} of {} is not supported", ctx.node().op.view(), dtype_name(t)));
  }
  ctx.set(0, std::move(r));
  return ok();
}

// ------------------------------------------------------------------------------------ shape rule
// Output where the axes are not known: all dims may become 1, or go.
std::optional<Shape> unknown_axes(InferContext& ctx, const Shape& in, bool keep) {
  if (keep) {
    Shape r;
    for (const Dim& d : in) r.push_back(d.is_const(1) ? d : Dim());
    return r;
  }
  const Shape* s = ctx.shape(1);
  if (!s || s->size() != 1 || !(*s)[0].is_const()) return std::nullopt;
  const auto n = static_cast<size_t>((*s)[0].value());
  if (n == 0) return ctx.node().attr_int("noop_with_empty_axes", 0) != 0 ? in : Shape{};
  if (n > in.size()) return std::nullopt;
  return Shape(in.size() - n);
}

void infer_partial(InferContext& ctx, Kind k, bool all) {
  const Shape* s = ctx.shape(0);
  const auto p = partial_of(ctx, 0);
  if (!p || s->size() > 1 || !is_integer(ctx.dtype(0))) return;
  if (s->empty() || !all) {
    if (k <= Kind::kProd) ctx.set_partial(0, *p);
    return;
  }
  if (k == Kind::kSum) ctx.set_partial(0, {fit_dim(ctx.dtype(0), sum(*p))});
  if (k == Kind::kProd) ctx.set_partial(0, {fit_dim(ctx.dtype(0), product(*p))});
  if ((k != Kind::kMax && k != Kind::kMin) || p->empty()) return;
  Dim r = (*p)[0];
  for (const Dim& d : *p) r = k == Kind::kMax ? max(r, d) : min(r, d);
  ctx.set_partial(0, {r});
}

template <Kind k>
Status infer(InferContext& ctx) {
  const DType t = ctx.dtype(0);
  const bool keep = ctx.node().attr_int("keepdims", 1) != 0;
  const Shape* in = ctx.shape(0);
  if (const Shape* s = ctx.shape(1); s && s->size() > 1)
    return ctx.error(format("axes have the shape {}, must be 1-D", to_string(*s)));
  if (!in) return ctx.set(0, t, std::optional<Shape>());
  std::optional<std::vector<int64_t>> given;
  if (ctx.has_input(1)) {
    given = ctx.ints(1);
    if (!given) return ctx.set(0, t, unknown_axes(ctx, *in, keep));
  } else if (const auto* a = ctx.node().attr_ints("axes")) {
    given = *a;
  }
  TRY_ASSIGN(const std::vector<int64_t> axes,
             axes_of(ctx.node(), given, static_cast<int64_t>(in->size())));
  Shape out;
  for (size_t i = 0; i < in->size(); ++i) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i));
    if (!reduced)
      out.push_back((*in)[i]);
    else if (keep)
      out.emplace_back(1);
  }
  TRY(ctx.set(0, t, std::move(out)));
  infer_partial(ctx, k, !axes.empty());
  return ok();
}

// Opset 11 allowed negative axes.
Status lower_axes(Model& m, NodeId n) {
  return m.node(n).attr("axes") ? lower_negative_axes(m, n, "axes") : ok();
}
constexpr VersionStep kNegativeAxesStep = {11, step_same_up, lower_axes};
constexpr VersionStep k13[] = {kNegativeAxesStep, {13, axes_to_input, axes_to_attribute}};
constexpr VersionStep k18[] = {kNegativeAxesStep, {18, axes_to_input, axes_to_attribute}};
constexpr VersionStep k18And28[] = {kNegativeAxesStep,
                                    {18, axes_to_input, axes_to_attribute},
                                    {28, floats_only_up, step_same_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    reduce,
    {.name = "ReduceSum", .infer = infer<Kind::kSum>, .eval = eval<Kind::kSum>, .steps = k13},
    {.name = "ReduceMean", .infer = infer<Kind::kMean>, .eval = eval<Kind::kMean>, .steps = k18},
    {.name = "ReduceMax", .infer = infer<Kind::kMax>, .eval = eval<Kind::kMax>, .steps = k18},
    {.name = "ReduceMin", .infer = infer<Kind::kMin>, .eval = eval<Kind::kMin>, .steps = k18},
    {.name = "ReduceProd", .infer = infer<Kind::kProd>, .eval = eval<Kind::kProd>, .steps = k18},
    {.name = "ReduceL1", .infer = infer<Kind::kL1>, .eval = eval<Kind::kL1>, .steps = k18},
    {.name = "ReduceL2", .infer = infer<Kind::kL2>, .eval = eval<Kind::kL2>, .steps = k18},
    {.name = "ReduceLogSum",
     .infer = infer<Kind::kLogSum>,
     .eval = eval<Kind::kLogSum>,
     .steps = k18And28},
    {.name = "ReduceLogSumExp",
     .infer = infer<Kind::kLogSumExp>,
     .eval = eval<Kind::kLogSumExp>,
     .steps = k18And28},
    {.name = "ReduceSumSquare",
     .infer = infer<Kind::kSumSquare>,
     .eval = eval<Kind::kSumSquare>,
     .steps = k18}, )
