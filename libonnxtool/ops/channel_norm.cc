// SPDX-License-Identifier: Apache-2.0
// Normalization within channels: InstanceNormalization, GroupNormalization (18: scale and bias per
// group, 21: per channel), LRN, MeanVarianceNormalization, LpNormalization.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/lp_util.h"
#include "libonnxtool/ops/norm_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

// -------------------------------------------------------------- instance and group statistics
// Number of groups of channels, and the length of scale and bias.
struct Groups {
  Dim count, parameters;
};
Result<Groups> groups_of(const InShapes& in) {
  const Node& node = in.node();
  const Shape* x = in[0];
  TRY(expect_rank_at_least(x, "input", 2));
  const Dim channels = x != nullptr ? (*x)[1] : Dim();
  Groups g = {channels, channels};
  const char* per = "number of channels";
  if (node.op.view() == "GroupNormalization") {
    const int64_t n = node.attr_int("num_groups", 0);
    if (n < 1) return invalid(format("attribute 'num_groups' is {}, at least 1 expected", n));
    if (channels.is_const() && channels.value() % n != 0)
      return invalid(format("number of channels is {}, no multiple of attribute 'num_groups' {}",
                            channels.text(), n));
    g.count = Dim(n);
    if (node.version < 21) {
      g.parameters = g.count;
      per = "number of groups";
    }
  }
  TRY(expect_vector(in[1], "scale", g.parameters, per));
  TRY(expect_vector(in[2], "bias", g.parameters, per));
  return g;
}

Status infer_groups(InferContext& ctx) {
  TRY(groups_of(InShapes(ctx)));
  return infer_same(ctx);
}

