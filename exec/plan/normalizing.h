// SPDX-License-Identifier: Apache-2.0
// Layer, RMS, group and instance normalization, with what com.microsoft adds before: which operand
// is what, and the rows that are normalized. Kernels of every device run what is planned here.
#pragma once
#include "exec/plan/step.h"

namespace onnxtool {

inline constexpr size_t kNone = SIZE_MAX;  // no such operand

// Rows of n elements: x (+ skip + bias) of a row, less its mean unless rms, over its deviation,
// times gamma plus beta.
struct LayerNorm {
  size_t gamma = kNone, beta = kNone, skip = kNone, bias = kNone;  // inputs
  size_t mean = kNone, inv = kNone, sum = kNone;                   // outputs; sum: with skip, bias
  bool rms = false;
  float epsilon = 1e-5f;
  int64_t rows = 0, n = 0;
};
// Scale and bias, inputs 1 and 2, are one a channel.
struct GroupNorm {
  int64_t images = 0, channels = 0, spatial = 0, groups = 0;
  bool channels_last = false;
  float epsilon = 1e-5f;
};

// Why the step is none that can be planned; nullptr: it is in *r. Element types and post operations
// are the kernels' affair.
const char* plan_layer_norm(const StepInfo& s, LayerNorm* r);
const char* plan_group_norm(const StepInfo& s, GroupNorm* r);

}  // namespace onnxtool
