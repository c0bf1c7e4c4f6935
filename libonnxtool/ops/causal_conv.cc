// SPDX-License-Identifier: Apache-2.0
// CausalConvWithState (ai.onnx 27): depthwise convolution that looks back, with its state.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

// Inputs: input [B, C, L], weight [C, 1, K], bias [C], past_state [B, C, K - 1].
struct Sizes {
  Dim batch, channels, length, kernel;
  Shape state() const { return {batch, channels, kernel - Dim(1)}; }
};

Result<Activation> activation(const Node& node) {
  const std::string_view name = node.attr_str("activation", "none");
  if (name == "silu" || name == "swish" || name == "none") return activation_of(name);
  return invalid(format("attribute 'activation' has the unknown value {}", quoted(name)));
}

Result<Sizes> rule(const InShapes& in) {
  TRY(activation(in.node()));
  static constexpr const char* kNames[] = {"input", "weight", "bias", "past state"};
  for (size_t i = 0; i < 4; i++)
    if (i != 2) TRY(expect_rank(in[i], kNames[i], 3));
  Sizes s;
  if (const Shape* x = in[0]) {
    s.batch = (*x)[0];
    s.channels = (*x)[1];
    s.length = (*x)[2];
  }
  if (const Shape* w = in[1]) {
    TRY_ASSIGN(s.channels, unify("number of channels", s.channels, "that of the weight", (*w)[0]));
    TRY(agree("channels of a kernel", (*w)[1], "expected number", Dim(1)));
    s.kernel = (*w)[2];
    if (s.kernel.is_const(0)) return invalid("weight has an empty kernel");
  }
  TRY(expect_vector(in[2], "bias", s.channels, "number of channels"));
  if (const Shape* p = in[3]) {
    TRY(agree("batch size", s.batch, "that of the past state", (*p)[0]));
    TRY(agree("number of channels", s.channels, "that of the past state", (*p)[1]));
    TRY(agree("kernel less one", s.kernel - Dim(1), "length of the past state", (*p)[2]));
  }
  return s;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  TRY(ctx.set(1, ctx.dtype(0), s.state()));
  return ctx.set(0, ctx.dtype(0), Shape{s.batch, s.channels, s.length});
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  return known_product(Shape{s.batch, s.channels, s.length, s.kernel});
}

Status eval(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  TRY_ASSIGN(const Activation act, activation(ctx.node()));
  TRY_ASSIGN(const Dims state_dims, known_dims(s.state()));
  const int64_t channels = s.channels.value(), length = s.length.value(), past = state_dims[2];
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), x.dims()));
  TRY_ASSIGN(Tensor state, ctx.allocate(x.dtype(), state_dims));
  TRY_ASSIGN(auto line, scratch(ctx, {past + length}));  // the past, then the input
  TRY_ASSIGN(auto out, scratch(ctx, {length}));
  TRY_ASSIGN(auto kernel, scratch(ctx, {past + 1}));
  for (int64_t row = 0; row < s.batch.value() * channels; row++) {
    const int64_t c = row % channels;
    std::fill_n(line.begin(), past, 0.0);
    const std::span<double> all(line);
    if (ctx.has(3)) load_f64(ctx.in(3), row * past, all.first(static_cast<size_t>(past)));
    load_f64(x, row * length, all.subspan(static_cast<size_t>(past)));
    load_f64(ctx.in(1), c * (past + 1), kernel);
    const double bias = ctx.has(2) ? ctx.in(2).f64_at(c) : 0;
    for (int64_t t = 0; t < length; t++) {
      double sum = bias;
      for (int64_t k = 0; k <= past; k++)
        sum += kernel[static_cast<size_t>(k)] * line[static_cast<size_t>(t + k)];
      out[static_cast<size_t>(t)] = act(sum);
    }
    store_f64(y, row * length, out);
    store_f64(state, row * past, all.last(static_cast<size_t>(past)));
  }
  ctx.set(0, std::move(y));
  if (ctx.wants(1)) ctx.set(1, std::move(state));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(causal_conv,
             {.name = "CausalConvWithState", .infer = infer, .eval = eval, .macs = macs})
