// SPDX-License-Identifier: Apache-2.0
// Tensors from shapes and numbers: ConstantOfShape, Range, EyeLike, window functions,
// MelWeightMatrix.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/partial.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

constexpr int64_t kMaxRank = 1024, kMaxPartial = 1024;

// Element type attribute of an operator that computes numbers.
Result<DType> number_attr(const Node& node, std::string_view attr, DType def) {
  TRY_ASSIGN(const DType t, dtype_attr(node, attr, def));
  if (t == DType::kString || is_complex(t))
    return invalid(format("attribute '{}' is {}, which is no number", attr, dtype_name(t)));
  return t;
}

// ------------------------------------------------------------------------------- ConstantOfShape
// One element; float 0 by default.
Result<Tensor> fill_value(const Node& node) {
  const Tensor* t = node.attr_tensor("value");
  if (!t) return Tensor::scalar(0.0F);
  if (t->size() != 1)
    return invalid(format("attribute 'value' has {} elements, must have one", t->size()));
  return t->to_aligned();
}

Status eval_constant_of_shape(EvalContext& ctx) {
  TRY_ASSIGN(const Tensor value, fill_value(ctx.node()));
  if (ctx.in(0).rank() != 1)
    return ctx.error(
        format("shape input has the shape {}, must be 1-D", to_string(ctx.in(0).dims())));
  TRY_ASSIGN(Tensor r, ctx.allocate(value.dtype(), ctx.in(0).to_i64()));
  if (r.size() == 0) {
    ctx.set(0, std::move(r));
    return ok();
  }
  copy_element(r, 0, value, 0);
  for (int64_t done = 1; done < r.size();) {  // doubles what is there
    const int64_t n = std::min(done, r.size() - done);
    copy_elements(r, done, r, 0, n);
    done += n;
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_constant_of_shape(InferContext& ctx) {
  TRY_ASSIGN(const Tensor value, fill_value(ctx.node()));
  const Shape* in = ctx.shape(0);
  if (in && in->size() != 1)
    return ctx.error(format("shape input has the shape {}, must be 1-D", to_string(*in)));
  const PartialValue* dims = ctx.partial(0);
  std::optional<Shape> out;
  if (dims) {
    out = *dims;
  } else if (in && (*in)[0].is_const() && (*in)[0].value() <= kMaxRank) {
    out = Shape(static_cast<size_t>((*in)[0].value()));
  }
  for (size_t i = 0; out && i < out->size(); ++i) {
    Dim& d = (*out)[i];
    const auto high = d.upper_bound();
    if (high && *high < 0) return ctx.error(format("dim {} of the shape is {}", i, d.text()));
    if (d.is_unknown()) d = ctx.fresh(0, i);
  }
  TRY(ctx.set(0, value.dtype(), out));
  if (!out || out->size() > 1 || !(is_integer(value.dtype()) || value.dtype() == DType::kBool))
    return ok();
  const Dim n = product(*out);
  if (n.is_const() && n.value() <= kMaxPartial)
    ctx.set_partial(0, PartialValue(static_cast<size_t>(n.value()), Dim(value.i64_at(0))));
  return ok();
}

// ----------------------------------------------------------------------------------------- Range
Status check_scalars(const EvalContext& ctx, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (!ctx.has(i) || ctx.in(i).size() != 1)
      return ctx.error(format("input {} must be a scalar", i));
  return ok();
}

// Elements of a range; floats in double.
Result<int64_t> range_size(const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (!is_float(start.dtype())) {
    const __int128 d = delta.i64_at(0),
                   span = static_cast<__int128>(limit.i64_at(0)) - start.i64_at(0);
    if (d == 0) return invalid("delta is 0");
    if ((span > 0) != (d > 0) || span == 0) return int64_t{0};
    const __int128 n = (span + (d > 0 ? d - 1 : d + 1)) / d;
    if (n > INT64_MAX) return unsupported("the range is too long");
    return static_cast<int64_t>(n);
  }
  const double d = delta.f64_at(0);
  if (d == 0) return invalid("delta is 0");
  const double n = std::ceil((limit.f64_at(0) - start.f64_at(0)) / d);
  if (!(n < 0x1p62)) return unsupported("the range is too long");  // NaN too
  return n <= 0 ? 0 : static_cast<int64_t>(n);
}

// com.microsoft leaves delta out for 1.
Status eval_range(EvalContext& ctx) {
  TRY(check_scalars(ctx, ctx.has(2) ? 3 : 2));
  const Tensor& start = ctx.in(0);
  const int64_t one = 1;
  TRY_ASSIGN(Tensor delta, Tensor::from_i64(start.dtype(), {}, std::span(&one, 1)));
  if (ctx.has(2)) delta = ctx.in(2);
  if (ctx.in(1).dtype() != start.dtype() || delta.dtype() != start.dtype())
    return ctx.error("start, limit and delta differ in their type");
  TRY_ASSIGN(const int64_t n, range_size(start, ctx.in(1), delta));
  TRY_ASSIGN(Tensor r, ctx.allocate(start.dtype(), {n}));
  const bool floats = is_float(start.dtype());
  const double f0 = start.f64_at(0), df = delta.f64_at(0);
  const auto i0 = static_cast<uint64_t>(start.i64_at(0)),
             di = static_cast<uint64_t>(delta.i64_at(0));
  double f[BroadcastRuns::kMax];
  int64_t v[BroadcastRuns::kMax];
  for (int64_t at = 0; at < n; at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t m = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(n - at));
    for (size_t k = 0; k < m; ++k) {
      const uint64_t i = static_cast<uint64_t>(at) + k;
      f[k] = f0 + static_cast<double>(i) * df;
      v[k] = static_cast<int64_t>(i0 + i * di);
    }
    if (floats)
      store_f64(r, at, {f, m});
    else
      store_i64(r, at, {v, m});
  }
  ctx.set(0, std::move(r));
  return ok();
}

// Symbolic number of elements; unknown where the sign of delta is not known.
Dim range_count(Dim start, Dim limit, Dim delta) {
  if (delta.lower_bound().value_or(0) < 1) {
    if (delta.upper_bound().value_or(0) > -1) return {};
    return range_count(limit, start, Dim(0) - delta);
  }
  const Dim span = limit - start;
  const auto low = span.lower_bound();
  return ceil_div(low && *low >= 0 ? span : max(span, Dim(0)), delta);
}

Status infer_range(InferContext& ctx) {
  static constexpr const char* kNames[] = {"start", "limit", "delta"};
  const DType t = ctx.dtype(0);
  std::vector<PartialValue> values;
  bool constants = true;
  for (size_t i = 0; i < 3; ++i) {
    if (i == 2 && !ctx.has_input(2)) {
      values.push_back({Dim(1)});
      constants = false;
      continue;
    }
    const Shape* s = ctx.shape(i);
    if (s && product(*s).is_const() && product(*s) != Dim(1))
      return ctx.error(format("'{}' has shape {}, it must be a scalar", kNames[i], to_string(*s)));
    const auto p = partial_of(ctx, i);
    values.push_back(p && p->size() == 1 ? *p : PartialValue{Dim()});
    const Tensor* c = ctx.constant(i);
    constants = constants && c && c->size() == 1 && c->dtype() == t;
  }
  const Dim start = values[0][0], limit = values[1][0], delta = values[2][0];
  Dim n;
  if (constants) {
    TRY_ASSIGN(const int64_t count,
               range_size(*ctx.constant(0), *ctx.constant(1), *ctx.constant(2)));
    n = count;
  } else {
    if (delta.is_const(0)) return ctx.error("delta is 0");
    n = range_count(start, limit, delta);
  }
  if (n.is_unknown()) n = ctx.fresh(0, 0);
  TRY(ctx.set(0, t, Shape{n}));
  if (!is_integer(t) || !n.is_const() || n.value() > kMaxPartial) return ok();
  PartialValue p;
  for (int64_t k = 0; k < n.value(); ++k) p.push_back(start + Dim(k) * delta);
  ctx.set_partial(0, std::move(p));
  return ok();
}

// --------------------------------------------------------------------------------------- EyeLike
Status eval_eye_like(EvalContext& ctx) {
  const Dims& d = ctx.in(0).dims();
  if (d.size() != 2) return ctx.error(format("input has shape {}, must be 2-D", to_string(d)));
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "dtype", ctx.in(0).dtype()));
  const int64_t k = ctx.node().attr_int("k", 0), one = 1;
  TRY_ASSIGN(Tensor r, ctx.allocate(t, d));
  // Row i has its one at column i + k: rows from max(0, -k) on, while in range.
  if (k > -d[0] && k < d[1])
    for (int64_t i = std::max<int64_t>(0, -k); i < d[0] && i + k < d[1]; ++i)
      store_i64(r, i * d[1] + i + k, {&one, 1});
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_eye_like(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s && s->size() != 2)
    return ctx.error(format("input has shape {}, must be 2-D", to_string(*s)));
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "dtype", ctx.dtype(0)));
  return ctx.set(0, t, ctx.input(0).shape);
}

