// SPDX-License-Identifier: Apache-2.0
// Attention (ai.onnx 23, 24, 25): heads in three or four dims, grouped heads, caches, masks.
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  Dim batch, q_heads, kv_heads, q_length, kv_length, total, head, v_head;
  bool packed = false;  // three dims
};

// Dim of one operand: heads or head size out of packed dims.
struct Operand {
  Dim batch, heads, length, size;
};
Result<Operand> operand_of(const Shape& s, int64_t heads, const char* name) {
  if (s.size() == 4) return Operand{s[0], s[1], s[2], s[3]};
  if (s.size() != 3) return invalid(format("{} has rank {}, 3 or 4 expected", name, s.size()));
  if (heads < 1) return invalid("attributes 'q_num_heads' and 'kv_num_heads' are needed");
  if (s[2].is_const() && s[2].value() % heads != 0)
    return invalid(
        format("{} has hidden size {}, no multiple of {} heads", name, s[2].text(), heads));
  return Operand{s[0], Dim(heads), s[1], floor_div(s[2], Dim(heads))};
}

Result<std::optional<Sizes>> rule(const InShapes& in) {
  const Node& node = in.node();
  const Shape *q = in[0], *k = in[1], *v = in[2];
  if (in.has(4) != in.has(5)) return invalid("inputs 'past_key' and 'past_value' go together");
  if (in.has(4) && in.has(6))
    return invalid("input 'nonpad_kv_seqlen' does not go with 'past_key' and 'past_value'");
  for (const char* window : {"left_window_size", "right_window_size"})
    if (node.attr_int(window, -1) < -1)
      return invalid(format("attribute '{}' is {}", window, node.attr_int(window, -1)));
  if (q == nullptr || k == nullptr || v == nullptr) return std::optional<Sizes>();
  TRY(expect_rank(k, "key", q->size()));
  TRY(expect_rank(v, "value", q->size()));
  const int64_t kv = node.attr_int("kv_num_heads", 0);
  TRY_ASSIGN(const Operand query, operand_of(*q, node.attr_int("q_num_heads", 0), "query"));
  TRY_ASSIGN(const Operand key, operand_of(*k, kv, "key"));
  TRY_ASSIGN(const Operand value, operand_of(*v, kv, "value"));
  Sizes s;
  s.packed = q->size() == 3;
  TRY_ASSIGN(s.batch, unify("batch size of the query", query.batch, "that of the key", key.batch));
  TRY_ASSIGN(s.batch, unify("batch size", s.batch, "that of the value", value.batch));
  TRY_ASSIGN(s.kv_heads,
             unify("number of heads of the key", key.heads, "that of the value", value.heads));
  TRY_ASSIGN(s.head, unify("head size of the query", query.size, "that of the key", key.size));
  TRY_ASSIGN(s.kv_length,
             unify("length of the key", key.length, "that of the value", value.length));
  s.q_heads = query.heads;
  s.q_length = query.length;
  s.v_head = value.size;
  if (s.q_heads.is_const() && s.kv_heads.is_const() &&
      (s.kv_heads.value() < 1 || s.q_heads.value() % s.kv_heads.value() != 0))
    return invalid(format("{} query heads are no multiple of {} key heads", s.q_heads.text(),
                          s.kv_heads.text()));
  s.total = s.kv_length;
  if (in.has(4)) {
    Dim past;
    for (size_t i : {4, 5}) {
      const char* name = i == 4 ? "input 'past_key'" : "input 'past_value'";
      TRY(expect_rank(in[i], name, 4));
      if (in[i] == nullptr) continue;
      TRY(agree("batch size", s.batch, format("that of {}", name), (*in[i])[0]));
      TRY(agree("number of heads", s.kv_heads, format("that of {}", name), (*in[i])[1]));
      TRY(agree("head size", i == 4 ? s.head : s.v_head, format("that of {}", name), (*in[i])[3]));
      TRY_ASSIGN(past, unify("length of the past", past, format("that of {}", name), (*in[i])[2]));
    }
    s.total = past + s.kv_length;
  }
  TRY(expect_vector(in[6], "input 'nonpad_kv_seqlen'", s.batch, "batch size"));
  if (const Shape* mask = in[3]) {
    const Shape full = {s.batch, s.q_heads, s.q_length, s.total};
    bool fits = mask->size() <= 4;
    for (size_t i = 0; fits && i < mask->size(); i++) {
      const Dim d = (*mask)[mask->size() - 1 - i], want = full[3 - i];
      const bool shorter = i == 0 && d.is_const() && want.is_const() && d.value() < want.value();
      fits = d.is_const(1) || shorter || !Dim::differ(d, want);
    }
    if (!fits)
      return invalid(format("input 'attn_mask' of shape {} does not broadcast to {}",
                            to_string(*mask), to_string(full)));
  }
  return std::optional(s);
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const auto s, rule(InShapes(ctx)));
  const DType type = ctx.dtype(0), v_type = ctx.dtype(2);
  const auto set = [&](size_t i, DType t, std::optional<Shape> shape) -> Status {
    return ctx.has_output(i) ? ctx.set(i, t, std::move(shape)) : ok();
  };
  if (!s) {
    TRY(set(1, type, std::nullopt));
    TRY(set(2, v_type, std::nullopt));
    TRY(set(3, type, std::nullopt));
    return ctx.set(0, Type::tensor(type));
  }
  TRY(set(1, type, Shape{s->batch, s->kv_heads, s->total, s->head}));
  TRY(set(2, v_type, Shape{s->batch, s->kv_heads, s->total, s->v_head}));
  TRY(set(3, type, Shape{s->batch, s->q_heads, s->q_length, s->total}));
  return ctx.set(0, type,
                 s->packed ? Shape{s->batch, s->q_length, s->q_heads * s->v_head}
                           : Shape{s->batch, s->q_heads, s->q_length, s->v_head});
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const auto s, rule(InShapes(ctx)));
  if (!s) return unsupported("a shape is not known");
  return known_product(Shape{s->batch, s->q_heads, s->q_length, s->total, s->head + s->v_head});
}

