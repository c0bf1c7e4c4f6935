// SPDX-License-Identifier: Apache-2.0
// Attention and MultiHeadAttention of com.microsoft: projections, key masks of several forms,
// caches without shared buffers.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

Result<int64_t> heads_of(const Node& node) {
  const int64_t n = node.attr_int("num_heads", 0);
  if (n < 1) return invalid(format("attribute 'num_heads' is {}, at least 1 expected", n));
  return n;
}

// Mask of keys by lengths, by zero and one for each key, or for each query and key.
class KeyMask {
 public:
  static Result<KeyMask> of(const Tensor& t, int64_t batch, int64_t queries, int64_t keys,
                            double filter) {
    KeyMask m;
    m.values_ = t.to_i64();
    m.batch_ = batch;
    m.keys_ = keys;
    m.past_ = keys - queries;
    m.filter_ = filter;
    const Dims& d = t.dims();
    if (d == Dims{batch})
      m.form_ = kEnds;
    else if (d == Dims{2 * batch})
      m.form_ = kEndsAndStarts;
    else if (d == Dims{batch, keys})
      m.form_ = kKeys;
    else if (d == Dims{batch, queries, keys})
      m.form_ = kQueries;
    else if (d.size() == 4 && d[0] == batch && d[1] == 1 && d[2] == d[3] && d[3] >= keys) {
      m.form_ = kSquare;
      m.side_ = d[3];
    } else {
      return unsupported(format("mask of shape {} for batch {}, {} queries and {} keys",
                                to_string(d), batch, queries, keys));
    }
    return m;
  }

  void add(int64_t b, int64_t i, std::span<double> bias) const {
    for (size_t j = 0; j < bias.size(); j++)
      if (!shown(b, i, static_cast<int64_t>(j))) bias[j] += filter_;
  }

 private:
  enum Form { kEnds, kEndsAndStarts, kKeys, kQueries, kSquare };
  int64_t at(int64_t k) const { return values_[static_cast<size_t>(k)]; }
  bool shown(int64_t b, int64_t i, int64_t j) const {
    switch (form_) {
      case kEnds: return j < at(b);
      case kEndsAndStarts: return j < at(b) && j >= at(batch_ + b);
      case kKeys: return at(b * keys_ + j) != 0;
      case kQueries: return at((b * (keys_ - past_) + i) * keys_ + j) != 0;
      default: return at((b * side_ + past_ + i) * side_ + j) != 0;
    }
  }
  Form form_ = kKeys;
  std::vector<int64_t> values_;
  int64_t batch_ = 0, keys_ = 0, past_ = 0, side_ = 0;
  double filter_ = 0;
};

// Scale, masks and causality that both operators have.
struct Masks {
  std::optional<KeyMask> keys;
  std::optional<MaskRows> bias;
  bool causal = false;
  int64_t past = 0;
  AttentionForm spec(const Node& node, int64_t head) const {
    AttentionForm s;
    s.scale = node.attr_float("scale", 0);
    if (s.scale == 0) s.scale = 1 / std::sqrt(static_cast<double>(head));
    s.bias = [this](int64_t b, int64_t h, int64_t i, std::span<double> row) {
      if (bias) bias->add(b, h, i, row);
      if (keys) keys->add(b, i, row);
      if (!causal) return;
      for (size_t j = static_cast<size_t>(past + i) + 1; j < row.size(); j++) row[j] += -INFINITY;
    };
    return s;
  }
};

