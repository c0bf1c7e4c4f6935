// SPDX-License-Identifier: Apache-2.0
// Recurrent layers (specs of RNN, GRU, LSTM): shape rule and evaluation, shared with the
// dynamically quantized LSTM.
#pragma once
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {

enum class RnnKind { kRnn, kGru, kLstm };

struct RnnShape {
  Dim steps, batch, input, hidden;
  int64_t directions = 1;
  bool batch_first = false;  // attribute layout
};
// `transposed`: weights are [directions, input, gates * hidden] instead of
// [directions, gates * hidden, input], the recurrent ones likewise.
Result<RnnShape> rnn_rule(const InShapes& in, RnnKind kind, bool transposed);
Status infer_rnn(InferContext& ctx, RnnKind kind, bool transposed = false);
Result<int64_t> rnn_macs(const InferContext& ctx, RnnKind kind, bool transposed = false);

// Weights as the products take them, one direction after the other.
struct RnnWeights {
  std::vector<double> input;      // [directions, input, gates * hidden]
  std::vector<double> recurrent;  // [directions, hidden, gates * hidden]
  // Applied to the left operand of every product (dynamic quantization); may be null.
  void (*prepare)(std::span<double> operand) = nullptr;
};
Status eval_rnn(EvalContext& ctx, RnnKind kind, const RnnShape& shape, const RnnWeights& weights);

}  // namespace onnxtool
