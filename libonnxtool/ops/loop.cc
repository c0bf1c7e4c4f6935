// SPDX-License-Identifier: Apache-2.0
// Loop: a body run for a number of trips or while a condition holds, with carried values and
// stacked results.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/body_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/partial.h"

namespace onnxtool {
namespace {

// The body's condition stays true: a true constant, or the incoming one passed through.
bool condition_stays(const Model& m, const Graph& body) {
  ValueId v = body.outputs[0];
  for (int i = 0; i < 16 && v.valid(); ++i) {
    if (v == body.inputs[1]) return true;
    if (const Tensor* t = m.constant(v))
      return t->dtype() == DType::kBool && t->size() == 1 && t->i64_at(0) != 0;
    const Value& value = m.value(v);
    if (value.kind != ValueKind::kOutput || !m.node(value.producer).is("Identity")) return false;
    v = m.node(value.producer).input(0);
  }
  return false;
}

// Number of trips where the condition cannot end the loop.
Dim trip_count(const InferContext& ctx, const Graph& body) {
  if (!ctx.has_input(0)) return {};
  if (ctx.has_input(1)) {
    const auto cond = partial_of(ctx, 1);
    if (!cond || cond->size() != 1 || !(*cond)[0].is_const()) return {};
    if ((*cond)[0].value() == 0) return 0;
  }
  if (!condition_stays(ctx.model(), body)) return {};
  const PartialValue* p = ctx.partial(0);
  return p != nullptr && p->size() == 1 ? max((*p)[0], 0) : Dim();
}

Status infer_loop(InferContext& ctx) {
  for (size_t i = 0; i < 2; ++i)
    if (known_length(ctx, i).value_or(1) != 1)
      return ctx.error(
          format("{} is not one element", i == 0 ? "the trip count" : "the condition"));
  const size_t carried_count = ctx.num_inputs() > 2 ? ctx.num_inputs() - 2 : 0;
  TRY_ASSIGN(const GraphId g,
             body_of(ctx.model(), ctx.node(), carried_count + 2, carried_count + 1));
  const Graph& body = ctx.model().graph(g);
  if (ctx.num_outputs() > body.outputs.size() - 1)
    return ctx.error(format("the body gives {} results, the node has {} outputs",
                            body.outputs.size() - 1, ctx.num_outputs()));
  const Type before[] = {scalar_type(ctx.model().value(body.inputs[0]), DType::kInt64),
                         scalar_type(ctx.model().value(body.inputs[1]), DType::kBool)};
  std::vector<Type> carried;
  for (size_t i = 0; i < carried_count; ++i) carried.push_back(ctx.input(2 + i));
  TRY_ASSIGN(const std::vector<Type> types, infer_carried(ctx, g, before, carried, {}, 1));
  const Dim trips = trip_count(ctx, body);
  const bool runs = trips.is_const() && trips.value() > 0;
  for (size_t i = 0; i < ctx.num_outputs(); ++i) {
    const bool unwrapped = i < carried_count && carried[i].kind == TypeKind::kOptional;
    if (i < carried_count)
      TRY(ctx.set(i, runs || unwrapped ? types[1 + i] : carried[i]));
    else if (types[1 + i].is_tensor())
      TRY(ctx.set(i, stacked_type(types[1 + i], or_fresh(ctx, trips, i, 0), 0)));
  }
  return ok();
}

Status eval_loop(EvalContext& ctx) {
  const size_t carried_count = ctx.num_inputs() > 2 ? ctx.num_inputs() - 2 : 0;
  TRY_ASSIGN(const GraphId g,
             body_of(ctx.model(), ctx.node(), carried_count + 2, carried_count + 1));
  const Graph& body = ctx.model().graph(g);
  int64_t most = INT64_MAX;
  if (ctx.has(0)) {
    if (ctx.in(0).size() != 1) return ctx.error("the trip count is not one element");
    most = ctx.in(0).i64_at(0);
  }
  bool go = true;
  if (ctx.has(1)) {
    TRY_ASSIGN(go, truth(ctx, ctx.datum(1), "the condition"));
  }
  std::vector<Datum> carried;
  for (size_t i = 0; i < carried_count; ++i) carried.push_back(ctx.datum(2 + i));
  const size_t results = body.outputs.size() - 1 - carried_count;
  std::vector<std::vector<Tensor>> stacks(results);
  const Value &trip_value = ctx.model().value(body.inputs[0]),
              &cond_value = ctx.model().value(body.inputs[1]);
  for (int64_t trip = 0; trip < most && go; ++trip) {
    TRY(ctx.host().step());
    std::vector<Datum> inputs{scalar_for(trip_value, Tensor::scalar<int64_t>(trip)),
                              scalar_for(cond_value, Tensor::scalar<bool>(go))};
    inputs.insert(inputs.end(), carried.begin(), carried.end());
    TRY_ASSIGN(std::vector<Datum> out, ctx.host().run_graph(g, std::move(inputs)));
    if (out.size() != body.outputs.size()) return ctx.error("the body gave too few results");
    TRY_ASSIGN(go, truth(ctx, out[0], "the condition of the body"));
    for (size_t i = 0; i < carried_count; ++i) carried[i] = std::move(out[1 + i]);
    for (size_t k = 0; k < results; ++k) {
      Datum& d = out[1 + carried_count + k];
      if (!d.is_tensor()) return ctx.error(format("result {} of the body is no tensor", k));
      stacks[k].push_back(std::move(d.tensor));
    }
  }
  for (size_t i = 0; i < carried_count; ++i) ctx.set(i, std::move(carried[i]));
  for (size_t k = 0; k < results; ++k) {
    if (!ctx.wants(carried_count + k)) continue;
    const Type type = output_type(ctx.model(), g, 1 + carried_count + k);
    TRY_ASSIGN(Tensor t, stacked(ctx, stacks[k], 0, type));
    ctx.set(carried_count + k, std::move(t));
  }
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(loop, {.name = "Loop", .infer = infer_loop, .eval = eval_loop, .flags = kControlFlow});
