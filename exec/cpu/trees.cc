// SPDX-License-Identifier: Apache-2.0
// TreeEnsemble, TreeEnsembleRegressor and TreeEnsembleClassifier on rows of float or double. Votes
// add up in double in the order of the trees, as in the reference, whatever the batch and the
// threads.
#include <algorithm>
#include <cmath>

#include "exec/cpu/forest.h"
#include "exec/cpu/util.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/ml_util.h"

namespace onnxtool {
namespace cpu {
namespace {

// What a row's votes become, without allocating: final_scores() of the reference.
struct Finish {
  PostTransform transform = PostTransform::kNone;
  std::vector<double> base;
  int64_t targets = 1;

  // Writes one score for each of `scores`, or two for one score of a pair.
  template <typename T>
  void write(std::span<double> scores, SecondScore second, T* to) const {
    if (scores.size() == 1 && second != SecondScore::kNone) {
      double s = scores[0], other = second == SecondScore::kComplement ? 1 - s : -s;
      if (transform == PostTransform::kProbit) {
        apply_post_transform(transform, scores);
        s = scores[0];
        other = -s;
      } else if (transform == PostTransform::kLogistic) {
        const double score = s;
        s = 1 / (1 + std::exp(-score));
        other = 1 / (1 + std::exp(score));
      }
      to[0] = static_cast<T>(other);
      to[1] = static_cast<T>(s);
      return;
    }
    if (scores.size() != 1 || transform == PostTransform::kProbit)
      apply_post_transform(transform, scores);
    for (size_t k = 0; k < scores.size(); ++k) to[k] = static_cast<T>(scores[k]);
  }
};

class Ensemble final : public Prepared {
 public:
  Forest forest;
  simd::Trees trees;
  ForestVotes votes;
  Finish finish;
  Labels labels;
  std::optional<Ranks> ranks;             // rows of double
  bool classifier = false, wide = false;  // wide: scores of double
  int64_t rows = 0, features = 0, block_bytes = 0;

  Status run(const RunArgs& a) const override {
    return wide ? scored<double>(a) : scored<float>(a);
  }

  // Of one thread: the block's rows by feature, votes, marks, one row's votes, spare scores.
  void layout(int threads) {
    const int64_t t = finish.targets;
    votes_at_ = rounded(features * simd::kTreeRows * 4);
    seen_at_ = votes_at_ + rounded(t * simd::kTreeRows * 8);
    one_at_ = seen_at_ + rounded(t * simd::kTreeRows);
    spare_at_ = one_at_ + rounded(t * 8);
    block_bytes = spare_at_ + rounded(std::max<int64_t>(t, 2) * 8);
    scratch_bytes = block_bytes * threads;
  }

 private:
  static int64_t rounded(int64_t n) { return (n + 63) / 64 * 64; }

  template <typename T>
  Status scored(const RunArgs& a) const {
    T* scores = out<T>(a, classifier ? 1 : 0);
    std::vector<std::string> names;
    int64_t* label = nullptr;
    const bool strings = classifier && !labels.strings.empty();
    if (strings)
      names.resize(static_cast<size_t>(rows));
    else if (classifier)
      label = out<int64_t>(a);
    const auto store = [&](int64_t i, std::span<double> s, const uint8_t* seen) {
      T* to = scores ? scores + i * finish.targets
                     : reinterpret_cast<T*>(a.scratch + parallel_index() * block_bytes + spare_at_);
      if (!classifier) {
        for (size_t k = 0; k < finish.base.size(); ++k) s[k] += finish.base[k];
        finish.write(s, SecondScore::kNone, to);
        return;
      }
      const auto best = static_cast<size_t>(decide(s, seen, to));
      if (strings)
        names[static_cast<size_t>(i)] = best < labels.size() ? labels.strings[best] : std::string();
      else if (label)
        label[i] = best < labels.size() ? labels.ints[best] : static_cast<int64_t>(best);
    };
    const int64_t blocks = (rows + simd::kTreeRows - 1) / simd::kTreeRows;
    const double each =
        3.0 * static_cast<double>(trees.trees.size()) * static_cast<double>(simd::kTreeRows);
    parallel_for(blocks, grain_for(each), [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * simd::kTreeRows;
        run_rows(a, first, std::min(simd::kTreeRows, rows - first),
                 a.scratch + parallel_index() * block_bytes, store);
      }
    });
    if (strings) return a.host->output(0, Datum(Tensor::strings({rows}, std::move(names))));
    return ok();
  }

  template <typename Store>
  void run_rows(const RunArgs& a, int64_t first, int64_t n, std::byte* scratch,
                const Store& store) const {
    const auto t = static_cast<size_t>(finish.targets);
    auto* acc = reinterpret_cast<double*>(scratch + votes_at_);
    auto* seen = votes.all_seen ? nullptr : reinterpret_cast<uint8_t*>(scratch + seen_at_);
    auto* one = reinterpret_cast<double*>(scratch + one_at_);
    constexpr int64_t kLone = 4;  // fewer rows than this walk
    const int64_t stride = n < kLone ? 1 : simd::kTreeRows;
    auto* xt = reinterpret_cast<float*>(scratch);
    if (stride > 1) {
      for (int64_t f = 0; f < features; ++f) {
        float* to = xt + f * simd::kTreeRows;
        copy_feature(a, first, n, f, to);
        std::fill(to + n, to + simd::kTreeRows, 0.0f);
      }
      std::fill_n(acc, t * static_cast<size_t>(simd::kTreeRows), 0.0);
      if (seen) std::fill_n(seen, t * static_cast<size_t>(simd::kTreeRows), uint8_t{0});
      simd::trees_block(trees, xt, n, acc, seen);
    }
    std::vector<uint8_t> marks(seen ? t : 0);
    for (int64_t r = 0; r < n; ++r) {
      if (stride == 1) {
        std::fill_n(one, t, 0.0);
        if (seen) std::fill_n(seen, t, uint8_t{0});
        const float* row = ranks ? xt : in<float>(a, 0) + (first + r) * features;
        for (int64_t f = 0; ranks && f < features; ++f) copy_feature(a, first + r, 1, f, xt + f);
        simd::trees_row(trees, row, one, seen);
      } else {
        for (size_t k = 0; k < t; ++k) one[k] = acc[static_cast<int64_t>(k) * simd::kTreeRows + r];
      }
      for (size_t k = 0; k < marks.size(); ++k)
        marks[k] =
            seen[stride == 1 ? k
                             : k * static_cast<size_t>(simd::kTreeRows) + static_cast<size_t>(r)];
      if (forest.aggregate == Forest::Aggregate::kAverage)
        for (size_t k = 0; k < t; ++k) one[k] /= static_cast<double>(forest.roots.size());
      store(first + r, std::span(one, t), seen ? marks.data() : nullptr);
    }
  }