Result<Masks> masks_of(const EvalContext& ctx, size_t mask, size_t bias, const Heads& q,
                       const Heads& k) {
  Masks m;
  m.past = k.length - q.length;
  m.causal = ctx.node().attr_int("unidirectional", 0) != 0;
  if (m.causal && m.past < 0) return unsupported("fewer keys than queries with 'unidirectional'");
  if (ctx.has(mask)) {
    const double filter = ctx.node().attr_float("mask_filter_value", -10000.0f);
    TRY_ASSIGN(m.keys, KeyMask::of(ctx.in(mask), q.batch, q.length, k.length, filter));
  }
  if (ctx.has(bias)) {
    const Dims full = {q.batch, q.heads, q.length, k.length};
    const auto joined = broadcast_dims(ctx.in(bias).dims(), full);
    if (!joined || *joined != full)
      return ctx.error(format("input 'attention_bias' has shape {}, {} expected",
                              to_string(ctx.in(bias).dims()), to_string(full)));
    m.bias.emplace(ctx.in(bias), k.length, false);
  }
  return m;
}

// -------------------------------------------------------------------------------- Attention
// Inputs: input, weights, bias, mask_index, past, attention_bias, past_sequence_length.
struct Projection {
  int64_t heads = 0;
  Dim batch, length, input, q, k, v;  // hidden sizes
  Dim past = 0;
};

Result<Projection> projection_rule(const InShapes& in) {
  const Node& node = in.node();
  if (node.attr_int("do_rotary", 0) != 0 || node.attr_int("past_present_share_buffer", 0) != 0)
    return unsupported("attributes 'do_rotary' and 'past_present_share_buffer'");
  Projection p;
  TRY_ASSIGN(p.heads, heads_of(node));
  const Shape *x = in[0], *w = in[1];
  TRY(expect_rank(x, "input", 3));
  TRY(expect_rank(w, "weight", 2));
  if (x != nullptr) {
    p.batch = (*x)[0];
    p.length = (*x)[1];
    p.input = (*x)[2];
  }
  Dim all;
  if (w != nullptr) {
    TRY(agree("hidden size of the input", p.input, "rows of the weight", (*w)[0]));
    all = (*w)[1];
  }
  if (const auto* sizes = node.attr_ints("qkv_hidden_sizes"); sizes != nullptr && !sizes->empty()) {
    if (sizes->size() != 3 || (*sizes)[0] != (*sizes)[1] || (*sizes)[0] < 1 || (*sizes)[2] < 1 ||
        (*sizes)[0] > INT32_MAX || (*sizes)[2] > INT32_MAX)
      return invalid(
          "attribute 'qkv_hidden_sizes' is not three positive sizes, the first two equal");
    p.q = p.k = Dim((*sizes)[0]);
    p.v = Dim((*sizes)[2]);
    TRY(agree("columns of the weight", all, "sum of 'qkv_hidden_sizes'", p.q + p.k + p.v));
  } else {
    if (all.is_const() && all.value() % 3 != 0)
      return invalid(format("the {} columns of the weight are no multiple of 3", all.text()));
    p.q = p.k = p.v = floor_div(all, Dim(3));
  }
  for (Dim d : {p.q, p.v})
    if (d.is_const() && d.value() % p.heads != 0)
      return invalid(format("hidden size {} is no multiple of {} heads", d.text(), p.heads));
  TRY(expect_vector(in[2], "bias", p.q + p.k + p.v, "columns of the weight"));
  if (in.has(4)) {
    TRY(expect_rank(in[4], "past state", 5));
    p.past = in[4] != nullptr ? (*in[4])[3] : Dim();
  }
  return p;
}

Status infer_attention(InferContext& ctx) {
  TRY_ASSIGN(const Projection p, projection_rule(InShapes(ctx)));
  if (ctx.has_output(1))
    TRY(ctx.set(
        1, ctx.dtype(0),
        Shape{Dim(2), p.batch, Dim(p.heads), p.past + p.length, floor_div(p.q, Dim(p.heads))}));
  return ctx.set(0, ctx.dtype(0), Shape{p.batch, p.length, p.v});
}

Result<int64_t> macs_attention(const InferContext& ctx) {
  TRY_ASSIGN(const Projection p, projection_rule(InShapes(ctx)));
  return known_product(
      Shape{p.batch, p.length, p.input * (p.q + p.k + p.v) + (p.past + p.length) * (p.q + p.v)});
}

