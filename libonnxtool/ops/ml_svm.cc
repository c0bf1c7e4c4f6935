// SPDX-License-Identifier: Apache-2.0
// SVMClassifier, SVMRegressor of ai.onnx.ml; probabilities after Wu, Lin, Weng: Probability
// estimates for multi-class classification by pairwise coupling (JMLR 5, 2004).
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/ml_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

enum class Kernel : uint8_t { kLinear, kPoly, kRbf, kSigmoid };

struct Svm {
  Kernel kernel = Kernel::kLinear;
  double gamma = 0, coef0 = 0, degree = 0;
  std::vector<double> coefficients, vectors, rho, prob_a, prob_b;
  std::vector<int64_t> per_class;  // classifier: support vectors of each class
  int64_t supports = 0, features = 0, classes = 1;
  PostTransform transform = PostTransform::kNone;
};

double kernel_dot(const Svm& s, std::span<const double> a, const double* b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += s.kernel == Kernel::kRbf ? (a[i] - b[i]) * (a[i] - b[i]) : a[i] * b[i];
  switch (s.kernel) {
    case Kernel::kLinear: return sum;
    case Kernel::kPoly: return std::pow(sum * s.gamma + s.coef0, s.degree);
    case Kernel::kRbf: return std::exp(-s.gamma * sum);
    case Kernel::kSigmoid: return std::tanh(sum * s.gamma + s.coef0);
  }
  return sum;
}

Result<Svm> common(const Node& node) {
  Svm s;
  TRY_ASSIGN(const size_t kernel,
             choice(node, "kernel_type", "LINEAR", {"LINEAR", "POLY", "RBF", "SIGMOID"}));
  TRY_ASSIGN(s.transform, post_transform_of(node));
  s.kernel = static_cast<Kernel>(kernel);
  if (const auto params = numbers_of(node, "kernel_params"); !params.empty()) {
    if (params.size() != 3)
      return invalid(format("attribute 'kernel_params' has {} values, 3 expected", params.size()));
    s.gamma = params[0];
    s.coef0 = params[1];
    s.degree = params[2];
  }
  s.coefficients = numbers_of(node, "coefficients");
  s.vectors = numbers_of(node, "support_vectors");
  s.rho = numbers_of(node, "rho");
  if (s.coefficients.empty()) return invalid("attribute 'coefficients' is missing");
  if (s.rho.empty()) return invalid("attribute 'rho' is missing");
  return s;
}

Status set_supports(Svm& s, int64_t supports) {
  if (supports <= 0 || static_cast<int64_t>(s.vectors.size()) % supports != 0)
    return invalid(
        format("{} numbers do not divide into {} support vectors", s.vectors.size(), supports));
  s.supports = supports;
  s.features = static_cast<int64_t>(s.vectors.size()) / supports;
  return ok();
}

Result<Svm> classifier_of(const Node& node, const Labels& labels) {
  TRY_ASSIGN(Svm s, common(node));
  s.prob_a = numbers_of(node, "prob_a");
  s.prob_b = numbers_of(node, "prob_b");
  s.classes = std::max<int64_t>(1, static_cast<int64_t>(labels.size()));
  int64_t supports = 0;
  if (const auto* v = node.attr_ints("vectors_per_class")) {
    s.per_class = *v;
    for (int64_t n : *v) {
      const auto sum = n < 0 ? std::nullopt : checked_add(supports, n);
      if (!sum) return invalid(format("attribute 'vectors_per_class' has the value {}", n));
      supports = *sum;
    }
  }
  if (supports == 0) {  // one weight vector a class
    s.kernel = Kernel::kLinear;
    if (static_cast<int64_t>(s.coefficients.size()) % s.classes != 0)
      return invalid(format("{} coefficients for {} classes", s.coefficients.size(), s.classes));
    s.features = static_cast<int64_t>(s.coefficients.size()) / s.classes;
    return s;
  }
  TRY(set_supports(s, supports));
  if (static_cast<int64_t>(s.per_class.size()) != s.classes)
    return invalid(format("attribute 'vectors_per_class' has {} values for {} classes",
                          s.per_class.size(), s.classes));
  const auto pairs = s.classes > INT32_MAX ? 0 : s.classes * (s.classes - 1) / 2;
  const auto rows = checked_mul(s.classes - 1, supports);
  if (!rows || static_cast<int64_t>(s.coefficients.size()) < *rows)
    return invalid(format("{} coefficients for {} classes and {} support vectors",
                          s.coefficients.size(), s.classes, supports));
  const bool proba = !s.prob_a.empty();
  if (static_cast<int64_t>(s.rho.size()) < pairs ||
      (proba &&
       (static_cast<int64_t>(s.prob_a.size()) < pairs || s.prob_a.size() != s.prob_b.size())))
    return invalid(format("rho, prob_a and prob_b do not fit {} pairs of classes", pairs));
  return s;
}

