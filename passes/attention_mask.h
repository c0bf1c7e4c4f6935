// SPDX-License-Identifier: Apache-2.0
// What the masks of attention say: numbers added to scores, of which -inf hides a key, or booleans.
#pragma once
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

enum class MaskForm : uint8_t {
  kAdded,  // numbers
  kSees,   // true: the query sees the key
  kHides,  // true: it does not
};

// Every query sees the keys up to its own place, no others.
bool is_causal(const PassContext& ctx, ValueId mask, MaskForm form);

// No number of an added mask is -inf or the lowest of its type. Flags in integers are taken to be
// 0 and 1.
bool hides_nothing(const PassContext& ctx, ValueId mask);

// Every query sees a key, whatever the inputs are; false: not known.
bool every_query_sees(const PassContext& ctx, ValueId mask, MaskForm form);

// A row of the constant, which is added, hides all keys.
bool hides_all(const Tensor& mask);

// The booleans of Where(b, 0, -inf) or Where(b, -inf, 0), and what they say.
struct BooleanMask {
  ValueId mask;
  MaskForm form = MaskForm::kSees;
};
std::optional<BooleanMask> boolean_mask(const PassContext& ctx, ValueId added);

}  // namespace onnxtool
