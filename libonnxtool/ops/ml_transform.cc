// SPDX-License-Identifier: Apache-2.0
// Feature transforms of ai.onnx.ml: Normalizer, Scaler, Binarizer, Imputer, ArrayFeatureExtractor,
// FeatureVectorizer.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/ml_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

std::optional<Shape> shape_of(const InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  return s != nullptr ? std::optional(*s) : std::nullopt;
}

Status infer_float(InferContext& ctx) { return ctx.set(0, DType::kFloat, shape_of(ctx)); }
Status infer_keep(InferContext& ctx) { return ctx.set(0, ctx.dtype(0), shape_of(ctx)); }

Result<size_t> norm_of(const Node& node) {
  return choice(node, "norm", "MAX", {"MAX", "L1", "L2"});
}

Status infer_normalizer(InferContext& ctx) {
  TRY(norm_of(ctx.node()));
  TRY(batch_shape(ctx));
  return infer_float(ctx);
}

Status eval_normalizer(EvalContext& ctx) {
  TRY_ASSIGN(const size_t norm, norm_of(ctx.node()));
  TRY_ASSIGN(Batch x, batch_of(ctx, ctx.in(0)));
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto row = x.row(i);
    double by = norm == 0 && !row.empty() ? *std::max_element(row.begin(), row.end()) : 0;
    if (norm == 1)
      for (double v : row) by += std::fabs(v);
    if (norm == 2) {
      for (double v : row) by += v * v;
      by = std::sqrt(by);
    }
    if (by == 0) continue;
    for (int64_t k = 0; k < x.features; ++k)
      x.values[static_cast<size_t>(i * x.features + k)] /= by;
  }
  return ctx.set_f64(0, DType::kFloat, ctx.in(0).dims(), x.values);
}

// Offsets and scales: one for all features, or one for each.
Status check_scales(const Node& node, std::optional<int64_t> features) {
  for (const char* attr : {"offset", "scale"}) {
    const auto* v = node.attr_floats(attr);
    const int64_t n = v != nullptr ? static_cast<int64_t>(v->size()) : 0;
    if (n == 0 || (features && n != 1 && n != *features))
      return invalid(format("attribute '{}' has {} values, input has {} features", attr, n,
                            features.value_or(-1)));
  }
  return ok();
}

Status infer_scaler(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const bool known = s != nullptr && !s->empty() && s->back().is_const();
  TRY(check_scales(ctx.node(), known ? std::optional(s->back().value()) : std::nullopt));
  return infer_float(ctx);
}

Status eval_scaler(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (x.rank() == 0) return ctx.error("input is a scalar");
  const int64_t features = x.dims().back();
  TRY(check_scales(ctx.node(), features));
  const auto &offset = *ctx.node().attr_floats("offset"), &scale = *ctx.node().attr_floats("scale");
  std::vector<double> v = x.to_f64();
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t f = i % static_cast<size_t>(features);
    v[i] = (v[i] - static_cast<double>(offset[offset.size() == 1 ? 0 : f])) *
           static_cast<double>(scale[scale.size() == 1 ? 0 : f]);
  }
  return ctx.set_f64(0, DType::kFloat, x.dims(), v);
}

Status eval_binarizer(EvalContext& ctx) {
  const double threshold = ctx.node().attr_float("threshold", 0.0f);
  std::vector<double> v = ctx.in(0).to_f64();
  for (double& d : v) d = d > threshold ? 1 : 0;
  return ctx.set_f64(0, ctx.in(0).dtype(), ctx.in(0).dims(), v);
}

// Floats for float inputs, integers (rounded to doubles) for integer inputs.
Result<std::vector<double>> imputed(const Node& node, DType type, std::optional<int64_t> features) {
  std::vector<double> v;
  if (is_float(type)) {
    if (const auto* f = node.attr_floats("imputed_value_floats")) v.assign(f->begin(), f->end());
  } else if (const auto* i = node.attr_ints("imputed_value_int64s")) {
    v.assign(i->begin(), i->end());
  }
  const int64_t n = static_cast<int64_t>(v.size());
  if (n == 0) return invalid(format("there are no imputed values for {}", dtype_name(type)));
  if (features && n != 1 && n != *features)
    return invalid(format("{} imputed values for {} features", n, *features));
  return v;
}

Status infer_imputer(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const bool known = s != nullptr && !s->empty() && s->back().is_const();
  if (ctx.dtype(0) != DType::kUndefined)
    TRY(imputed(ctx.node(), ctx.dtype(0), known ? std::optional(s->back().value()) : std::nullopt));
  return infer_keep(ctx);
}