Status eval_groups(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Groups g, groups_of(InShapes(ctx)));
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), x.dims()));
  if (x.size() > 0) {
    const int64_t channels = x.dims()[1], groups = g.count.value();
    const int64_t part = x.size() / x.dims()[0] / groups, plane = part / (channels / groups);
    TRY_ASSIGN(auto values, scratch(ctx, {part}));
    RowNorm norm{.epsilon = ctx.node().attr_float("epsilon", 1e-5f)};
    const bool per_group = g.parameters == g.count && groups != channels;
    for (int64_t at = 0, i = 0; at < x.size(); at += part, i++) {
      load_f64(x, at, values);
      norm(values);
      const int64_t group = i % groups;
      for (int64_t k = 0; k < part; k++) {
        const int64_t p = per_group ? group : group * (channels / groups) + k / plane;
        double& v = values[static_cast<size_t>(k)];
        v = v * ctx.in(1).f64_at(p) + ctx.in(2).f64_at(p);
      }
      store_f64(y, at, values);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

// -------------------------------------------------------------------------------------- LRN
Result<int64_t> lrn_size(const Node& node) {
  const int64_t size = node.attr_int("size", 0);
  if (size < 1) return invalid(format("attribute 'size' is {}, at least 1 expected", size));
  return size;
}

Status infer_lrn(InferContext& ctx) {
  TRY(lrn_size(ctx.node()));
  TRY(expect_rank_at_least(ctx.shape(0), "input", 2));
  return infer_same(ctx);
}

Status eval_lrn(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t size, lrn_size(ctx.node()));
  if (x.rank() < 2) return ctx.error("input has a rank below 2");
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), x.dims()));
  const double alpha = ctx.node().attr_float("alpha", 1e-4f) / static_cast<double>(size);
  const double beta = ctx.node().attr_float("beta", 0.75f), bias = ctx.node().attr_float("bias", 1);
  const int64_t channels = x.dims()[1];
  const int64_t plane = x.size() > 0 ? x.size() / x.dims()[0] / channels : 0;
  TRY_ASSIGN(auto values, scratch(ctx, {channels, plane}));
  TRY_ASSIGN(auto sums, scratch(ctx, {plane}));
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  for (int64_t at = 0; at < x.size(); at += channels * plane) {
    load_f64(x, at, values);
    for (int64_t c = 0; c < channels; c++) {
      std::fill(sums.begin(), sums.end(), 0.0);
      const int64_t first = std::max<int64_t>(0, c - std::min(before, c));
      const int64_t last = c + std::min(after, channels - 1 - c);
      for (int64_t k = first; k <= last; k++)
        for (int64_t i = 0; i < plane; i++)
          sums[i] += values[k * plane + i] * values[k * plane + i];
      for (int64_t i = 0; i < plane; i++)
        sums[i] = values[c * plane + i] / std::pow(bias + alpha * sums[i], beta);
      store_f64(y, at + c * plane, sums);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

// ------------------------------------------------------------------ over any axes, no parameters
// Normalizes each slice along `axes` with f(slice), in place.
template <typename F>
Status along(EvalContext& ctx, std::span<const int64_t> axes, F f) {
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> strides = row_major_strides(x.dims());
  Dims kept, kept_strides, inner, inner_strides;
  for (int64_t i = 0; i < x.rank(); i++) {
    const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    (reduced ? inner : kept).push_back(x.dims()[static_cast<size_t>(i)]);
    (reduced ? inner_strides : kept_strides).push_back(strides[static_cast<size_t>(i)]);
  }
  TRY_ASSIGN(auto values, scratch(ctx, x.dims()));
  load_f64(x, 0, values);
  TRY_ASSIGN(auto slice, scratch(ctx, inner));
  std::vector<int64_t> offsets;
  Dims idx(inner.size(), 0), outer(kept.size(), 0);
  const auto at = [](const Dims& index, const Dims& stride) {
    int64_t r = 0;
    for (size_t i = 0; i < index.size(); i++) r += index[i] * stride[i];
    return r;
  };
  if (x.size() > 0) {
    do offsets.push_back(at(idx, inner_strides));
    while (onnxtool::advance(idx, inner));
    do {
      double* base = values.data() + at(outer, kept_strides);
      for (size_t i = 0; i < slice.size(); i++) slice[i] = base[offsets[i]];
      f(std::span<double>(slice));
      for (size_t i = 0; i < slice.size(); i++) base[offsets[i]] = slice[i];
    } while (onnxtool::advance(outer, kept));
  }
  return ctx.set_f64(0, x.dtype(), x.dims(), values);
}

Result<std::vector<int64_t>> mvn_axes(const Node& node, int64_t rank) {
  static const std::vector<int64_t> kDefault = {0, 2, 3};
  const std::vector<int64_t>* axes = node.attr_ints("axes");
  return normalize_axes(axes != nullptr ? *axes : kDefault, rank);
}

Status infer_mvn(InferContext& ctx) {
  if (const Shape* s = ctx.shape(0)) TRY(mvn_axes(ctx.node(), static_cast<int64_t>(s->size())));
  return infer_same(ctx);
}

Status eval_mvn(EvalContext& ctx) {
  TRY_ASSIGN(const auto axes, mvn_axes(ctx.node(), ctx.in(0).rank()));
  return along(ctx, axes, [](std::span<double> v) {
    double mean = 0, squares = 0;
    for (double x : v) mean += x;
    mean /= static_cast<double>(v.size());
    for (double& x : v) {
      x -= mean;
      squares += x * x;
    }
    const double deviation = std::sqrt(squares / static_cast<double>(v.size())) + 1e-9;
    for (double& x : v) x /= deviation;
  });
}

Result<double> lp_norm_order(const Node& node) {
  TRY_ASSIGN(const double p, lp_order(node));
  if (p != 1 && p != 2) return invalid(format("attribute 'p' is {}, 1 or 2 expected", p));
  return p;
}

Status infer_lp(InferContext& ctx) {
  TRY(lp_norm_order(ctx.node()));
  if (const Shape* s = ctx.shape(0)) TRY(ctx.axis("axis", -1, static_cast<int64_t>(s->size())));
  return infer_same(ctx);
}

Status eval_lp(EvalContext& ctx) {
  TRY_ASSIGN(const double p, lp_norm_order(ctx.node()));
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, ctx.in(0).rank()));
  return along(ctx, std::span(&axis, 1), [p](std::span<double> v) {
    LpSum sum(p);
    for (double x : v) sum.add(x);
    const double norm = sum.norm();
    for (double& x : v) x = norm == 0 ? 0 : x / norm;
  });
}

constexpr VersionStep kInstanceSteps[] = {kConsumedInputsStep};
// 21: scale and bias became per channel.
constexpr VersionStep kGroupSteps[] = {{21, nullptr, nullptr}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(channel_norm,
             {.name = "InstanceNormalization",
              .infer = infer_groups,
              .eval = eval_groups,
              .steps = kInstanceSteps},
             {.name = "GroupNormalization",
              .infer = infer_groups,
              .eval = eval_groups,
              .steps = kGroupSteps},
             {.name = "LRN", .infer = infer_lrn, .eval = eval_lrn},
             {.name = "MeanVarianceNormalization", .infer = infer_mvn, .eval = eval_mvn},
             {.name = "LpNormalization", .infer = infer_lp, .eval = eval_lp})