// Probabilities of the classes from those of the pairs, r[i][j] = P(i | i or j).
std::vector<double> couple(const std::vector<double>& r, size_t k) {
  std::vector<double> q(k * k, 0.0), p(k, 1.0 / static_cast<double>(k)), qp(k);
  for (size_t t = 0; t < k; ++t)
    for (size_t j = 0; j < k; ++j) {
      if (j == t) continue;
      q[t * k + t] += r[j * k + t] * r[j * k + t];
      q[t * k + j] = -r[j * k + t] * r[t * k + j];
    }
  const double eps = 0.005 / static_cast<double>(k);
  for (size_t iteration = 0; iteration < std::max<size_t>(100, k); ++iteration) {
    double pqp = 0, worst = 0;
    for (size_t t = 0; t < k; ++t) {
      qp[t] = 0;
      for (size_t j = 0; j < k; ++j) qp[t] += q[t * k + j] * p[j];
      pqp += p[t] * qp[t];
    }
    for (size_t t = 0; t < k; ++t) worst = std::max(worst, std::fabs(qp[t] - pqp));
    if (worst < eps) break;
    for (size_t t = 0; t < k; ++t) {
      const double diff = (-qp[t] + pqp) / q[t * k + t];
      p[t] += diff;
      pqp = (pqp + diff * (diff * q[t * k + t] + 2 * qp[t])) / (1 + diff) / (1 + diff);
      for (size_t j = 0; j < k; ++j) {
        qp[j] = (qp[j] + diff * q[t * k + j]) / (1 + diff);
        p[j] /= 1 + diff;
      }
    }
  }
  return p;
}

struct Decision {
  int64_t label;
  std::vector<double> scores;
};

Decision classify(const Svm& s, std::span<const double> x, size_t labels) {
  const size_t k = static_cast<size_t>(s.classes);
  std::vector<double> scores, votes;
  bool proba = false;
  if (s.supports == 0) {
    for (size_t j = 0; j < k; ++j)
      scores.push_back(s.rho[0] + kernel_dot(s, x, s.coefficients.data() + j * x.size()));
  } else {
    const size_t n = static_cast<size_t>(s.supports);
    std::vector<double> dots, pair(k * k, 0.0);
    for (size_t j = 0; j < n; ++j)
      dots.push_back(kernel_dot(s, x, s.vectors.data() + j * x.size()));
    std::vector<size_t> start(k + 1, 0);
    for (size_t j = 0; j < k; ++j) start[j + 1] = start[j] + static_cast<size_t>(s.per_class[j]);
    votes.assign(k, 0);
    for (size_t i = 0; i < k; ++i)
      for (size_t j = i + 1; j < k; ++j) {
        double sum = s.rho[scores.size()];
        for (size_t m = start[i]; m < start[i + 1]; ++m)
          sum += s.coefficients[(j - 1) * n + m] * dots[m];
        for (size_t m = start[j]; m < start[j + 1]; ++m) sum += s.coefficients[i * n + m] * dots[m];
        ++votes[sum > 0 ? i : j];
        if (!s.prob_a.empty()) {
          const double z = sum * s.prob_a[scores.size()] + s.prob_b[scores.size()];
          const double p = std::clamp(1 / (1 + std::exp(z)), 1e-7, 1 - 1e-7);
          pair[i * k + j] = p;
          pair[j * k + i] = 1 - p;
        }
        scores.push_back(sum);
      }
    proba = !s.prob_a.empty();
    if (proba) scores = couple(pair, k);
  }
  const auto& by = votes.empty() ? scores : votes;
  const int64_t best = std::max_element(by.begin(), by.end()) - by.begin();
  // Without labels there is one score, and the answer is its sign.
  const int64_t label = labels > 0 ? best : by[0] > 0 ? 1 : 0;
  SecondScore second = SecondScore::kNone;
  if (labels == 2) {
    const bool plain =
        s.transform == PostTransform::kNone || s.transform == PostTransform::kLogistic;
    second = plain ? SecondScore::kNegative : SecondScore::kComplement;
  }
  return {label, final_scores(s.transform, scores, second)};
}

