// SPDX-License-Identifier: Apache-2.0
// GroupQueryAttention (com.microsoft): grouped heads with a cache, rotary embedding, local window.
// Inputs: query (or all three packed), key, value, past_key, past_value, seqlens_k,
// total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias, head_sink.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  int64_t heads = 0, kv_heads = 0;
  Dim batch, length, head, past = 0;  // past: length of the cache as given
  bool packed = false;
};

Status check_attributes(const InShapes& in) {
  const Node& node = in.node();
  for (const char* quantized : {"k_quant_type", "v_quant_type"})
    if (node.attr_str(quantized, "NONE") != "NONE")
      return unsupported(format("attribute '{}'", quantized));
  if (node.attr_int("sliding_window_cache", 0) != 0)
    return unsupported("attribute 'sliding_window_cache'");
  if (in.has(14) || in.has(15)) return unsupported("normalization of queries and keys");
  if (in.has(1) != in.has(2)) return invalid("inputs 'key' and 'value' go together");
  if (in.has(3) != in.has(4)) return invalid("inputs 'past_key' and 'past_value' go together");
  if (node.attr_int("do_rotary", 0) != 0 && (!in.has(7) || !in.has(8)))
    return invalid("attribute 'do_rotary' needs inputs 'cos_cache' and 'sin_cache'");
  return ok();
}

Result<Sizes> rule(const InShapes& in) {
  const Node& node = in.node();
  TRY(check_attributes(in));
  Sizes s;
  s.heads = node.attr_int("num_heads", 0);
  s.kv_heads = node.attr_int("kv_num_heads", 0);
  if (s.heads < 1 || s.kv_heads < 1 || s.heads % s.kv_heads != 0 || s.heads > INT32_MAX)
    return invalid(format("attribute 'num_heads' is {}, no multiple of 'kv_num_heads' {}", s.heads,
                          s.kv_heads));
  s.packed = !in.has(1);
  const Shape *q = in[0], *past = in[3];
  TRY(expect_rank(q, "query", 3));
  if (q != nullptr) {
    s.batch = (*q)[0];
    s.length = (*q)[1];
    const int64_t parts = s.packed ? s.heads + 2 * s.kv_heads : s.heads;
    if ((*q)[2].is_const() && (*q)[2].value() % parts != 0)
      return invalid(format("hidden size {} is no multiple of {} heads", (*q)[2].text(), parts));
    s.head = floor_div((*q)[2], Dim(parts));
  }
  for (size_t i : {1, 2}) {
    const char* name = i == 1 ? "key" : "value";
    TRY(expect_rank(in[i], name, 3));
    if (in[i] == nullptr) continue;
    TRY(agree("batch size", s.batch, format("that of the {}", name), (*in[i])[0]));
    TRY(agree("length", s.length, format("that of the {}", name), (*in[i])[1]));
    TRY(agree(format("hidden size of the {}", name), (*in[i])[2], "that of its heads",
              Dim(s.kv_heads) * s.head));
  }
  for (size_t i : {3, 4}) {
    TRY(expect_rank(in[i], "past state", 4));
    if (in[i] == nullptr) continue;
    TRY(agree("batch size", s.batch, "that of the past state", (*in[i])[0]));
    TRY(agree("attribute 'kv_num_heads'", Dim(s.kv_heads), "heads of the past state", (*in[i])[1]));
    TRY_ASSIGN(s.head, unify("head size", s.head, "that of the past state", (*in[i])[3]));
    if (past != nullptr)
      TRY(agree("length of the past key", (*past)[2], "that of the past value", (*in[i])[2]));
  }
  if (in.has(3)) s.past = past != nullptr ? (*past)[2] : Dim();
  return s;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  // The caches grow to the total length where they do not have it yet.
  const auto total = ctx.ints(6);
  Dim cache = total && total->size() == 1 ? max(s.past, Dim((*total)[0])) : Dim();
  if (!ctx.has_input(3)) cache = s.length;
  const DType type = ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0);
  for (size_t i : {1, 2})
    if (ctx.has_output(i)) TRY(ctx.set(i, type, Shape{s.batch, Dim(s.kv_heads), cache, s.head}));
  if (ctx.has_output(3))
    TRY(ctx.set(3, ctx.dtype(0), Shape{s.batch, Dim(s.heads), s.length, Dim()}));
  return ctx.set(0, ctx.dtype(0), Shape{s.batch, s.length, Dim(s.heads) * s.head});
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const Sizes s, rule(InShapes(ctx)));
  const auto total = ctx.ints(6);
  const Dim keys = total && total->size() == 1 ? Dim((*total)[0]) : s.past + s.length;
  return known_product(Shape{s.batch, Dim(s.heads), s.length, keys, s.head, Dim(2)});
}