// Columns [first, first + heads * size) of the projected rows as heads.
Result<Heads> cut_heads(const EvalContext& ctx, std::span<const double> rows, int64_t width,
                        int64_t first, int64_t batch, int64_t length, int64_t heads, int64_t size) {
  TRY_ASSIGN(Heads h, make_heads(ctx, batch, heads, length, size));
  for (int64_t b = 0; b < batch; b++)
    for (int64_t n = 0; n < heads; n++)
      for (int64_t l = 0; l < length; l++)
        std::copy_n(rows.data() + (b * length + l) * width + first + n * size, size,
                    h.at(b, n) + l * size);
  return h;
}

Status eval_attention(EvalContext& ctx) {
  TRY_ASSIGN(const Projection p, projection_rule(InShapes(ctx)));
  const int64_t batch = p.batch.value(), length = p.length.value(), input = p.input.value();
  const int64_t hidden = p.q.value(), v_hidden = p.v.value(), width = 2 * hidden + v_hidden;
  TRY_ASSIGN(const auto x, values_of(ctx, ctx.in(0)));
  TRY_ASSIGN(const auto w, values_of(ctx, ctx.in(1)));
  TRY_ASSIGN(auto rows, scratch(ctx, {batch, length, width}));
  gemm(batch * length, width, input, x.data(), input, w.data(), width, rows.data(), width);
  if (ctx.has(2)) {
    const std::vector<double> bias = ctx.in(2).to_f64();
    for (size_t i = 0; i < rows.size(); i++) rows[i] += bias[i % bias.size()];
  }
  const int64_t size = hidden / p.heads, v_size = v_hidden / p.heads;
  TRY_ASSIGN(const Heads q, cut_heads(ctx, rows, width, 0, batch, length, p.heads, size));
  TRY_ASSIGN(Heads k, cut_heads(ctx, rows, width, hidden, batch, length, p.heads, size));
  TRY_ASSIGN(Heads v, cut_heads(ctx, rows, width, 2 * hidden, batch, length, p.heads, v_size));
  if (ctx.has(4)) {
    const int64_t past = p.past.value();
    const Dims want = {2, batch, p.heads, past, size};
    if (ctx.in(4).dims() != want || size != v_size)
      return ctx.error(format("past state has shape {}, {} expected", to_string(ctx.in(4).dims()),
                              to_string(want)));
    TRY_ASSIGN(Heads past_k, make_heads(ctx, batch, p.heads, past, size));
    Heads past_v = past_k;
    load_f64(ctx.in(4), 0, past_k.v);
    load_f64(ctx.in(4), static_cast<int64_t>(past_k.v.size()), past_v.v);
    TRY_ASSIGN(k, append_heads(ctx, past_k, k));
    TRY_ASSIGN(v, append_heads(ctx, past_v, v));
  }
  TRY_ASSIGN(const Masks masks, masks_of(ctx, 3, 5, q, k));
  TRY_ASSIGN(const AttentionResult r, attend(ctx, q, k, v, masks.spec(ctx.node(), size)));
  const DType type = ctx.in(0).dtype();
  if (ctx.wants(1)) {
    if (size != v_size) return ctx.error("keys and values of a state differ in head size");
    std::vector<double> both = k.v;
    both.insert(both.end(), v.v.begin(), v.v.end());
    TRY(ctx.set_f64(1, type, {2, batch, p.heads, k.length, size}, both));
  }
  return set_heads(ctx, 0, type, r.y, true);
}

// ----------------------------------------------------------------------- MultiHeadAttention
// Inputs: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value,
// past_sequence_length, cache_indirection. Packed forms put q, k and v in one tensor of 5 dims
// [batch, length, heads, 3, size], or k and v in one [batch, length, heads, 2, size]; key and
// value of 4 dims [batch, heads, length, size] need no projection bias.
struct Operands {
  int64_t heads = 0;
  Dim batch, length, keys, size, v_size;
  Dim past = 0;
};

