// SPDX-License-Identifier: Apache-2.0
// BatchNormalization, all versions: with `is_test` (to 6) and `spatial` (to 7) as attributes, with
// training told by the number of outputs (to 9) or by `training_mode` (from 14).
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

bool is_training(const Node& node) {
  if (node.version >= 14) return node.attr_int("training_mode", 0) != 0;
  if (node.version < 7 && node.attr_int("is_test", 0) != 0) return false;
  for (size_t i = 1; i < node.num_outputs(); i++)
    if (node.has_output(i)) return true;
  return false;
}

bool is_spatial(const Node& node) { return node.version >= 9 || node.attr_int("spatial", 1) != 0; }

// Shape of the parameters: [C]; without `spatial` one for each element of an instance.
Result<std::optional<Shape>> parameter_shape(const InShapes& in) {
  static constexpr const char* kNames[] = {"scale", "bias", "mean", "variance"};
  const Shape* x = in[0];
  std::optional<Shape> r;
  if (x != nullptr) {
    TRY(expect_rank_at_least(x, "input", 1));
    r = Shape{x->size() > 1 ? (*x)[1] : Dim(1)};
    if (!is_spatial(in.node()) && x->size() > 1) r->assign(x->begin() + 1, x->end());
  } else if (is_spatial(in.node())) {
    r = Shape{Dim()};
  }
  for (size_t i = 1; r && i < 5; i++) {
    const Shape* s = in[i];
    if (s == nullptr) continue;
    // The parameters of each element of an instance may be given flat.
    if (s->size() == 1 && r->size() > 1) {
      TRY(agree(kNames[i - 1], (*s)[0], "size of an instance", product(*r)));
      continue;
    }
    TRY(expect_rank(s, kNames[i - 1], r->size()));
    for (size_t d = 0; d < r->size(); d++) {
      TRY_ASSIGN((*r)[d], unify(r->size() == 1 ? "number of channels" : "size of an instance",
                                (*r)[d], format("length of {}", kNames[i - 1]), (*s)[d]));
    }
  }
  return r;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const auto p, parameter_shape(InShapes(ctx)));
  if (!is_training(ctx.node()) && ctx.version() >= 14 && (ctx.has_output(1) || ctx.has_output(2)))
    return ctx.error("outputs after the first need attribute 'training_mode'");
  for (size_t i = 1; i < ctx.num_outputs(); i++) TRY(ctx.set(i, ctx.dtype(i < 3 ? 2 + i : 3), p));
  return infer_same(ctx);
}

struct Statistics {
  std::vector<double> mean, variance;  // one a channel
};

// Mean and population variance of each channel over the batch and the plane.
Statistics measure(const Tensor& x, int64_t batch, int64_t channels, int64_t plane) {
  Statistics s;
  const double count = static_cast<double>(batch) * static_cast<double>(plane);
  std::vector<double> values(static_cast<size_t>(plane));
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0, squares = 0;
    for (int64_t n = 0; n < batch; n++) {
      load_f64(x, (n * channels + c) * plane, values);
      for (double v : values) sum += v;
    }
    const double mean = sum / count;
    for (int64_t n = 0; n < batch; n++) {
      load_f64(x, (n * channels + c) * plane, values);
      for (double v : values) squares += (v - mean) * (v - mean);
    }
    s.mean.push_back(mean);
    s.variance.push_back(squares / count);
  }
  return s;
}

Status set_running(EvalContext& ctx, const Statistics& now) {
  const double momentum = ctx.node().attr_float("momentum", 0.9f);
  for (size_t i = 1; i < 5; i++) {
    if (!ctx.wants(i)) continue;
    const std::vector<double>& batch = i % 2 == 1 ? now.mean : now.variance;
    std::vector<double> values = batch;
    const Tensor& before = ctx.in(i < 3 ? 2 + i : i);
    if (i < 3)
      for (size_t c = 0; c < values.size(); c++)
        values[c] = before.f64_at(static_cast<int64_t>(c)) * momentum + batch[c] * (1 - momentum);
    TRY(ctx.set_f64(i, before.dtype(), before.dims(), values));
  }
  return ok();
}

Status eval(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const auto shape, parameter_shape(InShapes(ctx)));
  if (!shape) return ctx.error("an input is missing");
  TRY_ASSIGN(const int64_t channels, known_product(*shape));
  const int64_t batch = x.dims()[0];
  const int64_t plane = x.size() > 0 ? x.size() / batch / channels : 0;
  TRY_ASSIGN(Tensor y, ctx.allocate(x.dtype(), x.dims()));
  TRY_ASSIGN(auto values, scratch(ctx, {plane}));
  Statistics s;
  if (is_training(ctx.node())) {
    s = measure(x, batch, channels, plane);
    TRY(set_running(ctx, s));
  } else {
    s = {ctx.in(3).to_f64(), ctx.in(4).to_f64()};
  }
  const double epsilon = ctx.node().attr_float("epsilon", 1e-5f);
  for (int64_t c = 0; c < channels && plane > 0; c++) {
    const size_t k = static_cast<size_t>(c);
    const double factor = ctx.in(1).f64_at(c) / std::sqrt(s.variance[k] + epsilon);
    const double bias = ctx.in(2).f64_at(c);
    for (int64_t n = 0; n < batch; n++) {
      const int64_t at = (n * channels + c) * plane;
      load_f64(x, at, values);
      for (double& v : values) v = (v - s.mean[k]) * factor + bias;
      store_f64(y, at, values);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

// --------------------------------------------------------------------------------- versions
size_t outputs_of(const Model& m, NodeId n) {
  size_t count = 0;
  for (ValueId v : m.node(n).outputs()) count += v.valid();
  return count;
}

// 6: the in-place hint went.
Status hint_down(Model& m, NodeId n) {
  m.set_attr(n, Attribute::of("consumed_inputs", std::vector<int64_t>(5, 0)));
  return ok();
}
// 7: is_test went; the number of outputs tells.
Result<bool> is_test_up(Model& m, NodeId n) {
  const Node& node = m.node(n);
  if (refers(node, "is_test")) return false;
  if (node.attr_int("is_test", 0) != 0 && outputs_of(m, n) > 1) return false;
  m.remove_attr(n, "is_test");
  return true;
}
Status is_test_down(Model& m, NodeId n) {
  m.set_attr(n, Attribute::of("is_test", int64_t{outputs_of(m, n) == 1}));
  return ok();
}
// 9: spatial went.
Result<bool> spatial_up(Model& m, NodeId n) {
  if (refers(m.node(n), "spatial") || m.node(n).attr_int("spatial", 1) == 0) return false;
  m.remove_attr(n, "spatial");
  return true;
}
// 14: training_mode came; the saved statistics went.
Result<bool> training_up(Model& m, NodeId n) { return outputs_of(m, n) == 1; }
Status training_down(Model& m, NodeId n) {
  if (refers(m.node(n), "training_mode") || m.node(n).attr_int("training_mode", 0) != 0)
    return step_error("attribute 'training_mode' has no older form");
  m.remove_attr(n, "training_mode");
  return ok();
}

constexpr VersionStep kSteps[] = {{6, drop_consumed_inputs, hint_down},
                                  {7, is_test_up, is_test_down},
                                  {9, spatial_up, step_same_down},
                                  {14, training_up, training_down}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(batch_norm,
             {.name = "BatchNormalization", .infer = infer, .eval = eval, .steps = kSteps})
