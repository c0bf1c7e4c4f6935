// SPDX-License-Identifier: Apache-2.0
// The recurrent operators RNN, GRU, LSTM.
#include "libonnxtool/ops/rnn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

// [directions, rows, cols] to [directions, cols, rows].
std::vector<double> turned(const Tensor& t) {
  const std::vector<double> from = t.to_f64();
  const int64_t rows = t.dims()[1], cols = t.dims()[2];
  std::vector<double> to;
  to.reserve(from.size());
  for (int64_t d = 0; d < t.dims()[0]; d++) {
    const size_t part = static_cast<size_t>(rows * cols);
    const auto one =
        transposed(std::span(from).subspan(static_cast<size_t>(d) * part, part), rows, cols);
    to.insert(to.end(), one.begin(), one.end());
  }
  return to;
}

template <RnnKind kKind>
Status infer(InferContext& ctx) {
  return infer_rnn(ctx, kKind);
}
template <RnnKind kKind>
Result<int64_t> macs(const InferContext& ctx) {
  return rnn_macs(ctx, kKind);
}
template <RnnKind kKind>
Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const RnnShape shape, rnn_rule(InShapes(ctx), kKind, false));
  for (size_t i : {1, 2}) TRY(reserve_work(ctx, {2, ctx.in(i).size()}));
  return eval_rnn(ctx, kKind, shape, {turned(ctx.in(1)), turned(ctx.in(2))});
}

// 7: the hint whether the first output is wanted went; its absence tells.
Result<bool> output_sequence_up(Model& m, NodeId n) {
  m.remove_attr(n, "output_sequence");
  return true;
}
Status output_sequence_down(Model& m, NodeId n) {
  m.set_attr(n, Attribute::of("output_sequence", int64_t{m.node(n).has_output(0)}));
  return ok();
}
constexpr VersionStep kSteps[] = {{7, output_sequence_up, output_sequence_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(rnn,
             {.name = "RNN",
              .infer = infer<RnnKind::kRnn>,
              .eval = eval<RnnKind::kRnn>,
              .steps = kSteps,
              .macs = macs<RnnKind::kRnn>},
             {.name = "GRU",
              .infer = infer<RnnKind::kGru>,
              .eval = eval<RnnKind::kGru>,
              .steps = kSteps,
              .macs = macs<RnnKind::kGru>},
             {.name = "LSTM",
              .infer = infer<RnnKind::kLstm>,
              .eval = eval<RnnKind::kLstm>,
              .steps = kSteps,
              .macs = macs<RnnKind::kLstm>})