Result<Operands> operands_rule(const InShapes& in) {
  Operands o;
  TRY_ASSIGN(o.heads, heads_of(in.node()));
  if (in.has(8) || in.has(9)) return unsupported("shared cache buffers");
  if (in.has(6) != in.has(7)) return invalid("inputs 'past_key' and 'past_value' go together");
  const Shape *q = in[0], *k = in[1], *v = in[2];
  const Dim n(o.heads);
  if (q != nullptr) {
    if (q->size() != 3 && q->size() != 5)
      return invalid(format("query has rank {}, 3 or 5 expected", q->size()));
    o.batch = (*q)[0];
    o.length = (*q)[1];
    if (q->size() == 5) {
      TRY(agree("attribute 'num_heads'", n, "heads of the query", (*q)[2]));
      TRY(agree("packed operands", (*q)[3], "expected number", Dim(3)));
      o.keys = o.length;
      o.size = o.v_size = (*q)[4];
    } else {
      if ((*q)[2].is_const() && (*q)[2].value() % o.heads != 0)
        return invalid(
            format("hidden size {} is no multiple of {} heads", (*q)[2].text(), o.heads));
      o.size = floor_div((*q)[2], n);
    }
  }
  if (k != nullptr) {
    if (k->size() < 3 || k->size() > 5) return invalid(format("key has rank {}", k->size()));
    TRY_ASSIGN(o.batch, unify("batch size of the query", o.batch, "that of the key", (*k)[0]));
    o.keys = (*k)[k->size() == 4 ? 2 : 1];
    const Dim size = k->size() == 3 ? floor_div((*k)[2], n) : k->back();
    TRY_ASSIGN(o.size, unify("head size of the query", o.size, "that of the key", size));
    if (k->size() == 5) o.v_size = o.size;
  }
  if (v != nullptr) {
    if (v->size() != 3 && v->size() != 4) return invalid(format("value has rank {}", v->size()));
    TRY(agree("batch size", o.batch, "that of the value", (*v)[0]));
    TRY_ASSIGN(o.keys, unify("number of keys", o.keys, "number of values", (*v)[v->size() - 2]));
    o.v_size = v->size() == 3 ? floor_div((*v)[2], n) : (*v)[3];
  }
  if (in.has(6)) {
    TRY(expect_rank(in[6], "past key", 4));
    TRY(expect_rank(in[7], "past value", 4));
    o.past = in[6] != nullptr ? (*in[6])[2] : Dim();
  }
  TRY(expect_vector(in[3], "bias", n * (o.size * Dim(2) + o.v_size), "hidden sizes"));
  return o;
}

Status infer_multi_head(InferContext& ctx) {
  TRY_ASSIGN(const Operands o, operands_rule(InShapes(ctx)));
  const Dim n(o.heads), total = o.past + o.keys;
  const DType type = ctx.dtype(0);
  if (ctx.has_output(1)) TRY(ctx.set(1, type, Shape{o.batch, n, total, o.size}));
  if (ctx.has_output(2)) TRY(ctx.set(2, type, Shape{o.batch, n, total, o.v_size}));
  if (ctx.has_output(3)) TRY(ctx.set(3, type, Shape{o.batch, n, o.length, total}));
  return ctx.set(0, type, Shape{o.batch, o.length, n * o.v_size});
}

Result<int64_t> macs_multi_head(const InferContext& ctx) {
  TRY_ASSIGN(const Operands o, operands_rule(InShapes(ctx)));
  return known_product(Shape{o.batch, Dim(o.heads), o.length, o.past + o.keys, o.size + o.v_size});
}

