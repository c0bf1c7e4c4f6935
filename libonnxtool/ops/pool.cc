// SPDX-License-Identifier: Apache-2.0
// Pooling over windows: AveragePool, MaxPool, LpPool.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/lp_util.h"
#include "libonnxtool/ops/pool_util.h"

namespace onnxtool {
namespace {

// reduce(plane, windows, index of the window) for each plane and window.
template <typename F>
Status pool(EvalContext& ctx, const PoolGeometry& g, F reduce) {
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), g.dims));
  std::vector<double> plane, values;
  if (y.size() > 0) {
    TRY_ASSIGN(plane, scratch(ctx, {g.in_size}));
  }
  PoolWindows windows(g);
  while (windows.next()) {
    values.resize(windows.count());
    for (int64_t p = 0; p < g.planes; p++) {
      load_f64(ctx.in(0), p * g.in_size, plane);
      for (size_t i = 0; i < values.size(); i++) values[i] = reduce(p, plane, windows, i);
      store_f64(y, p * g.out_size + windows.first(), values);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

Status eval_average(EvalContext& ctx) {
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(InShapes(ctx)));
  const bool include_pad = ctx.node().attr_int("count_include_pad", 0) != 0;
  return pool(ctx, g, [&](int64_t, std::span<const double> plane, const PoolWindows& w, size_t i) {
    return pool_mean(plane, w.taps(i), w.padded(i), include_pad);
  });
}

Status infer_lp(InferContext& ctx) {
  TRY(lp_order(ctx.node()));
  return infer_pool(ctx);
}

Status eval_lp(EvalContext& ctx) {
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(InShapes(ctx)));
  TRY_ASSIGN(const double p, lp_order(ctx.node()));
  return pool(ctx, g, [&](int64_t, std::span<const double> plane, const PoolWindows& w, size_t i) {
    LpSum sum(p);
    for (int64_t t : w.taps(i)) sum.add(plane[static_cast<size_t>(t)]);
    return sum.norm();
  });
}

// Flat position as the attribute storage_order counts: 1 runs along the first spatial axis.
int64_t column_major(const Dims& dims, int64_t flat) {
  int64_t stride = 1, r = 0;
  for (int64_t d : dims) stride *= d;
  for (size_t i = dims.size(); i-- > 0;) {
    stride /= dims[i];
    r += flat % dims[i] * stride;
    flat /= dims[i];
  }
  return r;
}

Status eval_max(EvalContext& ctx) {
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(InShapes(ctx)));
  const bool by_column = ctx.node().attr_int("storage_order", 0) != 0;
  const DType type = ctx.in(0).dtype();
  const double lowest = is_integer(type) ? static_cast<double>(int_min_of(type)) : -INFINITY;
  Tensor indices;
  std::span<int64_t> index;
  if (ctx.wants(1)) {
    TRY_ASSIGN(indices, ctx.allocate(DType::kInt64, g.dims));
    index = indices.mut<int64_t>();
  }
  const auto reduce = [&](int64_t p, std::span<const double> plane, const PoolWindows& w,
                          size_t i) {
    double best = lowest;
    int64_t at = -1;
    for (int64_t t : w.taps(i)) {
      const double v = plane[static_cast<size_t>(t)];
      if (at >= 0 && !(v > best) && !(std::isnan(v) && !std::isnan(best))) continue;
      best = v;
      at = t;
    }
    if (!index.empty()) {
      const int64_t local = by_column && at >= 0 ? column_major(g.in, at) : at;
      index[static_cast<size_t>(p * g.out_size + w.first()) + i] =
          at < 0 ? -1 : p * g.in_size + local;
    }
    return best;
  };
  TRY(pool(ctx, g, reduce));
  if (ctx.wants(1)) ctx.set(1, std::move(indices));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    pool, {.name = "AveragePool", .infer = infer_pool, .eval = eval_average, .flags = kManyReads},
    {.name = "MaxPool", .infer = infer_pool, .eval = eval_max, .flags = kManyReads},
    {.name = "LpPool", .infer = infer_lp, .eval = eval_lp, .steps = kLpSteps, .flags = kManyReads})
