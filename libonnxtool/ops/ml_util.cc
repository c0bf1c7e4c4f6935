// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/ml_util.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"

namespace onnxtool {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// Winitzki's approximation, which the operators are defined by in practice.
double erf_inverse(double x) {
  const double sign = x < 0 ? -1 : 1, y = (1 - x) * (1 + x);
  const double log = std::log(y), v = 2 / (std::numbers::pi * 0.147) + 0.5 * log;
  return sign * std::sqrt(-v + std::sqrt(v * v - log / 0.147));
}

void softmax(std::span<double> s, bool keep_zero) {
  if (s.empty()) return;
  const double most = *std::max_element(s.begin(), s.end());
  double sum = 0;
  for (double& v : s) {
    const bool zero = keep_zero && v <= 1e-7 && v >= -1e-7;
    v = zero ? v * std::exp(-most) : std::exp(v - most);
    sum += v;
  }
  for (double& v : s) v = sum == 0 ? 0.5 : v / sum;
}

}  // namespace

Result<PostTransform> post_transform_of(const Node& node) {
  TRY_ASSIGN(const size_t i, choice(node, "post_transform", "NONE",
                                    {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}));
  return static_cast<PostTransform>(i);
}

void apply_post_transform(PostTransform t, std::span<double> scores) {
  switch (t) {
    case PostTransform::kNone: return;
    case PostTransform::kSoftmax: return softmax(scores, false);
    case PostTransform::kSoftmaxZero: return softmax(scores, true);
    case PostTransform::kLogistic:
      for (double& v : scores) v = logistic(v);
      return;
    case PostTransform::kProbit:
      for (double& v : scores) v = 1.41421356 * erf_inverse(2 * v - 1);
      return;
  }
}

std::vector<double> final_scores(PostTransform t, std::span<const double> scores,
                                 SecondScore second) {
  std::vector<double> r(scores.begin(), scores.end());
  if (r.size() != 1) {
    apply_post_transform(t, r);
    return r;
  }
  // A single score is left as it is but for PROBIT; a pair made of it keeps its sum but for
  // LOGISTIC.
  const double s = r[0];
  if (t == PostTransform::kProbit) apply_post_transform(t, r);
  if (second == SecondScore::kNone) return r;
  if (t == PostTransform::kProbit) return {-r[0], r[0]};
  if (t == PostTransform::kLogistic) return {logistic(-s), logistic(s)};
  return {second == SecondScore::kComplement ? 1 - s : -s, s};
}

Result<Labels> labels_of(const Node& node, std::string_view ints_attr,
                         std::string_view strings_attr) {
  Labels l;
  if (const auto* v = node.attr_ints(ints_attr)) l.ints = *v;
  if (const auto* v = node.attr_strings(strings_attr)) l.strings = *v;
  if (!l.ints.empty() && !l.strings.empty())
    return invalid(format("attributes '{}' and '{}' exclude each other", ints_attr, strings_attr));
  return l;
}

Status set_labels(EvalContext& ctx, size_t i, const Labels& labels,
                  std::span<const int64_t> index) {
  const int64_t n = static_cast<int64_t>(index.size());
  auto inside = [&](int64_t k) { return k >= 0 && static_cast<uint64_t>(k) < labels.size(); };
  if (labels.strings.empty()) {
    std::vector<int64_t> r;
    for (int64_t k : index)
      r.push_back(inside(k) ? labels.ints[static_cast<size_t>(k)] : std::max<int64_t>(k, 0));
    return ctx.set_i64(i, DType::kInt64, {n}, r);
  }
  std::vector<std::string> r;
  for (int64_t k : index)
    r.push_back(inside(k) ? labels.strings[static_cast<size_t>(k)] : std::string());
  ctx.set(i, Tensor::strings({n}, std::move(r)));
  return ok();
}

Result<Batch> batch_of(const EvalContext& ctx, const Tensor& x) {
  if (x.rank() != 1 && x.rank() != 2)
    return ctx.error(
        format("input {} is neither [rows, features] nor [features]", to_string(x.dims())));
  Batch b;
  b.rows = x.rank() == 1 ? 1 : x.dims()[0];
  b.features = x.dims().back();
  b.values = x.to_f64();
  return b;
}

Result<BatchShape> batch_shape(const InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return BatchShape{};
  if (s->size() != 1 && s->size() != 2)
    return ctx.error(format("input {} is neither [rows, features] nor [features]", to_string(*s)));
  return BatchShape{s->size() == 1 ? Dim(1) : (*s)[0], s->back()};
}

Status infer_classifier(InferContext& ctx, const Labels& labels, Dim scores) {
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  TRY(ctx.set(0, labels.dtype(), Shape{b.rows}));
  return ctx.set(1, DType::kFloat, Shape{b.rows, scores});
}

std::vector<double> numbers_of(const Node& node, std::string_view name) {
  if (const auto* v = node.attr_floats(name)) return {v->begin(), v->end()};
  const Tensor* t = node.attr_tensor(std::string(name) + "_as_tensor");
  if (t == nullptr || (!is_float(t->dtype()) && !is_integer(t->dtype()))) return {};
  return t->to_aligned().to_f64();
}

}  // namespace onnxtool