// --------------------------------------------------------------------------------------- windows
struct Cosines {
  double a0, a1, a2;  // a0 - a1 cos(x) + a2 cos(2x)
};

Status eval_window(EvalContext& ctx, Cosines c) {
  TRY(check_scalars(ctx, 1));
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "output_datatype", DType::kFloat));
  const int64_t size = ctx.in(0).i64_at(0);
  if (size < 0) return ctx.error(format("size is {}", size));
  TRY_ASSIGN(Tensor r, ctx.allocate(t, {size}));
  const int64_t period = ctx.node().attr_int("periodic", 1) != 0 ? size : size - 1;
  for (int64_t i = 0; i < size; ++i) {
    const double x =
        period == 0 ? 0 : 6.283185307179586 * static_cast<double>(i) / static_cast<double>(period);
    const double v = c.a0 - c.a1 * std::cos(x) + c.a2 * std::cos(2 * x);
    store_f64(r, i, {&v, 1});
  }
  ctx.set(0, std::move(r));
  return ok();
}
Status eval_hann(EvalContext& ctx) { return eval_window(ctx, {0.5, 0.5, 0}); }
Status eval_hamming(EvalContext& ctx) { return eval_window(ctx, {25.0 / 46, 21.0 / 46, 0}); }
Status eval_blackman(EvalContext& ctx) { return eval_window(ctx, {0.42, 0.5, 0.08}); }

