// SPDX-License-Identifier: Apache-2.0
// TfIdfVectorizer: counts the n-grams of a pool in rows of integers or strings, with skips.
// Weights belong to columns of the output, as in onnx's reference and ONNX Runtime; the text of the
// standard says grams. Both mean the same where each gram has the column of its position.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Settings {
  int64_t min_length = 0, max_length = 0, max_skip = 0, width = 0;
  enum class Mode { kTf, kIdf, kTfIdf } mode = Mode::kTf;
  std::vector<int64_t> counts, indexes;
  std::vector<float> weights;
  int64_t pool_size = 0;
};

// All attributes, checked against each other.
Result<Settings> settings_of(const Node& node) {
  Settings s;
  const std::string_view mode = node.attr_str("mode", "");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    return invalid(format("attribute 'mode' is {}, must be 'TF', 'IDF' or 'TFIDF'", quoted(mode)));
  s.mode = mode == "TF"    ? Settings::Mode::kTf
           : mode == "IDF" ? Settings::Mode::kIdf
                           : Settings::Mode::kTfIdf;
  s.min_length = node.attr_int("min_gram_length", 0);
  s.max_length = node.attr_int("max_gram_length", 0);
  s.max_skip = node.attr_int("max_skip_count", 0);
  if (s.min_length < 1 || s.max_length < s.min_length || s.max_skip < 0)
    return invalid(
        format("gram lengths {} to {}, skips {}", s.min_length, s.max_length, s.max_skip));
  const auto *counts = node.attr_ints("ngram_counts"), *indexes = node.attr_ints("ngram_indexes");
  if (!counts || counts->empty() || !indexes || indexes->empty())
    return invalid("attributes 'ngram_counts' and 'ngram_indexes' must not be empty");
  s.counts = *counts;
  s.indexes = *indexes;
  const auto* ints = node.attr_ints("pool_int64s");
  const auto* strings = node.attr_strings("pool_strings");
  if ((ints != nullptr) == (strings != nullptr))
    return invalid("one of 'pool_int64s' and 'pool_strings' must be there");
  s.pool_size = static_cast<int64_t>(ints ? ints->size() : strings->size());
  for (size_t i = 0; i < s.counts.size(); ++i)
    if (s.counts[i] < 0 || s.counts[i] > s.pool_size || (i > 0 && s.counts[i] < s.counts[i - 1]))
      return invalid(format("attribute 'ngram_counts' has {} at {}, the pool {} items", s.counts[i],
                            i, s.pool_size));
  if (s.max_length > static_cast<int64_t>(s.counts.size()))
    return invalid(
        format("grams up to {}, 'ngram_counts' has {} values", s.max_length, s.counts.size()));
  for (int64_t i : s.indexes) {
    if (i < 0 || i == INT64_MAX) return invalid(format("attribute 'ngram_indexes' has {}", i));
    s.width = std::max(s.width, i + 1);
  }
  int64_t grams = 0;
  for (size_t i = 0; i < s.counts.size(); ++i) {
    const int64_t end = i + 1 < s.counts.size() ? s.counts[i + 1] : s.pool_size;
    const int64_t items = end - s.counts[i], n = static_cast<int64_t>(i) + 1;
    if (items % n != 0) return invalid(format("{} pool items for grams of length {}", items, n));
    grams += items / n;
  }
  if (grams != static_cast<int64_t>(s.indexes.size()))
    return invalid(format("pool has {} grams, 'ngram_indexes' {} values", grams, s.indexes.size()));
  if (const auto* w = node.attr_floats("weights"); w && !w->empty()) {
    s.weights = *w;
    if (w->size() != s.indexes.size())
      return invalid(format("attribute 'weights' has {} values, 'ngram_indexes' {}", w->size(),
                            s.indexes.size()));
    if (s.width > static_cast<int64_t>(w->size()))
      return unsupported(format("{} weights for {} columns", w->size(), s.width));
  }
  return s;
}

// The pool as a trie: node 0 is the root; an edge (node, token) leads on; gram -1: none ends here.
struct Trie {
  std::map<std::pair<int32_t, int64_t>, int32_t> edges;
  std::vector<int64_t> gram = {-1};
  int32_t find(int32_t node, int64_t token) const {
    const auto it = edges.find({node, token});
    return it == edges.end() ? -1 : it->second;
  }
};

