// SPDX-License-Identifier: Apache-2.0
// DeformConv: convolution that samples at offset positions by linear interpolation (Dai et al.
// 2017, Zhu et al. 2019, in any number of dims). Samples outside of the input are zero.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/conv_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

// Inputs: X, W, offset, B, mask.
constexpr ConvInputs kInputs = {0, 1, 3};

Result<int64_t> offset_groups(const Node& node) {
  const int64_t g = node.attr_int("offset_group", 1);
  if (g < 1) return invalid(format("attribute 'offset_group' is {}, at least 1 expected", g));
  return g;
}

Result<std::optional<ConvShape>> rule(const InShapes& in) {
  TRY_ASSIGN(auto s, conv_rule(in, kInputs));
  TRY_ASSIGN(const int64_t groups, offset_groups(in.node()));
  if (!s) return s;
  if (in[0] != nullptr && (*in[0])[1].is_const() && (*in[0])[1].value() % groups != 0)
    return invalid(
        format("number of input channels is {}, no multiple of attribute 'offset_group' {}",
               (*in[0])[1].text(), groups));
  Dim taps(groups);
  for (int64_t k : s->window.kernel) taps = taps * (k < 0 ? Dim() : Dim(k));
  for (size_t i : {2, 4}) {
    const char* name = i == 2 ? "input 'offset'" : "input 'mask'";
    TRY(expect_rank(in[i], name, s->out.size()));
    if (in[i] == nullptr) continue;
    TRY(agree("batch size", s->out[0], format("that of {}", name), (*in[i])[0]));
    const Dim per = i == 2 ? Dim(static_cast<int64_t>(s->out.size()) - 2) : Dim(1);
    TRY(agree("number of sampled values", taps * per, format("channels of {}", name), (*in[i])[1]));
    for (size_t d = 2; d < s->out.size(); d++)
      TRY(agree("output size", s->out[d], format("size of {}", name), (*in[i])[d]));
  }
  return s;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(auto s, rule(InShapes(ctx)));
  return ctx.set(0, ctx.dtype(0), s ? std::optional(std::move(s->out)) : std::nullopt);
}
Result<int64_t> macs(const InferContext& ctx) { return conv_macs(ctx, kInputs); }

// The corners around a position and their weights.
struct Sample {
  std::vector<std::pair<int64_t, double>> corners;
};
Sample sample_at(std::span<const double> at, const Dims& size) {
  Sample s;
  s.corners.emplace_back(0, 1.0);
  for (size_t i = 0; i < size.size(); i++) {
    const double floor = std::floor(at[i]);
    // Also false for a position that is not a number.
    if (!(floor >= -1 && floor < static_cast<double>(size[i]))) return {};
    const int64_t low = static_cast<int64_t>(floor);
    const double part = at[i] - floor;
    std::vector<std::pair<int64_t, double>> next;
    for (const auto& [flat, weight] : s.corners) {
      if (low >= 0) next.emplace_back(flat * size[i] + low, weight * (1 - part));
      if (low + 1 < size[i] && part > 0) next.emplace_back(flat * size[i] + low + 1, weight * part);
    }
    s.corners = std::move(next);
  }
  return s;
}

Status eval(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(const auto s, rule(in));
  if (!s) return ctx.error("an input is missing");
  TRY_ASSIGN(const ConvGeometry g, geometry_of(*s, *in[0], *in[1]));
  TRY_ASSIGN(const int64_t groups, offset_groups(ctx.node()));
  TRY_ASSIGN(const Dims dims, known_dims(s->out));
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), dims));
  TRY_ASSIGN(const auto x, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(const auto w, values_of(ctx, ctx.in(1)));
  TRY_ASSIGN(const auto offset, values_of(ctx, ctx.in(2)));
  const std::vector<double> mask = ctx.has(4) ? ctx.in(4).to_f64() : std::vector<double>();
  const int64_t rank = static_cast<int64_t>(g.in.size());
  const int64_t channels = g.group * g.in_channels, depth = g.in_channels * g.kernel_size;
  TRY_ASSIGN(auto column, scratch(ctx, {channels, g.kernel_size}));  // of one position
  std::vector<double> at(g.in.size());
  Dims pos(g.out.size());
  for (int64_t n = 0; n < g.batch; n++)
    for (int64_t p = 0; p < g.out_size; p++) {
      int64_t rest = p;
      for (size_t i = g.out.size(); i-- > 0; rest /= g.out[i]) pos[i] = rest % g.out[i];
      for (int64_t og = 0; og < groups; og++)
        for (int64_t k = 0; k < g.kernel_size; k++) {
          const int64_t value = (n * groups + og) * g.kernel_size + k;
          rest = k;
          for (size_t i = g.kernel.size(); i-- > 0; rest /= g.kernel[i]) {
            const int64_t base =
                pos[i] * g.strides[i] - g.pads[i] + rest % g.kernel[i] * g.dilations[i];
            at[i] = static_cast<double>(base) +
                    offset[static_cast<size_t>(
                        (value * rank + static_cast<int64_t>(i)) * g.out_size + p)];
          }
          const Sample sample = sample_at(at, g.in);
          const double m = mask.empty() ? 1.0 : mask[static_cast<size_t>(value * g.out_size + p)];
          const int64_t per = channels / groups;
          for (int64_t c = og * per; c < (og + 1) * per; c++) {
            const double* plane = x.data() + (n * channels + c) * g.in_size;
            double sum = 0;
            for (const auto& [flat, weight] : sample.corners) sum += plane[flat] * weight;
            column[static_cast<size_t>(c * g.kernel_size + k)] = sum * m;
          }
        }
      for (int64_t o = 0; o < dims[1]; o++) {
        double sum = ctx.has(3) ? ctx.in(3).f64_at(o) : 0;
        const double* from = column.data() + o / g.out_channels * depth;
        for (int64_t k = 0; k < depth; k++) sum += w[static_cast<size_t>(o * depth + k)] * from[k];
        store_f64(y, (n * dims[1] + o) * g.out_size + p, std::span(&sum, 1));
      }
    }
  ctx.set(0, std::move(y));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(deform_conv, {.name = "DeformConv", .infer = infer, .eval = eval, .macs = macs})
