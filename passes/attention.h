// SPDX-License-Identifier: Apache-2.0
// Attention as exporters write it: MatMul(Softmax(scale * MatMul(q, k^T) + mask), v).
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "passes/attention_mask.h"

namespace onnxtool {

// An operand [batch, heads, length, size] that comes out of packed [batch, length, heads * size]
// by a Reshape and a Transpose; or out of packed [batch, length, 3 * heads * size], of which it is
// one part.
struct PackedHeads {
  ValueId packed;
  int64_t heads = 0;
  int64_t size = 0;
  int64_t part = -1;  // of three
};

// Keys or values of the past with new ones behind them.
struct Cache {
  NodeId concat;
  ValueId past, now;
};

inline constexpr const char* kMaySeeNoKey =
    "a query may see no key, of which Softmax makes no number and attention zeros";

struct AttentionParts {
  ValueId q, k_transposed, v;  // four dims; the key with the last two swapped
  ValueId k;                   // where a Transpose swaps them: before it
  ValueId mask;                // added to the scores; invalid: none
  // Where it says that a query does not see a key, the score is `hidden`, about as low as numbers
  // get, or -inf; invalid: none.
  ValueId condition;
  MaskForm condition_form = MaskForm::kSees;
  double hidden = 0;
  bool guarded = false;                    // probabilities that are no numbers become 0
  DType softmax_type = DType::kUndefined;  // which Softmax is computed in, if in another one
  double scale = 1;
  std::vector<NodeId> inner;  // nodes between the operands and the root that nobody else may read
  std::optional<PackedHeads> q3, k3, v3;
  // Keys and values of grouped heads before they are repeated, both or neither; the key not
  // transposed.
  ValueId few_k, few_v;
  std::optional<Cache> past_k, past_v;  // of k or few_k, and of v or few_v; both or neither
  // Packed form of the new keys and values, where there is a past, or of grouped heads.
  std::optional<PackedHeads> own_k, own_v;
  // Where all of the result goes through a Transpose and a Reshape to packed form: both nodes.
  NodeId transpose, reshape;

  // Nothing but a mask that is added.
  bool plain() const { return !condition.valid() && !guarded && softmax_type == DType::kUndefined; }
};

// Query, key and value in packed form, where all three have one; makes the Split of what holds all.
std::optional<std::array<EditValue, 3>> packed_operands(const AttentionParts& p, Edit& edit);

// `root` is the last MatMul. nullopt: something else; `why` is set where it is nearly one.
std::optional<AttentionParts> attention_of(const PassContext& ctx, NodeId root, const char*& why);

}  // namespace onnxtool
