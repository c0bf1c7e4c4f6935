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
  TRY_ASSIGN(Tensor out, ctx.allocate(typed ? ctx.in(0).dtype() : DType::kFloat, {x.rows, f.targets}));
  std::vector<double> all(static_cast<size_t>(out.size()));
  std::vector<bool> seen;
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto scores = std::span(all).subspan(static_cast<size_t>(i * f.targets), static_cast<size_t>(f.targets));
    forest_scores(f, x.row(i), scores, seen);
    for (size_t k = 0; k < f.base.size(); ++k) scores[k] += f.base[k];
    apply_post_transform(f.transform, scores);
  }
  return ctx.set_f64(0, out.dtype(), out.dims(), all);
}

Result<Labels> class_labels(const Node& node) { return labels_of(node, "classlabels_int64s", "classlabels_strings"); }

Status infer_classifier_op(InferContext& ctx) {
  TRY_ASSIGN(const Forest f, checked_forest(ctx));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  return infer_classifier(ctx, labels, f.targets == 1 ? Dim() : Dim(f.targets));
}

// With two classes a forest may give one score for both; which one that is, and what the other
// becomes, follows what the converters of the frameworks rely on.
struct Pair {
  bool single = false;        // all votes are for one class
  bool all_positive = true;   // no negative weight: scores are probabilities
};

struct Decision {
  int64_t label;
  std::vector<double> scores;
};

Decision decide(const Forest& f, const Pair& pair, std::vector<double> s, const std::vector<bool>& seen) {
  if (f.targets > 2) {
    int64_t best = -1;
    for (size_t k = 0; k < s.size(); ++k) {
      const bool base = k < f.base.size();
      if (base) s[k] += f.base[k];
      if ((seen[k] || base) && (best < 0 || s[k] > s[static_cast<size_t>(best)])) best = static_cast<int64_t>(k);
    }
    return {std::max<int64_t>(best, 0), final_scores(f.transform, s, SecondScore::kNone)};
  }
  bool second = s.size() == 2 && seen[1];
  if (s.size() == 2 && f.base.size() == 2) {
    if (second) {
      s[1] += f.base[1] + (pair.single ? s[0] : 0);
      if (pair.single) s[0] = -s[1];
      else s[0] += f.base[0];
    } else {
      s[0] += f.base[0];
      s[1] += f.base[1];
      second = true;
    }
  } else if (f.base.size() == 1) {
    s[0] += f.base[0];
  }
  const double positive = second ? s[1] : s[0];
  const bool yes = pair.single && pair.all_positive ? positive > 0.5 : positive > 0;
  const SecondScore other = !pair.single ? SecondScore::kNone
                            : pair.all_positive ? SecondScore::kComplement : SecondScore::kNegative;
  if (!second) s.resize(1);
  return {yes ? 1 : 0, final_scores(f.transform, s, other)};
}

Status eval_classifier(EvalContext& ctx) {
  TRY_ASSIGN(const Forest f, forest_of(ctx.node()));
  TRY_ASSIGN(const Labels labels, class_labels(ctx.node()));
  TRY_ASSIGN(const Batch x, batch_of(ctx, ctx.in(0)));
  TRY(check_features(f, x.features));
  if (f.targets > 2) TRY(check_base(f));
  Pair pair;
  pair.single = f.targets == 2;
  for (const Forest::Vote& v : f.votes) {
    pair.single &= v.target == f.votes[0].target;
    pair.all_positive &= v.weight >= 0;
  }
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
  const int64_t width = x.rows > 0 ? static_cast<int64_t>(all.size()) / x.rows : f.targets;
  if (static_cast<int64_t>(all.size()) != width * x.rows) return ctx.error("rows give different numbers of scores");
  return ctx.set_f64(1, DType::kFloat, {x.rows, width}, all);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ml_tree,
             {.name = "TreeEnsemble", .domain = "ai.onnx.ml", .infer = infer_regressor,
              .eval = eval_regressor},
             {.name = "TreeEnsembleRegressor", .domain = "ai.onnx.ml", .infer = infer_regressor,
              .eval = eval_regressor},
             {.name = "TreeEnsembleClassifier", .domain = "ai.onnx.ml",
              .infer = infer_classifier_op, .eval = eval_classifier});
