// SPDX-License-Identifier: Apache-2.0
// Convolutions: Conv, ConvInteger, QLinearConv, FusedConv.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/conv_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

constexpr ConvInputs kPlain = {0, 1, 2};
constexpr ConvInputs kInteger = {0, 1, SIZE_MAX};
constexpr ConvInputs kQuantized = {0, 3, 8};

Status set_shape(InferContext& ctx, DType type, std::optional<ConvShape> s) {
  return ctx.set(0, type, s ? std::optional(std::move(s->out)) : std::nullopt);
}

struct Prepared {
  ConvGeometry geometry;
  Dims out;
};
Result<Prepared> prepare(const EvalContext& ctx, ConvInputs at) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, at));
  if (!s) return ctx.error("an input is missing");
  Prepared p;
  TRY_ASSIGN(p.geometry, geometry_of(*s, *in[at.x], *in[at.w]));
  TRY_ASSIGN(p.out, known_dims(s->out));
  return p;
}

// ------------------------------------------------------------------------------------- Conv
Status infer_conv(InferContext& ctx) {
  TRY_ASSIGN(auto s, conv_rule(InShapes(ctx)));
  return set_shape(ctx, ctx.dtype(0), std::move(s));
}

Result<Activation> fused_activation(const Node& node) {
  const std::string_view name = node.attr_str("activation", "");
  if (name.empty()) return activation_of("none");
  TRY_ASSIGN(Activation a, activation_of(name));
  if (const auto* params = node.attr_floats("activation_params")) {
    if (!params->empty()) a.alpha = (*params)[0];
    if (params->size() > 1) a.beta = (*params)[1];
  }
  return a;
}

Status eval_conv(EvalContext& ctx) {
  TRY_ASSIGN(const Prepared p, prepare(ctx, kPlain));
  TRY_ASSIGN(const Activation act, fused_activation(ctx.node()));
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), p.out));
  const bool add = ctx.has(3);  // FusedConv only
  if (add && ctx.in(3).dims() != p.out)
    return ctx.error(
        format("input 'Z' has shape {}, output {}", to_string(ctx.in(3).dims()), to_string(p.out)));
  TRY_ASSIGN(const auto w, values_of(ctx, ctx.in(1)));
  const std::vector<double> bias = ctx.has(2) ? ctx.in(2).to_f64() : std::vector<double>();
  const ConvGeometry& g = p.geometry;
  const int64_t channels = g.group * g.out_channels;
  const auto source = [&](int64_t n, int64_t group, std::span<double> plane) {
    load_f64(ctx.in(0), (n * g.group + group) * g.in_channels * g.in_size, plane);
  };
  std::vector<double> addend(512);
  const auto sink = [&](int64_t n, int64_t m, int64_t first, std::span<double> v) {
    const int64_t to = (n * channels + m) * g.out_size + first;
    const double b = bias.empty() ? 0.0 : bias[static_cast<size_t>(m)];
    if (!bias.empty())
      for (double& x : v) x += b;
    if (add) {
      addend.resize(v.size());
      load_f64(ctx.in(3), to, addend);
      for (size_t i = 0; i < v.size(); i++) v[i] += addend[i];
    }
    for (double& x : v) x = act(x);
    store_f64(y, to, v);
  };
  TRY(convolve(ctx, g, source, w, sink));
  ctx.set(0, std::move(y));
  return ok();
}

// ------------------------------------------------------------------------- integer operands
// Both operators subtract zero points; padding counts as the zero point.
Status check_zero_points(const InShapes& in, size_t x_zero, size_t w_zero, const ConvShape& s) {
  TRY(expect_scalar(in[x_zero], "zero point of the input"));
  return expect_scalar_or_vector(in[w_zero], "zero point of the weight", s.out[1],
                                 "number of output channels");
}

Status check_scales(const InShapes& in, const ConvShape& s) {
  for (size_t i : {1, 6, 7})
    TRY(expect_scalar(in[i], i == 1 ? "scale of the input" : "scale and zero point of the output"));
  return expect_scalar_or_vector(in[4], "scale of the weight", s.out[1],
                                 "number of output channels");
}

