// SPDX-License-Identifier: Apache-2.0
// TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier of ai.onnx.ml.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/tree_ensemble.h"

namespace onnxtool {
namespace {

Status check_features(const Forest& f, int64_t have) {
  if (have >= f.features) return ok();
  return invalid(format("the trees test {} features, input has {}", f.features, have));
}

Result<Forest> checked_forest(const InferContext& ctx) {
  TRY_ASSIGN(Forest f, forest_of(ctx.node()));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  if (b.features.is_const()) TRY(check_features(f, b.features.value()));
  return f;
}

Status check_base(const Forest& f) {
  if (f.base.empty() || static_cast<int64_t>(f.base.size()) == f.targets) return ok();
  return invalid(format("{} base values for {} targets", f.base.size(), f.targets));
}

Status infer_regressor(InferContext& ctx) {
  TRY_ASSIGN(const Forest f, checked_forest(ctx));
  TRY(check_base(f));
  TRY_ASSIGN(const BatchShape b, batch_shape(ctx));
  const bool typed = ctx.node().op.view() == "TreeEnsemble";
  return ctx.set(0, typed ? ctx.dtype(0) : DType::kFloat, Shape{b.rows, f.targets});
}

Status eval_regressor(EvalContext& ctx) {
  TRY_ASSIGN(const Forest f, forest_of(ctx.node()));
  TRY(check_base(f));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  TRY(check_features(f, x.features));
  const bool typed = ctx.node().op.view() == "TreeEnsemble";
  TRY_ASSIGN(Tensor out,
             ctx.allocate(typed ? ctx.in(0).dtype() : DType::kFloat, {x.rows, f.targets}));
  std::vector<double> all(static_cast<size_t>(out.size()));
  std::vector<bool> seen;
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto scores =
        std::span(all).subspan(static_cast<size_t>(i * f.targets), static_cast<size_t>(f.targets));
    forest_scores(f, x.row(i), scores, seen);
    for (size_t k = 0; k < f.base.size(); ++k) scores[k] += f.base[k];
    const std::vector<double> done = final_scores(f.transform, scores, SecondScore::kNone);
    std::copy(done.begin(), done.end(), scores.begin());
  }
  return ctx.set_f64(0, out.dtype(), out.dims(), all);
}

Result<Labels> class_labels(const Node& node) {
  return labels_of(node, "classlabels_int64s", "classlabels_strings");
}

Status infer_classifier_op(InferContext& ctx) {
  TRY_ASSIGN(const Forest f, checked_forest(ctx));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  return infer_classifier(ctx, labels, f.targets);
}

struct Decision {
  int64_t label;
  std::vector<double> scores;
};

int64_t top(std::span<const double> s) { return std::max_element(s.begin(), s.end()) - s.begin(); }

// With two classes and votes for one of them only, the score belongs to the second class: it wins
// above 0.5 where no vote is negative (a probability), else above 0. That convention of the
// converters is not in the documents. In all other cases the class with the highest score wins.
struct Pair {
  bool single = false, all_positive = true;
  int64_t target = 0;  // the one that is voted for
};

Decision decide(const Forest& f, const Pair& pair, std::vector<double> s,
                const std::vector<bool>& seen) {
  if (f.targets == 1) {
    if (!f.base.empty()) s[0] += f.base[0];
    return {s[0] > 0 ? 1 : 0, final_scores(f.transform, s, SecondScore::kNone)};
  }
  if (!pair.single) {
    int64_t best = -1;
    for (size_t k = 0; k < s.size(); ++k) {
      if (k < f.base.size()) s[k] += f.base[k];
      const bool counts = seen[k] || !f.base.empty();
      if (counts && (best < 0 || s[k] > s[static_cast<size_t>(best)]))
        best = static_cast<int64_t>(k);
    }
    return {best < 0 ? top(s) : best, final_scores(f.transform, s, SecondScore::kNone)};
  }
  if (f.base.size() == 2 && pair.target == 1) s[0] += f.base[0];
  double& score = s[static_cast<size_t>(pair.target)];
  if (!f.base.empty()) score += f.base[f.base.size() == 2 ? static_cast<size_t>(pair.target) : 0];
  const int64_t label = score > (pair.all_positive ? 0.5 : 0.0) ? 1 : 0;
  if (pair.target == 1) return {label, final_scores(f.transform, s, SecondScore::kNone)};
  const SecondScore other = pair.all_positive ? SecondScore::kComplement : SecondScore::kNegative;
  return {label, final_scores(f.transform, std::span(&score, 1), other)};
}

Status eval_classifier(EvalContext& ctx) {
  TRY_ASSIGN(const Forest f, forest_of(ctx.node()));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  TRY(check_features(f, x.features));
  Pair pair;
  pair.single = f.targets == 2 && !f.votes.empty();
  if (pair.single) pair.target = f.votes[0].target;
  for (const Forest::Vote& v : f.votes) {
    pair.single &= v.target == f.votes[0].target;
    pair.all_positive &= v.weight >= 0;
  }
  if (!pair.single || f.base.size() != 1) TRY(check_base(f));
  std::vector<int64_t> best;
  std::vector<double> all, scores(static_cast<size_t>(f.targets));
  std::vector<bool> seen;
  for (int64_t i = 0; i < x.rows; ++i) {
    forest_scores(f, x.row(i), scores, seen);
    const Decision d = decide(f, pair, scores, seen);
    best.push_back(d.label);
    all.insert(all.end(), d.scores.begin(), d.scores.end());
  }
  TRY(set_labels(ctx, 0, labels, best));
  return ctx.set_f64(1, DType::kFloat, {x.rows, f.targets}, all);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ml_tree,
             {.name = "TreeEnsemble",
              .domain = "ai.onnx.ml",
              .infer = infer_regressor,
              .eval = eval_regressor},
             {.name = "TreeEnsembleRegressor",
              .domain = "ai.onnx.ml",
              .infer = infer_regressor,
              .eval = eval_regressor},
             {.name = "TreeEnsembleClassifier",
              .domain = "ai.onnx.ml",
              .infer = infer_classifier_op,
              .eval = eval_classifier});
