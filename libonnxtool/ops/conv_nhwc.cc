// SPDX-License-Identifier: Apache-2.0
// Convolutions of com.microsoft with the channels at the end: NhwcConv (weights [M, k.., C/group])
// and NhwcFusedConv (weights [M, C/group, k..], an addend, an activation).
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/conv_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

bool is_fused(const Node& node) { return node.op.view() == "NhwcFusedConv"; }

// The last dim comes second.
Shape to_front(Shape s) {
  if (s.size() > 2) std::rotate(s.begin() + 1, s.end() - 1, s.end());
  return s;
}
Shape to_back(Shape s) {
  if (s.size() > 2) std::rotate(s.begin() + 1, s.begin() + 2, s.end());
  return s;
}

// Shapes as Conv has them.
InShapes channels_first(InShapes in) {
  if (in[0] != nullptr) in.set(0, to_front(*in[0]));
  if (in[1] != nullptr && !is_fused(in.node())) in.set(1, to_front(*in[1]));
  return in;
}

Status check_addend(const InShapes& in, const Shape& out) {
  const Shape* z = in[3];
  if (z == nullptr) return ok();
  if (!merge(Type::tensor(DType::kFloat, *z), Type::tensor(DType::kFloat, out)))
    return invalid(format("input 'Z' has shape {}, output {}", to_string(*z), to_string(out)));
  return ok();
}

Status infer(InferContext& ctx) {
  const InShapes in = channels_first(InShapes(ctx));
  TRY_ASSIGN(auto s, conv_rule(in));
  if (!s) return ctx.set(0, Type::tensor(ctx.dtype(0)));
  Shape out = to_back(std::move(s->out));
  TRY(check_addend(in, out));
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Result<int64_t> macs(const InferContext& ctx) {
  const InShapes in = channels_first(InShapes(ctx));
  TRY_ASSIGN(const auto s, conv_rule(in));
  if (!s || in[1] == nullptr) return unsupported("shape is not known");
  Shape each = *in[1];
  each[0] = Dim(1);
  each.insert(each.end(), s->out.begin(), s->out.end());
  return known_product(each);
}

Result<Activation> activation(const Node& node) {
  const std::string_view name = node.attr_str("activation", "");
  TRY_ASSIGN(Activation a, activation_of(name.empty() ? "none" : name));
  if (const auto* params = node.attr_floats("activation_params")) {
    if (!params->empty()) a.alpha = (*params)[0];
    if (params->size() > 1) a.beta = (*params)[1];
  }
  return a;
}

Status eval(EvalContext& ctx) {
  const InShapes in = channels_first(InShapes(ctx));
  TRY_ASSIGN(const auto s, conv_rule(in));
  if (!s) return ctx.error("an input is missing");
  TRY_ASSIGN(const ConvGeometry g, geometry_of(*s, *in[0], *in[1]));
  TRY(check_addend(in, to_back(s->out)));
  TRY_ASSIGN(const Dims out, known_dims(to_back(s->out)));
  TRY_ASSIGN(const Activation act, activation(ctx.node()));
  TRY_ASSIGN(auto w, values_of(ctx, ctx.in(1)));
  const int64_t channels = g.group * g.out_channels, all = g.group * g.in_channels;
  if (!is_fused(ctx.node())) {
    TRY(reserve_work(ctx, {ctx.in(1).size()}));
    const size_t each = static_cast<size_t>(g.kernel_size * g.in_channels);
    for (size_t m = 0; m < static_cast<size_t>(channels) && each > 0; m++) {
      const std::span<double> part(w.data() + m * each, each);
      const auto moved = transposed<double>(part, g.kernel_size, g.in_channels);
      std::copy(moved.begin(), moved.end(), part.begin());
    }
  }
  TRY_ASSIGN(const auto x, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(auto y, scratch(ctx, out));
  if (ctx.has(3)) load_f64(ctx.in(3), 0, y);
  const std::vector<double> bias = ctx.has(2) ? ctx.in(2).to_f64() : std::vector<double>();
  const auto source = [&](int64_t n, int64_t group, std::span<double> plane) {
    const double* from = x.data() + n * g.in_size * all + group * g.in_channels;
    for (int64_t c = 0; c < g.in_channels; c++)
      for (int64_t i = 0; i < g.in_size; i++)
        plane[static_cast<size_t>(c * g.in_size + i)] = from[i * all + c];
  };
  const auto sink = [&](int64_t n, int64_t m, int64_t first, std::span<double> v) {
    for (size_t i = 0; i < v.size(); i++) {
      double& to = y[static_cast<size_t>((n * g.out_size + first) * channels + m) +
                     i * static_cast<size_t>(channels)];
      to = act(v[i] + (bias.empty() ? 0.0 : bias[static_cast<size_t>(m)]) + to);
    }
  };
  TRY(convolve(ctx, g, source, w, sink));
  return ctx.set_f64(0, ctx.in(0).dtype(), out, y);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    conv_nhwc,
    {.name = "NhwcConv", .domain = "com.microsoft", .infer = infer, .eval = eval, .macs = macs},
    {.name = "NhwcFusedConv",
     .domain = "com.microsoft",
     .infer = infer,
     .eval = eval,
     .macs = macs})
