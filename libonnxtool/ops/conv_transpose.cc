// SPDX-License-Identifier: Apache-2.0
// ConvTranspose: the gradient of Conv by its input (spec ConvTranspose; the equations of version
// 11 for automatic padding hold for all versions, as in practice).
#include <algorithm>

#include "libonnxtool/ops/conv_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

Status infer(InferContext& ctx) {
  TRY_ASSIGN(auto s, conv_transpose_rule(InShapes(ctx)));
  return ctx.set(0, ctx.dtype(0), s ? std::optional(std::move(s->out)) : std::nullopt);
}

// Scatters what a group's input plane contributes to its output plane, block by block of input
// positions: columns = weight^T * input, each column then spread over its window.
Status spread_group(const EvalContext& ctx, const ConvGeometry& g, std::span<const double> weight_t,
                    std::span<const double> plane, std::span<double> out) {
  // The roles of input and output are those of the convolution this one transposes.
  ConvGeometry window = g;
  std::swap(window.in, window.out);
  const int64_t rows = g.out_channels * g.kernel_size;
  const int64_t block = std::clamp<int64_t>((1 << 18) / std::max<int64_t>(rows, 1), 16, 512);
  TRY_ASSIGN(auto columns, scratch(ctx, {rows, block}));
  std::vector<int64_t> at(static_cast<size_t>(block));
  for (int64_t first = 0; first < g.in_size; first += block) {
    const int64_t count = std::min(block, g.in_size - first);
    std::fill(columns.begin(), columns.end(), 0.0);
    gemm(rows, count, g.in_channels, weight_t.data(), g.in_channels, plane.data() + first,
         g.in_size, columns.data(), block);
    for (int64_t tap = 0; tap < g.kernel_size; tap++) {
      input_positions(window, first, count, tap, at);
      for (int64_t m = 0; m < g.out_channels; m++) {
        const double* from = columns.data() + (m * g.kernel_size + tap) * block;
        double* to = out.data() + m * g.out_size;
        for (int64_t p = 0; p < count; p++)
          if (at[p] >= 0) to[at[p]] += from[p];
      }
    }
  }
  return ok();
}

Status eval(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(auto s, conv_transpose_rule(in));
  if (!s) return ctx.error("an input is missing");
  TRY_ASSIGN(const ConvGeometry g, geometry_of(*s, *in[0], *in[1], true));
  TRY_ASSIGN(const Dims dims, known_dims(s->out));
  TRY_ASSIGN(Tensor y, ctx.allocate(ctx.in(0).dtype(), dims));
  TRY_ASSIGN(auto plane, scratch(ctx, {g.in_channels, g.in_size}));
  TRY_ASSIGN(auto out, scratch(ctx, {g.out_channels, g.out_size}));
  TRY_ASSIGN(const auto w, values_of(ctx, ctx.in(1)));
  const int64_t columns = g.out_channels * g.kernel_size;
  for (int64_t group = 0; group < g.group; group++) {
    const size_t part = static_cast<size_t>(g.in_channels * columns);
    const std::vector<double> weight_t = transposed(
        std::span(w).subspan(static_cast<size_t>(group) * part, part), g.in_channels, columns);
    for (int64_t n = 0; n < g.batch; n++) {
      load_f64(ctx.in(0), (n * g.group + group) * g.in_channels * g.in_size, plane);
      for (int64_t m = 0; m < g.out_channels; m++)
        std::fill_n(out.begin() + m * g.out_size, g.out_size,
                    ctx.has(2) ? ctx.in(2).f64_at(group * g.out_channels + m) : 0.0);
      TRY(spread_group(ctx, g, weight_t, plane, out));
      store_f64(y, (n * g.group + group) * g.out_channels * g.out_size, out);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

// Each input element meets each weight of its channel.
Result<int64_t> macs(const InferContext& ctx) {
  const Shape *x = ctx.shape(0), *w = ctx.shape(1);
  if (x == nullptr || w == nullptr) return unsupported("a shape is not known");
  Shape all = *x;
  all.insert(all.end(), w->begin() + 1, w->end());
  return known_product(all);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(conv_transpose, {.name = "ConvTranspose", .infer = infer, .eval = eval, .macs = macs})