Result<Labels> class_labels(const Node& node) {
  return labels_of(node, "classlabels_ints", "classlabels_strings");
}

Error wrong_features(const Svm& s, std::string_view have) {
  return invalid(format("the model is for {} features, input has {}", s.features, have));
}

// Scores of a row: one a class, or one a pair of classes; a single one of two classes becomes two.
int64_t scores_of(const Svm& s, const Labels& labels) {
  const bool per_class = s.supports == 0 || !s.prob_a.empty();
  const int64_t n = per_class ? s.classes : s.classes * (s.classes - 1) / 2;
  return n == 1 && labels.size() == 2 ? 2 : n;
}

Status infer_classifier_op(InferContext& ctx) {
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Svm s, classifier_of(ctx.node(), labels));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  if (Dim::differ(b.features, s.features)) return wrong_features(s, b.features.text());
  return infer_classifier(ctx, labels, scores_of(s, labels));
}

Status eval_classifier(EvalContext& ctx) {
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Svm s, classifier_of(ctx.node(), labels));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  if (x.features != s.features) return wrong_features(s, std::to_string(x.features));
  std::vector<int64_t> best;
  std::vector<double> all;
  for (int64_t i = 0; i < x.rows; ++i) {
    Decision d = classify(s, x.row(i), labels.size());
    best.push_back(d.label);
    all.insert(all.end(), d.scores.begin(), d.scores.end());
  }
  TRY(set_labels(ctx, 0, labels, best));
  return ctx.set_f64(1, DType::kFloat, {x.rows, scores_of(s, labels)}, all);
}

// ------------------------------------------------------------------------------ SVMRegressor
Result<Svm> regressor_of(const Node& node) {
  TRY_ASSIGN(Svm s, common(node));
  const int64_t supports = node.attr_int("n_supports", 0);
  if (supports > 0) {
    TRY(set_supports(s, supports));
    if (static_cast<int64_t>(s.coefficients.size()) != supports)
      return invalid(
          format("{} coefficients for {} support vectors", s.coefficients.size(), supports));
  } else {
    s.kernel = Kernel::kLinear;
    s.features = static_cast<int64_t>(s.coefficients.size());
  }
  return s;
}

Status infer_regressor(InferContext& ctx) {
  TRY_ASSIGN(const Svm s, regressor_of(ctx.node()));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  if (Dim::differ(b.features, s.features)) return wrong_features(s, b.features.text());
  return ctx.set(0, DType::kFloat, Shape{b.rows, 1});
}

Status eval_regressor(EvalContext& ctx) {
  TRY_ASSIGN(const Svm s, regressor_of(ctx.node()));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  if (x.features != s.features) return wrong_features(s, std::to_string(x.features));
  const bool one_class = ctx.node().attr_int("one_class", 0) != 0;
  std::vector<double> all;
  for (int64_t i = 0; i < x.rows; ++i) {
    double sum = s.rho[0];
    if (s.supports == 0) sum += kernel_dot(s, x.row(i), s.coefficients.data());
    for (int64_t j = 0; j < s.supports; ++j)
      sum += s.coefficients[static_cast<size_t>(j)] *
             kernel_dot(s, x.row(i), s.vectors.data() + j * s.features);
    if (one_class)
      sum = sum > 0 ? 1 : -1;
    else
      sum = final_scores(s.transform, std::span(&sum, 1), SecondScore::kNone)[0];
    all.push_back(sum);
  }
  return ctx.set_f64(0, DType::kFloat, {x.rows, 1}, all);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ml_svm,
             {.name = "SVMClassifier",
              .domain = "ai.onnx.ml",
              .infer = infer_classifier_op,
              .eval = eval_classifier,
              .flags = kManyReads},
             {.name = "SVMRegressor",
              .domain = "ai.onnx.ml",
              .infer = infer_regressor,
              .eval = eval_regressor,
              .flags = kManyReads});
