// SPDX-License-Identifier: Apache-2.0
// Pooling of quantized tensors (com.microsoft): QLinearAveragePool, QLinearGlobalAveragePool, with
// the channels in front or, by attribute channels_last, at the end.
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/pool_util.h"

namespace onnxtool {
namespace {

bool channels_last(const Node& node) { return node.attr_int("channels_last", 0) != 0; }

Shape to_front(Shape s) {
  if (s.size() > 2) {
    s.insert(s.begin() + 1, s.back());
    s.pop_back();
  }
  return s;
}
Shape to_back(Shape s) {
  if (s.size() > 2) {
    s.push_back(s[1]);
    s.erase(s.begin() + 1);
  }
  return s;
}

// Input shapes with the channels in front; scales and zero points checked.
Result<InShapes> prepared(InShapes in) {
  for (size_t i = 1; i < 5; i++) TRY(expect_scalar(in[i], "scale or zero point"));
  if (in[0] != nullptr && channels_last(in.node())) in.set(0, to_front(*in[0]));
  return in;
}

Result<std::optional<Shape>> average_rule(const InShapes& in) {
  TRY_ASSIGN(auto s, pool_rule(in));
  return s ? std::optional(std::move(s->out)) : std::nullopt;
}
Result<std::optional<Shape>> global_rule(const InShapes& in) {
  if (in[0] == nullptr) return std::optional<Shape>();
  TRY(expect_rank_at_least(in[0], "input", 3));
  Shape out(in[0]->size(), Dim(1));
  out[0] = (*in[0])[0];
  out[1] = (*in[0])[1];
  return std::optional(std::move(out));
}

using Rule = Result<std::optional<Shape>> (*)(const InShapes&);
template <Rule kRule>
Status infer(InferContext& ctx) {
  TRY_ASSIGN(const InShapes in, prepared(InShapes(ctx)));
  TRY_ASSIGN(auto s, kRule(in));
  if (s && channels_last(ctx.node())) s = to_back(std::move(*s));
  return ctx.set(0, ctx.dtype(0), std::move(s));
}

// Values with the channels in front, and those of a result put back in order.
class Layout {
 public:
  Layout(const EvalContext& ctx, const Dims& out)
      : last_(channels_last(ctx.node())), channels_(out[1]) {}
  std::vector<double> load(const Tensor& x) const { return turn(x.to_f64(), x.dims()[0], true); }
  std::vector<int64_t> restore(std::vector<int64_t> v, int64_t batch) const {
    return turn(std::move(v), batch, false);
  }

 private:
  template <typename T>
  std::vector<T> turn(std::vector<T> v, int64_t batch, bool front) const {
    if (!last_ || v.empty()) return v;
    const size_t part = v.size() / static_cast<size_t>(batch);
    const int64_t plane = static_cast<int64_t>(part) / channels_;
    std::vector<T> r;
    for (size_t at = 0; at < v.size(); at += part) {
      const std::span<const T> one(v.data() + at, part);
      const auto t = front ? transposed(one, plane, channels_) : transposed(one, channels_, plane);
      r.insert(r.end(), t.begin(), t.end());
    }
    return r;
  }
  bool last_;
  int64_t channels_;
};

struct Quantization {
  double x_zero;
  float x_scale, y_scale;
  int64_t zero;
  explicit Quantization(const EvalContext& ctx)
      : x_zero(ctx.has(2) ? ctx.in(2).f64_at(0) : 0),
        x_scale(static_cast<float>(ctx.in(1).f64_at(0))),
        y_scale(static_cast<float>(ctx.in(3).f64_at(0))),
        zero(ctx.has(4) ? ctx.in(4).i64_at(0) : 0) {}
};

Status finish(EvalContext& ctx, const Layout& layout, const Shape& front, std::vector<int64_t> y) {
  TRY_ASSIGN(const Dims dims, known_dims(channels_last(ctx.node()) ? to_back(front) : front));
  return ctx.set_i64(0, ctx.in(0).dtype(), dims, layout.restore(std::move(y), dims[0]));
}

Status eval_average(EvalContext& ctx) {
  TRY_ASSIGN(const InShapes in, prepared(InShapes(ctx)));
  TRY_ASSIGN(const PoolGeometry g, pool_geometry(in));
  const Layout layout(ctx, g.dims);
  const Quantization q(ctx);
  TRY(reserve_work(ctx, {2, ctx.in(0).size()}));
  std::vector<double> x = layout.load(ctx.in(0));
  for (double& v : x) v -= q.x_zero;
  const bool include_pad = ctx.node().attr_int("count_include_pad", 0) != 0;
  TRY(reserve_work(ctx, {g.planes, g.out_size}));
  std::vector<int64_t> y(static_cast<size_t>(g.planes * g.out_size));
  PoolWindows w(g);
  while (w.next())
    for (int64_t p = 0; p < g.planes; p++) {
      const std::span<const double> plane(x.data() + p * g.in_size, static_cast<size_t>(g.in_size));
      for (size_t i = 0; i < w.count(); i++) {
        const double mean = pool_mean(plane, w.taps(i), w.padded(i), include_pad);
        y[static_cast<size_t>(p * g.out_size + w.first()) + i] =
            quantize(static_cast<float>(mean * q.x_scale), q.y_scale, q.zero, ctx.in(0).dtype());
      }
    }
  return finish(ctx, layout, to_shape(g.dims), std::move(y));
}

Status eval_global(EvalContext& ctx) {
  TRY_ASSIGN(const InShapes in, prepared(InShapes(ctx)));
  TRY_ASSIGN(const auto s, global_rule(in));
  TRY_ASSIGN(const Dims dims, known_dims(*s));
  const Layout layout(ctx, dims);
  const Quantization q(ctx);
  TRY(reserve_work(ctx, {2, ctx.in(0).size()}));
  const std::vector<double> x = layout.load(ctx.in(0));
  TRY(reserve_work(ctx, {dims[0], dims[1]}));
  std::vector<int64_t> y(static_cast<size_t>(dims[0] * dims[1]));
  const size_t plane = y.empty() ? 0 : x.size() / y.size();
  const float scale = q.x_scale / (q.y_scale * static_cast<float>(plane));
  for (size_t p = 0; p < y.size() && plane > 0; p++) {
    double sum = 0;
    for (size_t i = 0; i < plane; i++) sum += x[p * plane + i] - q.x_zero;
    y[p] = requantize(sum, scale, q.zero, ctx.in(0).dtype());
  }
  return finish(ctx, layout, *s, std::move(y));
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(qlinear_pool,
             {.name = "QLinearAveragePool",
              .domain = "com.microsoft",
              .infer = infer<average_rule>,
              .eval = eval_average},
             {.name = "QLinearGlobalAveragePool",
              .domain = "com.microsoft",
              .infer = infer<global_rule>,
              .eval = eval_global})