ScoreStage stage_of(const EvalContext& ctx) {
  if (!ctx.wants(3)) return ScoreStage::kNone;
  switch (ctx.node().attr_int("qk_matmul_output_mode", 0)) {
    case 1: return ScoreStage::kCapped;
    case 2: return ScoreStage::kBiased;
    case 3: return ScoreStage::kProbabilities;
    default: return ScoreStage::kRaw;
  }
}

Status eval(EvalContext& ctx) {
  const Node& node = ctx.node();
  TRY_ASSIGN(const auto sizes, rule(InShapes(ctx)));
  if (!sizes) return ctx.error("an input is missing");
  const int64_t kv_heads = sizes->kv_heads.value();
  TRY_ASSIGN(const Heads q, load_heads(ctx, ctx.in(0), sizes->q_heads.value()));
  TRY_ASSIGN(Heads k, load_heads(ctx, ctx.in(1), kv_heads));
  TRY_ASSIGN(Heads v, load_heads(ctx, ctx.in(2), kv_heads));
  int64_t past = 0;
  if (ctx.has(4)) {
    TRY_ASSIGN(const Heads past_key, load_heads(ctx, ctx.in(4), kv_heads));
    TRY_ASSIGN(const Heads past_value, load_heads(ctx, ctx.in(5), kv_heads));
    past = past_key.length;
    TRY_ASSIGN(k, append_heads(ctx, past_key, k));
    TRY_ASSIGN(v, append_heads(ctx, past_value, v));
  }
  const std::vector<int64_t> valid = ctx.has(6) ? ctx.in(6).to_i64() : std::vector<int64_t>();
  const bool causal = node.attr_int("is_causal", 0) != 0;
  const int64_t left = node.attr_int("left_window_size", -1);
  const int64_t right = node.attr_int("right_window_size", -1);
  std::optional<MaskRows> mask;
  if (ctx.has(3)) mask.emplace(ctx.in(3), k.length, ctx.version() >= 24);

  AttentionForm spec;
  spec.scale = node.attr_float("scale", 0);
  if (node.attr("scale") == nullptr) spec.scale = 1 / std::sqrt(static_cast<double>(q.size));
  spec.softcap = node.attr_float("softcap", 0);
  spec.stage = stage_of(ctx);
  spec.round_q = ctx.in(0).dtype() == DType::kBfloat16;
  const auto bfloat16 = static_cast<int64_t>(DType::kBfloat16);
  spec.round_softmax = spec.round_q && node.attr_int("softmax_precision", bfloat16) == bfloat16;
  spec.bias = [&](int64_t b, int64_t h, int64_t i, std::span<double> bias) {
    if (mask) mask->add(b, h, i, bias);
    // Position of the query among the keys.
    double at = static_cast<double>(i + past), end = INFINITY;
    if (!valid.empty()) {
      end = static_cast<double>(valid[static_cast<size_t>(b)]);
      at += end - static_cast<double>(q.length);
    }
    for (size_t j = 0; j < bias.size(); j++) {
      const double key = static_cast<double>(j);
      const bool hidden = (causal && key > at) ||
                          (left >= 0 && key < at - static_cast<double>(left)) ||
                          (right >= 0 && key > at + static_cast<double>(right)) || key >= end;
      if (hidden) bias[j] += -INFINITY;
    }
  };
  TRY_ASSIGN(const AttentionResult r, attend(ctx, q, k, v, spec));
  const DType type = ctx.in(0).dtype();
  if (ctx.wants(1)) TRY(set_heads(ctx, 1, ctx.in(1).dtype(), k, false));
  if (ctx.wants(2)) TRY(set_heads(ctx, 2, ctx.in(2).dtype(), v, false));
  if (ctx.wants(3)) TRY(set_heads(ctx, 3, type, r.scores, false));
  return set_heads(ctx, 0, type, r.y, sizes->packed);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(attention, {.name = "Attention", .infer = infer, .eval = eval, .macs = macs})
