// SPDX-License-Identifier: Apache-2.0
// LSTM, GRU and RNN with their default activations, and com.microsoft.DynamicQuantizeLSTM: its
// weights of 8 bits are stored [directions, in, 4 * hidden], and the left operand of every product
// is rounded to the 8-bit grid of its own range.
#pragma once
#include "exec/plan/step.h"

namespace onnxtool {

struct RnnForm {
  enum class Cell : uint8_t { kLstm, kGru, kRnn };
  // Inputs.
  static constexpr size_t kX = 0, kW = 1, kR = 2, kB = 3, kLengths = 4, kH0 = 5, kC0 = 6,
                          kPeephole = 7, kWScale = 8, kRScale = 10;

  Cell cell = Cell::kLstm;
  int64_t steps = 0, batch = 0, input = 0, hidden = 0, directions = 1, gates = 4;
  bool first_backward = false, linear_before_reset = false;
  int64_t width() const { return gates * hidden; }
};
bool is_dynamic_lstm(const StepInfo& s);

// Why it is none that can be planned; nullptr: it is in *r. All but weights of 8 bits are float.
const char* plan_rnn(const StepInfo& s, RnnForm* r);

// One direction of the weights of 8 bits in input `index` as floats, [k, width].
std::vector<float> dequantized_rnn(const StepInfo& s, size_t index, int64_t d, int64_t k,
                                   int64_t width);
// The biases of both products, [directions, width], added where they may be; `late`: GRU with
// linear_before_reset, the recurrent bias of the third gate, [directions, hidden].
struct RnnBias {
  std::vector<float> sum, late;
};
RnnBias rnn_bias(const StepInfo& s, const RnnForm& r);

}  // namespace onnxtool
