// SPDX-License-Identifier: Apache-2.0
// LinearAttention (ai.onnx 27): attention as a recurrence over a state of keys by values.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  int64_t q_heads = 0, kv_heads = 0;
  Dim batch, length, key, value;  // sizes of one head of keys and values
  bool gated = false, delta = false;
};

Result<Sizes> rule(const InShapes& in) {
  const Node& node = in.node();
  Sizes s;
  s.q_heads = node.attr_int("q_num_heads", 0);
  s.kv_heads = node.attr_int("kv_num_heads", 0);
  if (s.q_heads < 1 || s.kv_heads < 1 || s.q_heads % s.kv_heads != 0)
    return invalid(format("attribute 'q_num_heads' is {}, no multiple of 'kv_num_heads' {}",
                          s.q_heads, s.kv_heads));
  const std::string_view update = node.attr_str("update_rule", "gated_delta");
  s.gated = update == "gated" || update == "gated_delta";
  s.delta = update == "delta" || update == "gated_delta";
  if (!s.gated && !s.delta && update != "linear")
    return invalid(format("attribute 'update_rule' has the unknown value {}", quoted(update)));
  if (in.has(4) != s.gated)
    return invalid(
        format("update rule {} {} input 'decay'", update, s.gated ? "needs" : "takes no"));
  if (in.has(5) != s.delta)
    return invalid(
        format("update rule {} {} input 'beta'", update, s.delta ? "needs" : "takes no"));
  static constexpr const char* kNames[] = {"query", "key", "value"};
  for (size_t i = 0; i < 6; i++) {
    if (in[i] == nullptr) continue;
    const Shape& x = *in[i];
    const char* name = i < 3 ? kNames[i] : i == 3 ? "past state" : i == 4 ? "decay" : "beta";
    TRY(expect_rank(&x, name, i == 3 ? 4 : 3));
    TRY_ASSIGN(s.batch, unify("batch size", s.batch, format("that of {}", name), x[0]));
    if (i == 3) {
      TRY(agree("attribute 'kv_num_heads'", Dim(s.kv_heads), "heads of the past state", x[1]));
      TRY_ASSIGN(s.key, unify("head size", s.key, "that of the past state", x[2]));
      TRY_ASSIGN(s.value, unify("head size of the value", s.value, "that of the past state", x[3]));
      continue;
    }
    TRY_ASSIGN(s.length, unify("length", s.length, format("that of {}", name), x[1]));
    if (i > 2) continue;
    const int64_t heads = i == 0 ? s.q_heads : s.kv_heads;
    if (x[2].is_const() && x[2].value() % heads != 0)
      return invalid(
          format("{} has hidden size {}, no multiple of {} heads", name, x[2].text(), heads));
    Dim& size = i < 2 ? s.key : s.value;
    TRY_ASSIGN(size,
               unify("head size", size, format("that of {}", name), floor_div(x[2], Dim(heads))));
  }
  if (in[4] != nullptr && (*in[4])[2].is_const() && s.key.is_const()) {
    const Dim d = (*in[4])[2];
    if (!d.is_const(s.kv_heads) && !(d == Dim(s.kv_heads) * s.key))
      return invalid(format("decay has hidden size {}, {} or {} expected", d.text(), s.kv_heads,
                            (Dim(s.kv_heads) * s.key).text()));
  }
  if (in[5] != nullptr && (*in[5])[2].is_const() && !(*in[5])[2].is_const(1))
    TRY(agree("hidden size of beta", (*in[5])[2], "attribute 'kv_num_heads'", Dim(s.kv_heads)));
  return s;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  TRY(ctx.set(1, ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0),
              Shape{s.batch, Dim(s.kv_heads), s.key, s.value}));
  return ctx.set(0, ctx.dtype(0), Shape{s.batch, s.length, Dim(s.q_heads) * s.value});
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  return known_product(Shape{s.batch, s.length, Dim(s.q_heads + s.kv_heads), s.key, s.value});
}

Status eval(EvalContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  TRY_ASSIGN(const Heads q, load_heads(ctx, ctx.in(0), s.q_heads));
  TRY_ASSIGN(const Heads k, load_heads(ctx, ctx.in(1), s.kv_heads));
  TRY_ASSIGN(const Heads v, load_heads(ctx, ctx.in(2), s.kv_heads));
  TRY_ASSIGN(Heads state, make_heads(ctx, q.batch, s.kv_heads, k.size, v.size));
  TRY_ASSIGN(Heads y, make_heads(ctx, q.batch, s.q_heads, q.length, v.size));
  if (ctx.has(3)) load_f64(ctx.in(3), 0, state.v);
  // Gates: per head and key dim, or per head; per head, or one for all.
  Heads decay, beta;
  if (s.gated) {
    TRY_ASSIGN(decay, load_heads(ctx, ctx.in(4), s.kv_heads));
  }
  if (s.delta) {
    TRY_ASSIGN(beta, load_heads(ctx, ctx.in(5), ctx.in(5).dims()[2]));
  }
  double scale = ctx.node().attr_float("scale", 0);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(k.size));
  const int64_t group = s.q_heads / s.kv_heads, width = v.size;
  std::vector<double> update(static_cast<size_t>(width));
  for (int64_t b = 0; b < q.batch; b++)
    for (int64_t h = 0; h < s.kv_heads; h++) {
      double* st = state.at(b, h);
      for (int64_t t = 0; t < q.length; t++) {
        const double* key = k.at(b, h) + t * k.size;
        for (int64_t d = 0; s.gated && d < k.size; d++) {
          const double g = std::exp(decay.at(b, h)[t * decay.size + (decay.size == 1 ? 0 : d)]);
          for (int64_t m = 0; m < width; m++) st[d * width + m] *= g;
        }
        std::copy_n(v.at(b, h) + t * width, width, update.begin());
        if (s.delta) {
          const double rate = beta.at(b, beta.heads == 1 ? 0 : h)[t];
          for (int64_t d = 0; d < k.size; d++)
            for (int64_t m = 0; m < width; m++) update[m] -= st[d * width + m] * key[d];
          for (double& u : update) u *= rate;
        }
        for (int64_t d = 0; d < k.size; d++)
          for (int64_t m = 0; m < width; m++) st[d * width + m] += key[d] * update[m];
        for (int64_t r = 0; r < group; r++) {
          const int64_t head = h * group + r;
          double* out = y.at(b, head) + t * width;
          const double* query = q.at(b, head) + t * q.size;
          gemm(1, width, q.size, query, q.size, st, width, out, width);
          for (int64_t m = 0; m < width; m++) out[m] *= scale;
        }
      }
    }
  if (ctx.wants(1))
    TRY(set_heads(ctx, 1, ctx.has(3) ? ctx.in(3).dtype() : ctx.in(0).dtype(), state, false));
  return set_heads(ctx, 0, ctx.in(0).dtype(), y, true);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(linear_attention,
             {.name = "LinearAttention", .infer = infer, .eval = eval, .macs = macs})