// Heads [first, first + count) of rows that pack `all` heads.
Result<Heads> heads_from(const EvalContext& ctx, const Heads& all, int64_t first, int64_t count) {
  TRY_ASSIGN(Heads h, make_heads(ctx, all.batch, count, all.length, all.size));
  for (int64_t b = 0; b < all.batch; b++)
    for (int64_t n = 0; n < count; n++) std::copy_n(all.at(b, first + n), all.part(), h.at(b, n));
  return h;
}

struct Lengths {
  std::vector<int64_t> total, past;  // of each batch entry
  int64_t longest = 0;
};
Result<Lengths> lengths_of(const EvalContext& ctx, int64_t batch, int64_t length, int64_t cache) {
  Lengths l;
  if (ctx.in(5).size() != batch || ctx.in(6).size() != 1)
    return invalid("inputs 'seqlens_k' and 'total_sequence_length' have other sizes than expected");
  l.longest = ctx.in(6).i64_at(0);
  const bool first = l.longest == length;  // the whole prompt, nothing cached before
  for (int64_t b = 0; b < batch; b++) {
    const int64_t total = ctx.in(5).i64_at(b) + 1;
    const int64_t past = first ? 0 : total - length;
    if (total < 1 || total > l.longest || past < 0 || past > cache)
      return invalid(format("input 'seqlens_k' has the value {}, length is {} of {} in all",
                            total - 1, length, l.longest));
    l.total.push_back(total);
    l.past.push_back(past);
  }
  return l;
}

// Cache with the new rows put behind each entry's past.
Result<Heads> extended(const EvalContext& ctx, size_t input, const Heads& now, const Lengths& l,
                       int64_t cache) {
  TRY_ASSIGN(Heads h, make_heads(ctx, now.batch, now.heads, std::max(cache, l.longest), now.size));
  Heads before;
  if (ctx.has(input)) {
    TRY_ASSIGN(before, load_heads(ctx, ctx.in(input), 0));
  }
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++) {
      const int64_t past = l.past[static_cast<size_t>(b)];
      if (before.size > 0) std::copy_n(before.at(b, n), past * h.size, h.at(b, n));
      const int64_t rows = std::min(now.length, h.length - past);
      std::copy_n(now.at(b, n), rows * h.size, h.at(b, n) + past * h.size);
    }
  return h;
}

Status turn(const EvalContext& ctx, Heads& h, const Lengths& l) {
  const Tensor &cos = ctx.in(7), &sin = ctx.in(8);
  if (cos.rank() != 2 || cos.dims() != sin.dims() || cos.dims()[1] * 2 > h.size)
    return invalid(
        format("input 'cos_cache' has shape {}, head size is {}", to_string(cos.dims()), h.size));
  const bool interleaved = ctx.node().attr_int("rotary_interleaved", 0) != 0;
  if (ctx.has(9) && ctx.in(9).size() != h.batch * h.length)
    return invalid("input 'position_ids' has another size than batch times length");
  const int64_t half = cos.dims()[1];
  std::vector<double> c(static_cast<size_t>(half)), s(c);
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t i = 0; i < h.length; i++) {
      const int64_t row =
          ctx.has(9) ? ctx.in(9).i64_at(b * h.length + i) : l.past[static_cast<size_t>(b)] + i;
      if (row < 0 || row >= cos.dims()[0])
        return invalid(
            format("position {} is outside of the tables of {} rows", row, cos.dims()[0]));
      load_f64(cos, row * half, c);
      load_f64(sin, row * half, s);
      for (int64_t n = 0; n < h.heads; n++)
        rotate(std::span(h.at(b, n) + i * h.size, static_cast<size_t>(h.size)), c, s, interleaved);
    }
  return ok();
}

