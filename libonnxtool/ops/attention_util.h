// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention over heads, shared by the attention operators.
#pragma once
#include <functional>

#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

// Values in the order [batch, heads, length, size].
struct Heads {
  int64_t batch = 0, heads = 0, length = 0, size = 0;
  std::vector<double> v;
  int64_t part() const { return length * size; }  // elements of one head
  double* at(int64_t b, int64_t h) { return v.data() + (b * heads + h) * part(); }
  const double* at(int64_t b, int64_t h) const { return v.data() + (b * heads + h) * part(); }
  Dims dims() const { return {batch, heads, length, size}; }
};
Result<Heads> make_heads(const EvalContext& ctx, int64_t batch, int64_t heads, int64_t length,
                         int64_t size);
// From [batch, heads, length, size], or from [batch, length, heads * size].
Result<Heads> load_heads(const EvalContext& ctx, const Tensor& t, int64_t heads);
// `past` and then `now` along the length.
Result<Heads> append_heads(const EvalContext& ctx, const Heads& past, const Heads& now);
// Output i as [batch, heads, length, size] or, `packed`, [batch, length, heads * size].
Status set_heads(EvalContext& ctx, size_t i, DType type, const Heads& h, bool packed);

// In place: exp(row - max) / sum; `sink` adds exp(sink - max) to the sum. `round`: each step to
// bfloat16.
void softmax_row(std::span<double> row, const double* sink = nullptr, bool round = false);
// Rotary embedding of one head, in place: pairs of elements, neighbours or half the rotated dims
// apart, turned by the angles whose cosines and sines are given.
void rotate(std::span<double> head, std::span<const double> cos, std::span<const double> sin,
            bool interleaved);

enum class ScoreStage { kNone, kRaw, kCapped, kBiased, kProbabilities };

struct AttentionForm {
  double scale = 1, softcap = 0;
  // Fills what is added to the scores of query i (zero on entry); may be empty.
  std::function<void(int64_t b, int64_t h, int64_t i, std::span<double> bias)> bias;
  // Logarithm of what each head adds to the denominator of its softmax; may be empty.
  std::vector<double> sinks;
  ScoreStage stage = ScoreStage::kNone;  // which scores to give
  // Every step of the operator's function body rounds to bfloat16, sums at each term; the scale
  // goes to q and k by its root.
  bool round_q = false, round_softmax = false;
};
struct AttentionResult {
  Heads y, scores;
};
// Groups of q.heads / k.heads query heads share a head of k and v. A query whose bias is -inf for
// every key gives zeros.
Result<AttentionResult> attend(const EvalContext& ctx, const Heads& q, const Heads& k,
                               const Heads& v, const AttentionForm& spec);

// A mask broadcast over [batch, heads, queries, keys]: bool (false: -inf) or numbers, added.
class MaskRows {
 public:
  // `pad`: keys beyond a shorter last dim get -inf, otherwise a last dim of 1 repeats.
  MaskRows(const Tensor& mask, int64_t keys, bool pad);
  void add(int64_t b, int64_t h, int64_t i, std::span<double> bias) const;

 private:
  const Tensor& mask_;
  int64_t strides_[3] = {0, 0, 0};  // of batch, head, query
  int64_t length_ = 1;
  bool repeat_ = false;
};

}  // namespace onnxtool
