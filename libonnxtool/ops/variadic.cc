// SPDX-License-Identifier: Apache-2.0
// Elementwise operators of any number of inputs: Min, Max, Sum, Mean.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

template <bool less>
double pick_f(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? a : b;
  return (less ? b < a : b > a) ? b : a;
}
template <bool less, typename T>
T pick(T a, T b) {
  return (less ? b < a : b > a) ? b : a;
}

// Folds all inputs in order; floats by `f` (with the result multiplied by `scale`), integers by
// `i` or `u`.
Status fold(EvalContext& ctx, double (*f)(double, double), double divisor,
            int64_t (*i)(int64_t, int64_t), uint64_t (*u)(uint64_t, uint64_t)) {
  if (ctx.num_inputs() == 0) return ctx.error("no inputs");
  const DType type = ctx.in(0).dtype();
  std::vector<Dims> operands;
  for (size_t k = 0; k < ctx.num_inputs(); ++k) {
    if (!ctx.has(k) || ctx.in(k).dtype() != type)
      return ctx.error("inputs are missing or differ in their type");
    operands.push_back(ctx.in(k).dims());
  }
  const bool floats = is_float(type);
  if (!floats && (!i || !is_integer(type)))
    return unsupported(format("{} of {} is not supported", ctx.node().op.view(), dtype_name(type)));
  TRY_ASSIGN(Dims dims, broadcast_all(operands));
  TRY_ASSIGN(Tensor r, ctx.allocate(type, dims));
  BroadcastRuns runs(dims, operands);
  double fa[BroadcastRuns::kMax], fb[BroadcastRuns::kMax];
  int64_t ia[BroadcastRuns::kMax], ib[BroadcastRuns::kMax];
  const bool is_signed = is_signed_integer(type);
  while (runs.next()) {
    const size_t n = runs.count();
    for (size_t k = 0; k < operands.size(); ++k) {
      if (floats) {
        load_f64(ctx.in(k), runs.offset(k), {k == 0 ? fa : fb, n}, runs.stride(k));
        for (size_t e = 0; k > 0 && e < n; ++e) fa[e] = f(fa[e], fb[e]);
      } else {
        load_i64(ctx.in(k), runs.offset(k), {k == 0 ? ia : ib, n}, runs.stride(k));
        for (size_t e = 0; k > 0 && e < n; ++e)
          ia[e] = is_signed ? i(ia[e], ib[e])
                            : static_cast<int64_t>(
                                  u(static_cast<uint64_t>(ia[e]), static_cast<uint64_t>(ib[e])));
      }
    }
    if (floats) {
      for (size_t e = 0; divisor != 1 && e < n; ++e) fa[e] /= divisor;
      store_f64(r, runs.out(), {fa, n});
    } else {
      store_i64(r, runs.out(), {ia, n});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

template <bool less>
Status eval_pick(EvalContext& ctx) {
  return fold(ctx, pick_f<less>, 1, pick<less, int64_t>, pick<less, uint64_t>);
}
double plus(double a, double b) { return a + b; }
Status eval_sum(EvalContext& ctx) { return fold(ctx, plus, 1, nullptr, nullptr); }
Status eval_mean(EvalContext& ctx) {
  return fold(ctx, plus, static_cast<double>(ctx.num_inputs()), nullptr, nullptr);
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(std::optional<Shape> s, broadcast_inputs(ctx, 0, ctx.num_inputs()));
  return ctx.set(0, ctx.dtype(0), std::move(s));
}

template <bool less>
Status infer_pick(InferContext& ctx) {
  TRY(infer(ctx));
  map_partial(ctx, ctx.num_inputs(), ctx.dtype(0), [](std::span<const Dim> a) {
    Dim r = a[0];
    for (size_t i = 1; i < a.size(); ++i) r = less ? min(r, a[i]) : max(r, a[i]);
    return r;
  });
  return ok();
}

constexpr VersionStep kSteps[] = {kConsumedInputsStep};
constexpr uint32_t kFlags = kElementwise | kCommutative;

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    variadic,
    {.name = "Min",
     .infer = infer_pick<true>,
     .eval = eval_pick<true>,
     .steps = kSteps,
     .flags = kFlags},
    {.name = "Max",
     .infer = infer_pick<false>,
     .eval = eval_pick<false>,
     .steps = kSteps,
     .flags = kFlags},
    {.name = "Sum", .infer = infer, .eval = eval_sum, .steps = kSteps, .flags = kFlags},
    {.name = "Mean", .infer = infer, .eval = eval_mean, .steps = kSteps, .flags = kFlags}, )