// Operand `part` of `count` packed in [batch, length, heads, count, size].
Result<Heads> unpack_heads(const EvalContext& ctx, const Tensor& t, int64_t part, int64_t count) {
  const Dims& d = t.dims();
  if (d.size() != 5 || d[3] != count)
    return invalid(format("shape {} packs no {} operands", to_string(d), count));
  TRY_ASSIGN(Heads h, make_heads(ctx, d[0], d[2], d[1], d[4]));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t l = 0; l < h.length; l++)
      for (int64_t n = 0; n < h.heads; n++)
        load_f64(t, (((b * h.length + l) * h.heads + n) * count + part) * h.size,
                 std::span(h.at(b, n) + l * h.size, static_cast<size_t>(h.size)));
  return h;
}

void add_bias(Heads& h, const Tensor& bias, int64_t first) {
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++)
      for (int64_t i = 0; i < h.part(); i++)
        h.at(b, n)[i] += bias.f64_at(first + n * h.size + i % h.size);
}

Status eval_multi_head(EvalContext& ctx) {
  TRY_ASSIGN(const Operands o, operands_rule(InShapes(ctx)));
  Heads q, k, v;
  const bool packed = ctx.in(0).rank() == 5, packed_kv = ctx.has(1) && ctx.in(1).rank() == 5;
  if (!packed && (!ctx.has(1) || (!packed_kv && !ctx.has(2))))
    return ctx.error("key or value is missing");
  if (packed) {
    TRY_ASSIGN(q, unpack_heads(ctx, ctx.in(0), 0, 3));
    TRY_ASSIGN(k, unpack_heads(ctx, ctx.in(0), 1, 3));
    TRY_ASSIGN(v, unpack_heads(ctx, ctx.in(0), 2, 3));
  } else {
    TRY_ASSIGN(q, load_heads(ctx, ctx.in(0), o.heads));
    if (packed_kv) {
      TRY_ASSIGN(k, unpack_heads(ctx, ctx.in(1), 0, 2));
      TRY_ASSIGN(v, unpack_heads(ctx, ctx.in(1), 1, 2));
    } else {
      TRY_ASSIGN(k, load_heads(ctx, ctx.in(1), o.heads));
      TRY_ASSIGN(v, load_heads(ctx, ctx.in(2), o.heads));
    }
  }
  if (ctx.has(3)) {
    const int64_t hidden = o.heads * q.size;
    if (ctx.in(3).size() != 2 * hidden + o.heads * v.size)
      return ctx.error("bias has not the sum of the hidden sizes as its length");
    add_bias(q, ctx.in(3), 0);
    if (packed || ctx.in(1).rank() != 4) {
      add_bias(k, ctx.in(3), hidden);
      add_bias(v, ctx.in(3), 2 * hidden);
    }
  }
  if (ctx.has(6)) {
    TRY_ASSIGN(const Heads past_k, load_heads(ctx, ctx.in(6), o.heads));
    TRY_ASSIGN(const Heads past_v, load_heads(ctx, ctx.in(7), o.heads));
    TRY_ASSIGN(k, append_heads(ctx, past_k, k));
    TRY_ASSIGN(v, append_heads(ctx, past_v, v));
  }
  TRY_ASSIGN(const Masks masks, masks_of(ctx, 4, 5, q, k));
  AttentionForm spec = masks.spec(ctx.node(), q.size);
  if (ctx.wants(3)) spec.stage = ScoreStage::kProbabilities;
  TRY_ASSIGN(const AttentionResult r, attend(ctx, q, k, v, spec));
  const DType type = ctx.in(0).dtype();
  if (ctx.wants(1)) TRY(set_heads(ctx, 1, type, k, false));
  if (ctx.wants(2)) TRY(set_heads(ctx, 2, type, v, false));
  if (ctx.wants(3)) TRY(set_heads(ctx, 3, type, r.scores, false));
  return set_heads(ctx, 0, type, r.y, true);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(ms_attention,
             {.name = "Attention",
              .domain = "com.microsoft",
              .infer = infer_attention,
              .eval = eval_attention,
              .macs = macs_attention},
             {.name = "MultiHeadAttention",
              .domain = "com.microsoft",
              .infer = infer_multi_head,
              .eval = eval_multi_head,
              .macs = macs_multi_head})