using IntegerSink = std::function<int64_t(int64_t channel, double sum)>;
Status eval_integer(EvalContext& ctx, ConvInputs at, size_t x_zero, size_t w_zero, DType type,
                    const IntegerSink& finish) {
  TRY_ASSIGN(const Prepared p, prepare(ctx, at));
  const ConvGeometry& g = p.geometry;
  TRY_ASSIGN(Tensor y, ctx.allocate(type, p.out));
  const int64_t channels = g.group * g.out_channels;
  const double zero = ctx.has(x_zero) ? ctx.in(x_zero).f64_at(0) : 0.0;
  TRY_ASSIGN(auto w, values_of(ctx, ctx.in(at.w)));
  if (ctx.has(w_zero)) {
    const std::vector<double> zeros = ctx.in(w_zero).to_f64();
    const size_t per = channels > 0 ? w.size() / static_cast<size_t>(channels) : 1;
    for (size_t i = 0; i < w.size(); i++) w[i] -= zeros[zeros.size() == 1 ? 0 : i / per];
  }
  const auto source = [&](int64_t n, int64_t group, std::span<double> plane) {
    load_f64(ctx.in(at.x), (n * g.group + group) * g.in_channels * g.in_size, plane);
    for (double& v : plane) v -= zero;
  };
  std::vector<int64_t> values;
  const auto sink = [&](int64_t n, int64_t m, int64_t first, std::span<double> v) {
    values.clear();
    for (double x : v) values.push_back(finish(m, x));
    store_i64(y, (n * channels + m) * g.out_size + first, values);
  };
  TRY(convolve(ctx, g, source, w, sink));
  ctx.set(0, std::move(y));
  return ok();
}

Status infer_conv_integer(InferContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, kInteger));
  if (s) TRY(check_zero_points(in, 2, 3, *s));
  return set_shape(ctx, DType::kInt32, std::move(s));
}

Status eval_conv_integer(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, kInteger));
  if (s) TRY(check_zero_points(in, 2, 3, *s));
  return eval_integer(ctx, kInteger, 2, 3, DType::kInt32,
                      [](int64_t, double sum) { return static_cast<int64_t>(sum); });
}

Status infer_qlinear_conv(InferContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, kQuantized));
  if (s) {
    TRY(check_zero_points(in, 2, 5, *s));
    TRY(check_scales(in, *s));
  }
  return set_shape(ctx, ctx.dtype(7), std::move(s));
}

Status eval_qlinear_conv(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_rule(in, kQuantized));
  if (s) {
    TRY(check_zero_points(in, 2, 5, *s));
    TRY(check_scales(in, *s));
  }
  const DType type = ctx.in(7).dtype();
  const int64_t zero = ctx.in(7).i64_at(0);
  const float x_scale = static_cast<float>(ctx.in(1).f64_at(0));
  const float y_scale = static_cast<float>(ctx.in(6).f64_at(0));
  const std::vector<double> w_scale = ctx.in(4).to_f64();
  const std::vector<double> bias = ctx.has(8) ? ctx.in(8).to_f64() : std::vector<double>();
  return eval_integer(ctx, kQuantized, 2, 5, type, [&](int64_t m, double sum) {
    const size_t c = static_cast<size_t>(m);
    if (!bias.empty()) sum += bias[c];
    const float scale = x_scale * static_cast<float>(w_scale[w_scale.size() == 1 ? 0 : c]);
    return requantize(sum, scale / y_scale, zero, type);
  });
}

Result<int64_t> macs_conv(const InferContext& ctx) { return conv_macs(ctx, kPlain); }
Result<int64_t> macs_integer(const InferContext& ctx) { return conv_macs(ctx, kInteger); }
Result<int64_t> macs_quantized(const InferContext& ctx) { return conv_macs(ctx, kQuantized); }

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(conv, {.name = "Conv", .infer = infer_conv, .eval = eval_conv, .macs = macs_conv},
             {.name = "ConvInteger",
              .infer = infer_conv_integer,
              .eval = eval_conv_integer,
              .macs = macs_integer},
             {.name = "QLinearConv",
              .infer = infer_qlinear_conv,
              .eval = eval_qlinear_conv,
              .macs = macs_quantized},
             {.name = "FusedConv",
              .domain = "com.microsoft",
              .infer = infer_conv,
              .eval = eval_conv,
              .macs = macs_conv})