// Scalar of input i as a Dim; unknown where it is not known. Error when it is below `least`.
Result<Dim> scalar_dim(InferContext& ctx, size_t i, std::string_view name, int64_t least) {
  const Shape* s = ctx.shape(i);
  if (s && product(*s).is_const() && product(*s) != Dim(1))
    return invalid(format("'{}' has shape {}, it must be a scalar", name, to_string(*s)));
  const PartialValue* p = ctx.partial(i);
  const Dim d = p && p->size() == 1 ? (*p)[0] : Dim();
  if (d.is_const() && d.value() < least) return invalid(format("'{}' is {}", name, d.value()));
  return d;
}

Status infer_window(InferContext& ctx) {
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "output_datatype", DType::kFloat));
  TRY_ASSIGN(const Dim n, scalar_dim(ctx, 0, "size", 0));
  return ctx.set(0, t, Shape{n.is_unknown() ? ctx.fresh(0, 0) : n});
}

// ------------------------------------------------------------------------------- MelWeightMatrix
double to_mel(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }
double to_hertz(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

Status eval_mel(EvalContext& ctx) {
  TRY(check_scalars(ctx, 5));
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "output_datatype", DType::kFloat));
  const int64_t bands = ctx.in(0).i64_at(0), dft = ctx.in(1).i64_at(0), rate = ctx.in(2).i64_at(0);
  const double low = to_mel(ctx.in(3).f64_at(0)), high = to_mel(ctx.in(4).f64_at(0));
  if (bands < 0 || dft < 0 || dft == INT64_MAX || rate <= 0)
    return ctx.error(format("num_mel_bins {}, dft_length {}, sample_rate {}", bands, dft, rate));
  const int64_t bins = dft / 2 + 1;
  TRY_ASSIGN(Tensor r, ctx.allocate(t, {bins, bands}));
  if (bands > 0) TRY(ctx.host().reserve(bands * 8));
  std::vector<int64_t> edge;
  const double step = (high - low) / static_cast<double>(bands + 2);
  for (int64_t i = 0; i < bands + 2; ++i) {
    const double hertz = to_hertz(low + step * static_cast<double>(i));
    edge.push_back(
        to_int64(std::floor(static_cast<double>(dft + 1) * hertz / static_cast<double>(rate))));
    if (edge.back() < 0 || edge.back() > bins || (i > 0 && edge.back() < edge[edge.size() - 2]))
      return ctx.error("a band lies outside of the spectrum");
  }
  const auto put = [&](int64_t row, int64_t band, double v) {
    if (row < bins) store_f64(r, row * bands + band, {&v, 1});
    return row < bins;
  };
  for (int64_t b = 0; b < bands; ++b) {
    const auto i = static_cast<size_t>(b);
    const int64_t left = edge[i], center = edge[i + 1], right = edge[i + 2];
    if (!put(center, b, 1)) return ctx.error("a band lies outside of the spectrum");
    for (int64_t j = left; j < center; ++j)
      put(j, b, static_cast<double>(j - left) / static_cast<double>(center - left));
    for (int64_t j = center; j < right; ++j)
      put(j, b, static_cast<double>(right - j) / static_cast<double>(right - center));
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_mel(InferContext& ctx) {
  TRY_ASSIGN(const DType t, number_attr(ctx.node(), "output_datatype", DType::kFloat));
  TRY_ASSIGN(const Dim bands, scalar_dim(ctx, 0, "num_mel_bins", 0));
  TRY_ASSIGN(const Dim dft, scalar_dim(ctx, 1, "dft_length", 0));
  TRY_ASSIGN(const Dim rate, scalar_dim(ctx, 2, "sample_rate", 1));
  (void)rate;
  return ctx.set(0, t,
                 Shape{dft.is_unknown() ? ctx.fresh(0, 0) : floor_div(dft, Dim(2)) + Dim(1),
                       bands.is_unknown() ? ctx.fresh(0, 1) : bands});
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    generate,
    {.name = "ConstantOfShape", .infer = infer_constant_of_shape, .eval = eval_constant_of_shape},
    {.name = "Range", .infer = infer_range, .eval = eval_range},
    {.name = "Range", .domain = "com.microsoft", .infer = infer_range, .eval = eval_range},
    {.name = "EyeLike", .infer = infer_eye_like, .eval = eval_eye_like},
    {.name = "HannWindow", .infer = infer_window, .eval = eval_hann},
    {.name = "HammingWindow", .infer = infer_window, .eval = eval_hamming},
    {.name = "BlackmanWindow", .infer = infer_window, .eval = eval_blackman},
    {.name = "MelWeightMatrix", .infer = infer_mel, .eval = eval_mel, .flags = kManyReads}, )
