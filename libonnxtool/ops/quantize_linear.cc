// SPDX-License-Identifier: Apache-2.0
// QuantizeLinear, DequantizeLinear (ai.onnx and com.microsoft), DynamicQuantizeLinear.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/quant_util.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// Output type of QuantizeLinear: zero point's, else attribute `output_dtype`, else uint8.
Result<DType> quantized_type(const Node& node, bool has_zero, DType zero) {
  TRY_ASSIGN(const DType attr, dtype_attr(node, "output_dtype", DType::kUndefined));
  if (!has_zero) return attr == DType::kUndefined ? DType::kUint8 : attr;
  if (attr != DType::kUndefined && zero != DType::kUndefined && zero != attr)
    return invalid(format("attribute 'output_dtype' is {}, the zero point is {}", dtype_name(attr),
                          dtype_name(zero)));
  return zero == DType::kUndefined ? attr : zero;
}

bool quantizes_to(DType t) {
  if (is_integer(t)) return dtype_bits(t) <= 16;
  return is_float(t) && dtype_bits(t) <= 8 && t != DType::kFloat8e8m0;
}

// Precision of the division x / scale.
Result<DType> division_type(const Node& node, DType x, DType scale) {
  TRY_ASSIGN(const DType p, dtype_attr(node, "precision", DType::kUndefined));
  if (p != DType::kUndefined) {
    if (!is_float(p) || dtype_bits(p) < 16)
      return invalid(format("attribute 'precision' is {}", dtype_name(p)));
    return p;
  }
  if (is_float(scale) && dtype_bits(scale) >= 16) return scale;
  if (scale == DType::kFloat8e8m0) return is_float(x) ? x : DType::kFloat;
  return DType::kDouble;  // int32 by int32
}

Status check_zero_shape(const Tensor& scale, const Tensor& zero) {
  if (zero.dims() == scale.dims() || (zero.size() == 1 && scale.size() == 1)) return ok();
  return invalid(format("zero point of shape {} does not fit a scale of shape {}",
                        to_string(zero.dims()), to_string(scale.dims())));
}