  // Feature f of rows [first, first + n), as its tests want it.
  void copy_feature(const RunArgs& a, int64_t first, int64_t n, int64_t f, float* to) const {
    if (!ranks) {
      const float* x = in<float>(a, 0) + first * features + f;
      for (int64_t r = 0; r < n; ++r) to[r] = x[r * features];
    } else if (f < forest.features) {
      const double* x = in<double>(a, 0) + first * features + f;
      for (int64_t r = 0; r < n; ++r) to[r] = ranks->of(static_cast<size_t>(f), x[r * features]);
    }
  }

  // The label's index; scores go to `to`. The rules are those of the reference (ml_tree.cc).
  template <typename T>
  int64_t decide(std::span<double> s, const uint8_t* seen, T* to) const {
    const std::vector<double>& base = finish.base;
    if (s.size() == 1) {
      if (!base.empty()) s[0] += base[0];
      const int64_t label = s[0] > 0 ? 1 : 0;
      finish.write(s, SecondScore::kNone, to);
      return label;
    }
    if (!votes.single) {
      int64_t best = -1;
      for (size_t k = 0; k < s.size(); ++k) {
        if (k < base.size()) s[k] += base[k];
        const bool counts = !seen || seen[k] || !base.empty();
        if (counts && (best < 0 || s[k] > s[static_cast<size_t>(best)]))
          best = static_cast<int64_t>(k);
      }
      if (best < 0) best = std::max_element(s.begin(), s.end()) - s.begin();
      finish.write(s, SecondScore::kNone, to);
      return best;
    }
    const auto target = static_cast<size_t>(votes.target);
    if (base.size() == 2 && target == 1) s[0] += base[0];
    double& score = s[target];
    if (!base.empty()) score += base[base.size() == 2 ? target : 0];
    const int64_t label = score > (votes.all_positive ? 0.5 : 0.0) ? 1 : 0;
    if (target == 1)
      finish.write(s, SecondScore::kNone, to);
    else
      finish.write(std::span(&score, 1),
                   votes.all_positive ? SecondScore::kComplement : SecondScore::kNegative, to);
    return label;
  }

  int64_t votes_at_ = 0, seen_at_ = 0, one_at_ = 0, spare_at_ = 0;
};

const char* accept(const StepInfo& s) {
  if (!s.node || !s.post.empty() || !s.attrs.empty()) return "not a node of the model";
  const Operand& x = s.in[0];
  if ((!is_f32(x) && x.dtype != DType::kDouble) || !all_plain(s)) return "not rows of floats";
  if (x.rank() != 1 && x.rank() != 2) return "the rank";
  if (s.node->op.view() == "TreeEnsembleClassifier") return nullptr;
  return is_f32(s.out[0]) || s.out[0].dtype == DType::kDouble ? nullptr : "the output's type";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  auto e = std::make_unique<Ensemble>();
  e->classifier = s.node->op.view() == "TreeEnsembleClassifier";
  TRY_ASSIGN(e->forest, forest_of(*s.node));
  Forest& f = e->forest;
  const Dims& d = s.in[0].dims;
  e->rows = d.size() == 2 ? d[0] : 1;
  e->features = d.back();
  if (e->features < f.features)
    return invalid(format("the trees test {} features, input has {}", f.features, e->features));
  e->finish = {f.transform, f.base, f.targets};
  e->votes = votes_of(f);
  const bool pair_base = e->classifier && e->votes.single && f.base.size() == 1;
  if (!f.base.empty() && static_cast<int64_t>(f.base.size()) != f.targets && !pair_base)
    return invalid(format("{} base values for {} targets", f.base.size(), f.targets));
  if (e->classifier) {
    TRY_ASSIGN(e->labels, labels_of(*s.node, "classlabels_int64s", "classlabels_strings"));
  } else {
    e->votes.all_seen = true;
  }
  e->wide = s.out[0].dtype == DType::kDouble;
  if (s.in[0].dtype == DType::kDouble) e->ranks = rank_tests(f);
  TRY_ASSIGN(e->trees, compile_forest(f));
  e->layout(ctx.threads);
  e->detail = format("{} trees, {} walked", e->trees.trees.size(),
                     std::count_if(e->trees.trees.begin(), e->trees.trees.end(),
                                   [](const auto& t) { return t.begin == t.end; }));
  return std::unique_ptr<Prepared>(std::move(e));
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(trees, {"trees",
                             "ai.onnx.ml.TreeEnsemble ai.onnx.ml.TreeEnsembleRegressor "
                             "ai.onnx.ml.TreeEnsembleClassifier",
                             30, cpu::accept, cpu::prepare})