Status eval(EvalContext& ctx) {
  const Node& node = ctx.node();
  TRY_ASSIGN(const Sizes sizes, rule(InShapes(ctx)));
  const int64_t cache = ctx.has(3) ? sizes.past.value() : 0;
  Heads q, k, v;
  if (sizes.packed) {
    TRY_ASSIGN(const Heads all, load_heads(ctx, ctx.in(0), sizes.heads + 2 * sizes.kv_heads));
    TRY_ASSIGN(q, heads_from(ctx, all, 0, sizes.heads));
    TRY_ASSIGN(k, heads_from(ctx, all, sizes.heads, sizes.kv_heads));
    TRY_ASSIGN(v, heads_from(ctx, all, sizes.heads + sizes.kv_heads, sizes.kv_heads));
  } else {
    TRY_ASSIGN(q, load_heads(ctx, ctx.in(0), sizes.heads));
    TRY_ASSIGN(k, load_heads(ctx, ctx.in(1), sizes.kv_heads));
    TRY_ASSIGN(v, load_heads(ctx, ctx.in(2), sizes.kv_heads));
  }
  TRY_ASSIGN(const Lengths l, lengths_of(ctx, q.batch, q.length, cache));
  if (node.attr_int("do_rotary", 0) != 0) {
    TRY(turn(ctx, q, l));
    TRY(turn(ctx, k, l));
  }
  TRY_ASSIGN(k, extended(ctx, 3, k, l, cache));
  TRY_ASSIGN(v, extended(ctx, 4, v, l, cache));
  const bool causal = node.attr_int("causal", 1) != 0;
  const int64_t window = node.attr_int("local_window_size", -1);
  std::optional<MaskRows> extra;
  if (ctx.has(10)) {
    const Dims& d = ctx.in(10).dims();
    const Dims full = {q.batch, q.heads, q.length, d.empty() ? 0 : d.back()};
    const auto joined = broadcast_dims(d, full);
    if (d.size() != 4 || !joined || *joined != full)
      return ctx.error(format("input 'attention_bias' has shape {}", to_string(d)));
    extra.emplace(ctx.in(10), k.length, true);
  }

  AttentionForm spec;
  spec.scale = node.attr_float("scale", 0);
  if (spec.scale == 0) spec.scale = 1 / std::sqrt(static_cast<double>(q.size));
  spec.softcap = node.attr_float("softcap", 0);
  if (ctx.has(11)) {
    spec.sinks = ctx.in(11).to_f64();
    if (spec.sinks.size() != static_cast<size_t>(q.heads))
      return ctx.error("input 'head_sink' has another length than 'num_heads'");
  } else if (node.attr_int("smooth_softmax", 0) > 0) {
    spec.sinks.assign(static_cast<size_t>(q.heads), 0.0);
  }
  const int64_t qk = node.attr_int("qk_output", 0);
  if (ctx.wants(3)) spec.stage = qk == 2 ? ScoreStage::kProbabilities : ScoreStage::kBiased;
  spec.bias = [&](int64_t b, int64_t h, int64_t i, std::span<double> bias) {
    if (extra) extra->add(b, h, i, bias);
    const int64_t at = l.past[static_cast<size_t>(b)] + i, total = l.total[static_cast<size_t>(b)];
    for (size_t j = 0; j < bias.size(); j++) {
      const int64_t key = static_cast<int64_t>(j);
      const bool shown = (causal ? key <= at : key < total) && (window < 0 || key > at - window);
      if (!shown) bias[j] = -INFINITY;
    }
  };
  TRY_ASSIGN(AttentionResult r, attend(ctx, q, k, v, spec));
  const DType type = ctx.in(0).dtype(), cached = ctx.has(3) ? ctx.in(3).dtype() : type;
  if (ctx.wants(1)) TRY(set_heads(ctx, 1, cached, k, false));
  if (ctx.wants(2)) TRY(set_heads(ctx, 2, cached, v, false));
  if (ctx.wants(3)) TRY(set_heads(ctx, 3, type, r.scores, false));
  return set_heads(ctx, 0, type, r.y, true);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(group_query_attention, {.name = "GroupQueryAttention",
                                     .domain = "com.microsoft",
                                     .infer = infer,
                                     .eval = eval,
                                     .macs = macs})
