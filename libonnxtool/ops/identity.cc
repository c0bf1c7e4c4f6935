// SPDX-License-Identifier: Apache-2.0
// Identity and Dropout (inference: the input itself; training: seeded zeros, scaled).
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/random.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

Status eval_identity(EvalContext& ctx) {
  ctx.set(0, ctx.datum(0));
  return ok();
}

Status infer_identity(InferContext& ctx) {
  TRY(infer_same(ctx));
  if (const PartialValue* p = ctx.partial(0)) ctx.set_partial(0, *p);
  return ok();
}

// Versions 1 and 6 train unless `is_test`; 7 and 10 never do; from 12 on input 2 says so.
Result<bool> training(const EvalContext& ctx) {
  if (ctx.version() < 7) return ctx.node().attr_int("is_test", 0) == 0;
  if (ctx.version() < 12 || !ctx.has(2)) return false;
  if (ctx.in(2).size() != 1) return ctx.error("'training_mode' must be a scalar");
  return ctx.in(2).i64_at(0) != 0;
}

DType mask_type(int version, DType data) { return version < 10 ? data : DType::kBool; }

Status eval_dropout(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const bool train, training(ctx));
  double ratio = ctx.node().attr_float("ratio", 0.5F);
  if (ctx.has(1)) {
    if (ctx.in(1).size() != 1) return ctx.error("'ratio' must be a scalar");
    ratio = ctx.in(1).f64_at(0);
  }
  if (train && !(ratio >= 0 && ratio < 1))
    return ctx.error(format("'ratio' is {}, outside of [0, 1)", ratio));
  const bool random = train && ratio > 0;
  const bool wants_mask = ctx.wants(1);
  if (!random) ctx.set(0, x);
  if (!random && !wants_mask) return ok();
  std::vector<double> ones(BroadcastRuns::kMax, 1.0), f(BroadcastRuns::kMax);
  Tensor out, mask;
  if (wants_mask) {
    TRY_ASSIGN(mask, ctx.allocate(mask_type(ctx.version(), x.dtype()), x.dims()));
  }
  if (random) {
    TRY_ASSIGN(out, ctx.allocate(x.dtype(), x.dims()));
  }
  Random rng(seed_of(ctx));
  for (int64_t at = 0; at < x.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(x.size() - at));
    if (random) {
      load_f64(x, at, {f.data(), n});
      for (size_t k = 0; k < n; ++k) {
        ones[k] = rng.uniform() >= ratio ? 1.0 : 0.0;
        f[k] = ones[k] != 0 ? f[k] / (1.0 - ratio) : 0.0;
      }
      store_f64(out, at, {f.data(), n});
    }
    if (wants_mask) store_f64(mask, at, {ones.data(), n});
  }
  if (random) ctx.set(0, std::move(out));
  if (wants_mask) ctx.set(1, std::move(mask));
  return ok();
}

Status infer_dropout(InferContext& ctx) {
  if (ctx.version() >= 12)
    for (size_t i = 1; i < 3; ++i)
      if (const Shape* s = ctx.shape(i);
          s && element_count(*s).is_const() && element_count(*s) != Dim(1))
        return ctx.error(format("'{}' has shape {}, it must be a scalar",
                                i == 1 ? "ratio" : "training_mode", to_string(*s)));
  TRY(infer_same(ctx));
  return ctx.set(1, mask_type(ctx.version(), ctx.dtype(0)), ctx.input(0).shape);
}

Result<bool> up7(Model& m, NodeId n) {
  if (refers(m.node(n), "is_test") || m.node(n).attr_int("is_test", 0) == 0) return false;
  m.remove_attr(n, "is_test");
  return true;
}
Status down7(Model& m, NodeId n) {
  m.set_attr(n, Attribute::of("is_test", int64_t{1}));
  return ok();
}
Result<bool> up10(Model& m, NodeId n) { return !m.node(n).has_output(1); }
Status down10(Model& m, NodeId n) {
  if (!m.node(n).has_output(1)) return ok();
  return step_error("the mask is no bool there");
}
Result<bool> up12(Model& m, NodeId n) {
  if (refers(m.node(n), "ratio")) return false;
  if (m.node(n).attr("ratio")) {
    const float ratio = m.node(n).attr_float("ratio", 0.5F);
    m.remove_attr(n, "ratio");
    set_constant_input(m, n, 1, "ratio", Tensor::scalar(ratio));
  }
  return true;
}
Status down12(Model& m, NodeId n) {
  if (const ValueId v = m.node(n).input(2); v.valid()) {
    const Tensor* t = m.constant(v);
    if (!t || t->size() != 1 || t->i64_at(0) != 0)
      return step_error("input 'training_mode' is not the constant false");
    drop_input(m, n, 2);
  }
  if (const ValueId v = m.node(n).input(1); v.valid()) {
    const Tensor* t = m.constant(v);
    if (!t || t->size() != 1)
      return step_error("input 'ratio' is not constant, and it is an attribute there");
    m.set_attr(n, Attribute::of("ratio", static_cast<float>(t->f64_at(0))));
    drop_input(m, n, 1);
  }
  m.remove_attr(n, "seed");
  return ok();
}

constexpr VersionStep kDropoutSteps[] = {
    kConsumedInputsStep, {7, up7, down7}, {10, up10, down10}, {12, up12, down12}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(identity,
             {.name = "Identity", .infer = infer_identity, .eval = eval_identity, .flags = kView},
             {.name = "Dropout",
              .infer = infer_dropout,
              .eval = eval_dropout,
              .steps = kDropoutSteps,
              .flags = kRandom}, )