Trie build(const Settings& s, const std::vector<int64_t>& pool) {
  Trie trie;
  int64_t id = 0;
  for (size_t i = 0; i < s.counts.size(); ++i) {
    const int64_t end = i + 1 < s.counts.size() ? s.counts[i + 1] : s.pool_size;
    const auto n = static_cast<int64_t>(i) + 1;
    for (int64_t at = s.counts[i]; at < end; at += n, ++id) {
      if (n < s.min_length || n > s.max_length) continue;
      int32_t node = 0;
      for (int64_t k = 0; k < n; ++k) {
        const auto [it, fresh] =
            trie.edges.emplace(std::pair{node, pool[static_cast<size_t>(at + k)]},
                               static_cast<int32_t>(trie.gram.size()));
        if (fresh) trie.gram.push_back(-1);
        node = it->second;
      }
      trie.gram[static_cast<size_t>(node)] = id;
    }
  }
  return trie;
}

void count_row(const Settings& s, const Trie& trie, std::span<const int64_t> row,
               std::span<double> gram_counts) {
  int64_t shortest = s.min_length;
  for (int64_t step = 1; step - 1 <= s.max_skip; ++step) {
    const auto n = static_cast<int64_t>(row.size());
    if (step > n && shortest > 1) break;
    for (int64_t start = 0; start < n; ++start) {
      int32_t node = 0;
      int64_t length = 0;
      for (int64_t at = start; at < n && length < s.max_length; at += step) {
        node = trie.find(node, row[static_cast<size_t>(at)]);
        if (node < 0) break;
        const int64_t id = trie.gram[static_cast<size_t>(node)];
        if (++length >= shortest && id >= 0) gram_counts[static_cast<size_t>(id)] += 1;
      }
    }
    if (shortest == 1 && ++shortest > s.max_length) break;  // skips do not touch single tokens
  }
}

Status eval_tfidf(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Settings s, settings_of(ctx.node()));
  if (x.rank() > 2)
    return ctx.error(format("input has shape {}, must be [C] or [N,C]", to_string(x.dims())));
  const auto* ints = ctx.node().attr_ints("pool_int64s");
  if (x.is_string() == (ints != nullptr)) return ctx.error("pool and input differ in their type");
  // Strings become numbers: their position among the pool's distinct strings, -1 for others.
  std::vector<int64_t> pool, tokens;
  if (ints) {
    pool = *ints;
    tokens = x.to_i64();
  } else {
    std::unordered_map<std::string_view, int64_t> known;
    for (const std::string& w : *ctx.node().attr_strings("pool_strings"))
      pool.push_back(known.emplace(w, static_cast<int64_t>(known.size())).first->second);
    for (const std::string& w : x.string_data()) {
      const auto it = known.find(w);
      tokens.push_back(it == known.end() ? -1 : it->second);
    }
  }
  const int64_t rows = x.rank() == 2 ? x.dims()[0] : 1;
  const int64_t length = rows == 0 ? 0 : x.size() / rows;
  Dims dims = {s.width};
  if (x.rank() == 2) dims.insert(dims.begin(), rows);
  TRY_ASSIGN(Tensor r, ctx.allocate(DType::kFloat, dims));
  const Trie trie = build(s, pool);
  std::vector<double> counts(s.indexes.size());
  for (int64_t row = 0; row < rows; ++row) {
    std::fill(counts.begin(), counts.end(), 0.0);
    count_row(
        s, trie,
        std::span(tokens).subspan(static_cast<size_t>(row * length), static_cast<size_t>(length)),
        counts);
    float* out = r.mut<float>().data() + row * s.width;
    for (size_t g = 0; g < counts.size(); ++g) out[s.indexes[g]] += static_cast<float>(counts[g]);
    for (int64_t c = 0; s.mode != Settings::Mode::kTf && c < s.width; ++c) {
      const float w = s.weights.empty() ? 1.0F : s.weights[static_cast<size_t>(c)];
      if (s.mode == Settings::Mode::kIdf)
        out[c] = out[c] > 0 ? w : 0.0F;
      else
        out[c] *= w;
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Status infer_tfidf(InferContext& ctx) {
  TRY_ASSIGN(const Settings s, settings_of(ctx.node()));
  const Shape* x = ctx.shape(0);
  if (!x) return ctx.set(0, DType::kFloat, std::optional<Shape>());
  if (x->size() > 2)
    return ctx.error(format("input has shape {}, must be [C] or [N,C]", to_string(*x)));
  return ctx.set(0, DType::kFloat, x->size() == 2 ? Shape{(*x)[0], s.width} : Shape{s.width});
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(tfidf, {.name = "TfIdfVectorizer",
                     .infer = infer_tfidf,
                     .eval = eval_tfidf,
                     .flags = kManyReads})