Status eval_quantize(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Tensor& scale = ctx.in(1);
  const Node& node = ctx.node();
  TRY_ASSIGN(const Granularity g, granularity_of(node, x.dims(), scale.dims()));
  TRY_ASSIGN(const DType to,
             quantized_type(node, ctx.has(2), ctx.has(2) ? ctx.in(2).dtype() : DType::kUndefined));
  if (!quantizes_to(to)) return ctx.error(format("{} is no type to quantize to", dtype_name(to)));
  TRY_ASSIGN(const DType precision, division_type(node, x.dtype(), scale.dtype()));
  const bool saturate = node.attr_int("saturate", 1) != 0;
  const std::vector<double> s = scale.to_f64();
  std::vector<double> zero(s.size(), 0.0);
  if (ctx.has(2)) {
    TRY(check_zero_shape(scale, ctx.in(2)));
    zero = ctx.in(2).to_f64();
  }
  TRY_ASSIGN(Tensor r, ctx.allocate(to, x.dims()));
  double f[BroadcastRuns::kMax];
  int64_t q[BroadcastRuns::kMax];
  for (int64_t at = 0; at < x.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(x.size() - at));
    load_f64(x, at, {f, n});
    for (size_t k = 0; k < n; ++k) {
      const auto which = static_cast<size_t>(g.scale_of(at + static_cast<int64_t>(k)));
      f[k] = round_to(precision, round_to(precision, f[k]) / round_to(precision, s[which]));
      if (is_integer(to))
        q[k] = quantize(f[k], static_cast<int64_t>(zero[which]), to);
      else
        f[k] += zero[which];
    }
    if (is_integer(to)) {
      store_i64(r, at, {q, n});
    } else if (dtype_bits(to) == 8) {
      for (size_t k = 0; k < n; ++k)
        r.mutable_raw()[at + static_cast<int64_t>(k)] =
            std::byte(float_to_narrow(to, round_to_odd(f[k]), saturate));
    } else {
      store_f64(r, at, {f, n});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status eval_dequantize(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Tensor& scale = ctx.in(1);
  TRY_ASSIGN(const Granularity g, granularity_of(ctx.node(), x.dims(), scale.dims()));
  TRY_ASSIGN(const DType to, dtype_attr(ctx.node(), "output_dtype", DType::kUndefined));
  const DType out = to == DType::kUndefined ? scale.dtype() : to;
  if (!is_float(out) || dtype_bits(out) < 16)
    return ctx.error(format("{} is no type to dequantize to", dtype_name(out)));
  const std::vector<double> s = scale.to_f64();
  std::vector<double> zero(s.size(), 0.0);
  if (ctx.has(2)) {
    TRY(check_zero_shape(scale, ctx.in(2)));
    if (ctx.in(2).dtype() != x.dtype())
      return ctx.error(format("zero point is {}, data is {}", dtype_name(ctx.in(2).dtype()),
                              dtype_name(x.dtype())));
    zero = ctx.in(2).to_f64();
  }
  TRY_ASSIGN(Tensor r, ctx.allocate(out, x.dims()));
  double f[BroadcastRuns::kMax];
  for (int64_t at = 0; at < x.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(x.size() - at));
    load_f64(x, at, {f, n});
    for (size_t k = 0; k < n; ++k) {
      const auto which = static_cast<size_t>(g.scale_of(at + static_cast<int64_t>(k)));
      f[k] = static_cast<float>(f[k] - zero[which]) * s[which];  // int32 rounds to float first
    }
    store_f64(r, at, {f, n});
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_granularity(InferContext& ctx) {
  const Shape* x = ctx.shape(0);
  const Shape* scale = ctx.shape(1);
  if (x && scale) TRY(check_granularity(ctx.node(), *x, *scale));
  const Shape* zero = ctx.shape(2);
  if (!scale || !zero) return ok();
  const bool single = !Dim::differ(product(*scale), Dim(1)) && !Dim::differ(product(*zero), Dim(1));
  if (!single && !merge(Type::tensor(DType::kFloat, *scale), Type::tensor(DType::kFloat, *zero)))
    return ctx.error(format("zero point of shape {} does not fit a scale of shape {}",
                            to_string(*zero), to_string(*scale)));
  return ok();
}

Status infer_quantize(InferContext& ctx) {
  TRY_ASSIGN(const DType to, quantized_type(ctx.node(), ctx.has_input(2), ctx.dtype(2)));
  if (to != DType::kUndefined && !quantizes_to(to))
    return ctx.error(format("{} is no type to quantize to", dtype_name(to)));
  TRY(division_type(ctx.node(), ctx.dtype(0), ctx.dtype(1)));
  TRY(infer_granularity(ctx));
  return ctx.set(0, to, ctx.input(0).shape);
}

Status infer_dequantize(InferContext& ctx) {
  TRY_ASSIGN(const DType to, dtype_attr(ctx.node(), "output_dtype", DType::kUndefined));
  const DType x = ctx.dtype(0), zero = ctx.dtype(2);
  if (x != DType::kUndefined && zero != DType::kUndefined && x != zero)
    return ctx.error(format("zero point is {}, data is {}", dtype_name(zero), dtype_name(x)));
  TRY(infer_granularity(ctx));
  return ctx.set(0, to == DType::kUndefined ? ctx.dtype(1) : to, ctx.input(0).shape);
}

// All zeros (or an empty input) have scale 1, as in ONNX Runtime; the formula divides by 0.
Status eval_dynamic(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  std::vector<double> f(BroadcastRuns::kMax);
  const auto kMax = static_cast<int64_t>(BroadcastRuns::kMax);
  double low = 0, high = 0;
  for (int64_t at = 0; at < x.size(); at += kMax) {
    const auto n = static_cast<size_t>(std::min(kMax, x.size() - at));
    load_f64(x, at, {f.data(), n});
    for (size_t k = 0; k < n; ++k) {
      low = f[k] < low ? f[k] : low;
      high = f[k] > high ? f[k] : high;
    }
  }
  const auto range = static_cast<float>(high - low);
  const float scale = range == 0 ? 1.0F : range / 255.0F;
  const auto offset = static_cast<float>(0.0F - static_cast<float>(low) / scale);
  const int64_t zero = quantize(offset, 0, DType::kUint8);
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kUint8, x.dims()));
  std::vector<int64_t> q(BroadcastRuns::kMax);
  for (int64_t at = 0; at < x.size(); at += kMax) {
    const auto n = static_cast<size_t>(std::min(kMax, x.size() - at));
    load_f64(x, at, {f.data(), n});
    for (size_t k = 0; k < n; ++k)
      q[k] = quantize(static_cast<float>(f[k] / scale), zero, DType::kUint8);
    store_i64(r, at, {q.data(), n});
  }
  ctx.set(0, std::move(r));
  ctx.set(1, Tensor::scalar(scale));
  ctx.set(2, Tensor::scalar(static_cast<uint8_t>(zero)));
  return ok();
}

Status infer_dynamic(InferContext& ctx) {
  TRY(ctx.set(0, DType::kUint8, ctx.input(0).shape));
  TRY(ctx.set(1, DType::kFloat, Shape{}));
  return ctx.set(2, DType::kUint8, Shape{});
}

constexpr const char* kMs = "com.microsoft";

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    quantize_linear, {.name = "QuantizeLinear", .infer = infer_quantize, .eval = eval_quantize},
    {.name = "DequantizeLinear", .infer = infer_dequantize, .eval = eval_dequantize},
    {.name = "QuantizeLinear", .domain = kMs, .infer = infer_quantize, .eval = eval_quantize},
    {.name = "DequantizeLinear", .domain = kMs, .infer = infer_dequantize, .eval = eval_dequantize},
    {.name = "DynamicQuantizeLinear", .infer = infer_dynamic, .eval = eval_dynamic}, )
