// SPDX-License-Identifier: Apache-2.0
// Pooling over all spatial dims: GlobalAveragePool, GlobalMaxPool, GlobalLpPool.
#include <cmath>

#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/lp_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

Status infer(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, Type::tensor(ctx.dtype(0)));
  TRY(expect_rank_at_least(s, "input", 2));
  Shape out(s->size(), Dim(1));
  out[0] = (*s)[0];
  out[1] = (*s)[1];
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status infer_lp(InferContext& ctx) {
  TRY(lp_order(ctx.node()));
  return infer(ctx);
}

template <typename F>
Status pool(EvalContext& ctx, F reduce) {
  const Tensor& x = ctx.in(0);
  if (x.rank() < 2) return ctx.error("input has a rank below 2");
  Dims dims(x.dims().size(), 1);
  dims[0] = x.dims()[0];
  dims[1] = x.dims()[1];
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), dims));
  const int64_t plane_size = y.size() > 0 ? x.size() / y.size() : 0;
  TRY_ASSIGN(auto plane, scratch(ctx, {plane_size}));
  for (int64_t p = 0; p < y.size(); p++) {
    load_f64(x, p * plane_size, plane);
    const double v = reduce(std::span<const double>(plane));
    store_f64(y, p, std::span(&v, 1));
  }
  ctx.set(0, std::move(y));
  return ok();
}

Status eval_average(EvalContext& ctx) {
  return pool(ctx, [](std::span<const double> plane) {
    double sum = 0;
    for (double v : plane) sum += v;
    return sum / static_cast<double>(plane.size());
  });
}

Status eval_max(EvalContext& ctx) {
  return pool(ctx, [](std::span<const double> plane) {
    double best = -INFINITY;
    for (double v : plane)
      if (v > best || std::isnan(v)) best = v;
    return best;
  });
}

Status eval_lp(EvalContext& ctx) {
  TRY_ASSIGN(const double p, lp_order(ctx.node()));
  return pool(ctx, [p](std::span<const double> plane) {
    LpSum sum(p);
    for (double v : plane) sum.add(v);
    return sum.norm();
  });
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(global_pool, {.name = "GlobalAveragePool", .infer = infer, .eval = eval_average},
             {.name = "GlobalMaxPool", .infer = infer, .eval = eval_max},
             {.name = "GlobalLpPool", .infer = infer_lp, .eval = eval_lp, .steps = kLpSteps})
