// SPDX-License-Identifier: Apache-2.0
// DynamicQuantizeLSTM (com.microsoft): LSTM with 8-bit weights [directions, input, 4 * hidden] and
// left operands rounded to 8 bits before each product.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/dynamic_quantize.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/rnn_util.h"

namespace onnxtool {
namespace {

// Scale and zero point of a weight: one a direction, or one a direction and column.
Status check_parameters(const InShapes& in, const RnnShape& r) {
  const Dim d(r.directions), columns = Dim(4) * r.hidden;
  for (size_t i = 8; i < 12; i++) {
    const Shape* s = in[i];
    if (s == nullptr) continue;
    const char* what = i % 2 == 0 ? "scale" : "zero point";
    const bool fits =
        s->empty() ? r.directions == 1
                   : s->size() <= 2 && !Dim::differ((*s)[0], d) &&
                         (s->size() == 1 || !Dim::differ((*s)[1], columns) || (*s)[1].is_const(1));
    if (!fits)
      return invalid(format("{} of {} has shape {}, {} or {} expected", what,
                            i < 10 ? "'W'" : "'R'", to_string(*s), to_string(Shape{d}),
                            to_string(Shape{d, columns})));
  }
  return ok();
}

Status infer(InferContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(const RnnShape r, rnn_rule(in, RnnKind::kLstm, true));
  TRY(check_parameters(in, r));
  return infer_rnn(ctx, RnnKind::kLstm, true);
}

Result<int64_t> macs(const InferContext& ctx) { return rnn_macs(ctx, RnnKind::kLstm, true); }

std::vector<double> dequantized(const EvalContext& ctx, size_t weight, size_t first) {
  const Tensor& t = ctx.in(weight);
  std::vector<double> v = t.to_f64();
  const std::vector<double> scale = ctx.in(first).to_f64(), zero = ctx.in(first + 1).to_f64();
  const size_t columns = static_cast<size_t>(t.dims()[2]);
  const size_t part = static_cast<size_t>(t.dims()[1]) * columns;
  const size_t directions = static_cast<size_t>(t.dims()[0]);
  const auto at = [&](const std::vector<double>& p, size_t i) {
    const size_t d = i / part;
    return p.size() == directions ? p[d] : p[d * columns + i % columns];
  };
  for (size_t i = 0; i < v.size(); i++) v[i] = (v[i] - at(zero, i)) * at(scale, i);
  return v;
}

Status eval(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(const RnnShape r, rnn_rule(in, RnnKind::kLstm, true));
  TRY(check_parameters(in, r));
  for (size_t i : {1, 2}) TRY(reserve_work(ctx, {ctx.in(i).size()}));
  return eval_rnn(ctx, RnnKind::kLstm, r,
                  {dequantized(ctx, 1, 8), dequantized(ctx, 2, 10), round_to_uint8_grid});
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(dynamic_quantize_lstm, {.name = "DynamicQuantizeLSTM",
                                     .domain = "com.microsoft",
                                     .infer = infer,
                                     .eval = eval,
                                     .macs = macs})
