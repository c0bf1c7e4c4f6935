// SPDX-License-Identifier: Apache-2.0
// LinearClassifier, LinearRegressor of ai.onnx.ml.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/ml_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

// Rows of coefficients, one a score.
struct Linear {
  std::vector<double> coefficients, intercepts;
  int64_t scores = 0, features = 0;
};

Result<Linear> model_of(const Node& node, int64_t scores) {
  Linear m;
  m.coefficients = numbers_of(node, "coefficients");
  m.intercepts = numbers_of(node, "intercepts");
  m.scores = scores;
  const int64_t n = static_cast<int64_t>(m.coefficients.size());
  if (scores <= 0 || n == 0 || n % scores != 0)
    return invalid(format("{} coefficients for {} scores", n, scores));
  m.features = n / scores;
  if (!m.intercepts.empty() && static_cast<int64_t>(m.intercepts.size()) != scores)
    return invalid(format("{} intercepts for {} scores", m.intercepts.size(), scores));
  return m;
}

std::vector<double> scores_of(const Linear& m, std::span<const double> x) {
  std::vector<double> r(static_cast<size_t>(m.scores));
  for (size_t k = 0; k < r.size(); ++k) {
    double sum = m.intercepts.empty() ? 0 : m.intercepts[k];
    const double* w = m.coefficients.data() + k * x.size();
    for (size_t i = 0; i < x.size(); ++i) sum += w[i] * x[i];
    r[k] = sum;
  }
  return r;
}

// More coefficients than features are left over, as the runtimes do.
Status check_features(const Linear& m, int64_t features) {
  if (features <= m.features) return ok();
  return invalid(format("coefficients are for {} features, input has {}", m.features, features));
}

Status check_features(const InferContext& ctx, const Linear& m) {
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  return b.features.is_const() ? check_features(m, b.features.value()) : ok();
}

// One row of coefficients for each class, or a single one for two classes.
Result<Linear> classifier_of(const Node& node, const Labels& labels) {
  const int64_t intercepts = static_cast<int64_t>(numbers_of(node, "intercepts").size());
  const int64_t classes = static_cast<int64_t>(labels.size());
  return model_of(node, intercepts > 0 ? intercepts : std::max<int64_t>(1, classes));
}

Result<Labels> class_labels(const Node& node) {
  return labels_of(node, "classlabels_ints", "classlabels_strings");
}

Status infer_classifier_op(InferContext& ctx) {
  TRY(post_transform_of(ctx.node()));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Linear m, classifier_of(ctx.node(), labels));
  TRY(check_features(ctx, m));
  return infer_classifier(ctx, labels, m.scores == 1 && labels.size() == 2 ? 2 : m.scores);
}

Status eval_classifier(EvalContext& ctx) {
  TRY_ASSIGN(const PostTransform transform, post_transform_of(ctx.node()));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Linear m, classifier_of(ctx.node(), labels));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  TRY(check_features(m, x.features));
  const bool pair = m.scores == 1 && labels.size() == 2;
  std::vector<int64_t> best;
  std::vector<double> all;
  for (int64_t i = 0; i < x.rows; ++i) {
    const std::vector<double> s = scores_of(m, x.row(i));
    if (m.scores > 1)
      best.push_back(std::max_element(s.begin(), s.end()) - s.begin());
    else if (pair)
      best.push_back(s[0] > 0 ? 1 : 0);
    else if (labels.size() == 1)
      best.push_back(s[0] > 0 ? 0 : -1);
    else
      best.push_back(s[0] > 0 ? 1 : 0);
    const auto out =
        final_scores(transform, s, pair ? SecondScore::kComplement : SecondScore::kNone);
    all.insert(all.end(), out.begin(), out.end());
  }
  TRY(set_labels(ctx, 0, labels, best));
  return ctx.set_f64(1, DType::kFloat, {x.rows, pair ? 2 : m.scores}, all);
}

Status infer_regressor(InferContext& ctx) {
  TRY(post_transform_of(ctx.node()));
  TRY_ASSIGN(const Linear m, model_of(ctx.node(), ctx.node().attr_int("targets", 1)));
  TRY(check_features(ctx, m));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  return ctx.set(0, DType::kFloat, Shape{b.rows, m.scores});
}

Status eval_regressor(EvalContext& ctx) {
  TRY_ASSIGN(const PostTransform transform, post_transform_of(ctx.node()));
  TRY_ASSIGN(const Linear m, model_of(ctx.node(), ctx.node().attr_int("targets", 1)));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  TRY(check_features(m, x.features));
  std::vector<double> all;
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto out = final_scores(transform, scores_of(m, x.row(i)), SecondScore::kNone);
    all.insert(all.end(), out.begin(), out.end());
  }
  return ctx.set_f64(0, DType::kFloat, {x.rows, m.scores}, all);
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  const int64_t n = static_cast<int64_t>(numbers_of(ctx.node(), "coefficients").size());
  const Dim all = b.rows * Dim(n);
  return all.is_const() ? all.value() : n;
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ml_linear,
             {.name = "LinearClassifier",
              .domain = "ai.onnx.ml",
              .infer = infer_classifier_op,
              .eval = eval_classifier,
              .macs = macs},
             {.name = "LinearRegressor",
              .domain = "ai.onnx.ml",
              .infer = infer_regressor,
              .eval = eval_regressor,
              .macs = macs});