Status eval_imputer(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (x.rank() == 0) return ctx.error("input is a scalar");
  const bool floats = is_float(x.dtype());
  TRY_ASSIGN(const auto values, imputed(ctx.node(), x.dtype(), x.dims().back()));
  const size_t features = static_cast<size_t>(x.dims().back());
  auto at = [&](size_t i) { return values.size() == 1 ? 0 : i % features; };
  if (!floats) {
    const int64_t gone = ctx.node().attr_int("replaced_value_int64", 0);
    const std::vector<int64_t>& exact = *ctx.node().attr_ints("imputed_value_int64s");
    std::vector<int64_t> v = x.to_i64();
    for (size_t i = 0; i < v.size(); ++i)
      if (v[i] == gone) v[i] = exact[at(i)];
    return ctx.set_i64(0, x.dtype(), x.dims(), v);
  }
  const double gone = ctx.node().attr_float("replaced_value_float", 0.0f);
  std::vector<double> v = x.to_f64();
  for (size_t i = 0; i < v.size(); ++i)
    if (v[i] == gone || (std::isnan(v[i]) && std::isnan(gone))) v[i] = values[at(i)];
  return ctx.set_f64(0, x.dtype(), x.dims(), v);
}

Status infer_extractor(InferContext& ctx) {
  const Shape *x = ctx.shape(0), *y = ctx.shape(1);
  if (x != nullptr && x->empty()) return ctx.error("input is a scalar");
  if (x == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  Shape out = x->size() == 1 ? Shape{1, Dim()} : *x;
  out.back() = y != nullptr ? product(*y) : Dim();
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status eval_extractor(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (x.rank() == 0) return ctx.error("input is a scalar");
  const std::vector<int64_t> at = ctx.in(1).to_i64();
  const int64_t size = x.dims().back();
  for (int64_t i : at)
    if (i < 0 || i >= size)
      return ctx.error(format("index {} is out of range for {} features", i, size));
  const Tensor source = x.rank() == 1 ? x.reshaped({1, size}) : x;
  TRY_ASSIGN(Tensor out, picked_rows(ctx, source, source.dims().size() - 1, at));
  ctx.set(0, std::move(out));
  return ok();
}

// ------------------------------------------------------------------------- FeatureVectorizer
Result<std::vector<int64_t>> widths_of(const Node& node) {
  const auto* v = node.attr_ints("inputdimensions");
  if (v == nullptr || v->size() != node.num_inputs())
    return invalid(format("attribute 'inputdimensions' has not {} values", node.num_inputs()));
  for (int64_t d : *v)
    if (d < 0) return invalid(format("attribute 'inputdimensions' has the value {}", d));
  return *v;
}

Status infer_vectorizer(InferContext& ctx) {
  TRY_ASSIGN(const auto widths, widths_of(ctx.node()));
  Dim rows, width = 0;
  for (size_t i = 0; i < widths.size(); ++i) {
    width = width + Dim(widths[i]);
    const Shape* s = ctx.shape(i);
    if (s == nullptr) continue;
    if (s->size() != 1 && s->size() != 2)
      return ctx.error(
          format("input {} is neither [rows, features] nor [features]", to_string(*s)));
    const auto n = unify(rows, s->size() == 1 ? Dim(1) : (*s)[0]);
    if (!n) return ctx.error(format("inputs differ in their number of rows: {}", to_string(*s)));
    rows = *n;
  }
  return ctx.set(0, DType::kFloat, Shape{rows, width});
}

Status eval_vectorizer(EvalContext& ctx) {
  TRY_ASSIGN(const auto widths, widths_of(ctx.node()));
  std::vector<Batch> parts;
  int64_t width = 0;
  for (size_t i = 0; i < widths.size(); ++i) {
    if (!ctx.has(i)) return ctx.error(format("input {} is left out", i));
    TRY_ASSIGN(Batch b, batch_of(ctx, ctx.in(i)));
    if (!parts.empty() && b.rows != parts[0].rows)
      return ctx.error("inputs differ in their number of rows");
    parts.push_back(std::move(b));
    const auto sum = checked_add(width, widths[i]);
    if (!sum) return ctx.error("the result is too wide");
    width = *sum;
  }
  const int64_t rows = parts.empty() ? 0 : parts[0].rows;
  TRY_ASSIGN(Tensor out, ctx.allocate(DType::kFloat, {rows, width}));
  const std::span<float> to = out.mut<float>();
  int64_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t n = std::min(widths[i], parts[i].features);  // what is missing stays zero
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < n; ++k)
        to[static_cast<size_t>(r * width + at + k)] =
            static_cast<float>(parts[i].values[static_cast<size_t>(r * parts[i].features + k)]);
    at += widths[i];
  }
  ctx.set(0, std::move(out));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    ml_transform,
    {.name = "Normalizer",
     .domain = "ai.onnx.ml",
     .infer = infer_normalizer,
     .eval = eval_normalizer},
    {.name = "Scaler", .domain = "ai.onnx.ml", .infer = infer_scaler, .eval = eval_scaler},
    {.name = "Binarizer", .domain = "ai.onnx.ml", .infer = infer_keep, .eval = eval_binarizer},
    {.name = "Imputer", .domain = "ai.onnx.ml", .infer = infer_imputer, .eval = eval_imputer},
    {.name = "ArrayFeatureExtractor",
     .domain = "ai.onnx.ml",
     .infer = infer_extractor,
     .eval = eval_extractor},
    {.name = "FeatureVectorizer",
     .domain = "ai.onnx.ml",
     .infer = infer_vectorizer,
     .eval = eval_vectorizer});
