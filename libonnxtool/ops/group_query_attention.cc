// SPDX-License-Identifier: Apache-2.0
// GroupQueryAttention (com.microsoft): grouped heads with a cache, rotary embedding, local window.
// Inputs: query (or all three packed), key, value, past_key, past_value, seqlens_k,
// total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias, head_sink, k_scale,
// v_scale, q_norm_weight, k_norm_weight. The cache may be quantized, or hold a window only.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/quant_util.h"

namespace onnxtool {
namespace {

struct Sizes {
  int64_t heads = 0, kv_heads = 0;
  Dim batch, length, head, past = 0;  // past: length of the cache as given
  bool packed = false;
};

// 0: not quantized, 1: one scale, 2: one for each channel.
Result<size_t> quant_type(const Node& node, std::string_view attr) {
  return choice(node, attr, "NONE", {"NONE", "PER_TENSOR", "PER_CHANNEL"});
}
int64_t cache_bits(const Node& node) {
  const int64_t bits = node.attr_int("kv_cache_bit_width", 0);
  return bits == 0 ? 8 : bits;
}
// Two values a byte.
bool packs_cache(const Node& node) {
  return node.attr_str("k_quant_type", "NONE") != "NONE" && cache_bits(node) == 4;
}

Status check_attributes(const InShapes& in) {
  const Node& node = in.node();
  TRY_ASSIGN(const size_t k_type, quant_type(node, "k_quant_type"));
  TRY_ASSIGN(const size_t v_type, quant_type(node, "v_quant_type"));
  const int64_t bits = cache_bits(node);
  if (bits != 4 && bits != 8)
    return invalid(format("attribute 'kv_cache_bit_width' is {}, must be 4 or 8", bits));
  if ((k_type == 0) != (v_type == 0))
    return invalid("attributes 'k_quant_type' and 'v_quant_type' go together");
  if (k_type != 0 && (!in.has(3) || !in.has(12) || !in.has(13)))
    return invalid("a quantized cache needs past states and their scales");
  if (node.attr_int("sliding_window_cache", 0) != 0 &&
      (!in.has(3) || node.attr_int("local_window_size", -1) < 1))
    return invalid("attribute 'sliding_window_cache' needs past states and a window size");
  if (in.has(14) != in.has(15))
    return invalid("inputs 'q_norm_weight' and 'k_norm_weight' go together");
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
    const Dim width = packs_cache(node) ? (*in[i])[3] * Dim(2) : (*in[i])[3];
    TRY_ASSIGN(s.head, unify("head size", s.head, "that of the past state", width));
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
  if (ctx.node().attr_int("sliding_window_cache", 0) != 0) cache = s.past;
  const Dim width = packs_cache(ctx.node()) ? floor_div(s.head, Dim(2)) : s.head;
  const DType type = ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0);
  for (size_t i : {1, 2})
    if (ctx.has_output(i)) TRY(ctx.set(i, type, Shape{s.batch, Dim(s.kv_heads), cache, width}));
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

// A cache of a window holds the last tokens only: a function of their number in all.
int64_t resident(int64_t total, int64_t capacity, int64_t window) {
  const int64_t step = capacity - window + 1;
  return total <= capacity ? total : total - step * ceil_div(total - capacity, step);
}

struct Lengths {
  // Of each batch entry: tokens in all, before, and of the latter those in the cache.
  std::vector<int64_t> total, past, kept;
  int64_t longest = 0;
};
Result<Lengths> lengths_of(const EvalContext& ctx, int64_t batch, int64_t length, int64_t cache) {
  Lengths l;
  const bool slides = ctx.node().attr_int("sliding_window_cache", 0) != 0;
  const int64_t window = ctx.node().attr_int("local_window_size", -1);
  if (slides && cache < window)
    return invalid(format("a cache of {} tokens for a window of {}", cache, window));
  if (ctx.in(5).size() != batch || ctx.in(6).size() != 1)
    return invalid("inputs 'seqlens_k' and 'total_sequence_length' have other sizes than expected");
  l.longest = ctx.in(6).i64_at(0);
  if (!ctx.has(3) && l.longest != length)
    return invalid(format("no past state for a length of {} of {} in all", length, l.longest));
  const bool first = l.longest == length;  // the whole prompt, nothing cached before
  for (int64_t b = 0; b < batch; b++) {
    const int64_t total = ctx.in(5).i64_at(b) + 1;
    const int64_t past = first ? 0 : total - length;
    if (total < 1 || total > l.longest || past < 0 || (past > cache && !slides))
      return invalid(format("input 'seqlens_k' has the value {}, length is {} of {} in all",
                            total - 1, length, l.longest));
    l.total.push_back(total);
    l.past.push_back(past);
    l.kept.push_back(slides ? resident(past, cache, window) : past);
  }
  return l;
}

// Scales and stored form of one side of a quantized cache.
struct Cache {
  size_t type = 0;  // as quant_type
  bool packed = false;
  DType dtype = DType::kUndefined;
  std::vector<double> scales;

  double scale(int64_t head, int64_t i, int64_t size) const {
    return scales[type == 1 ? 0 : static_cast<size_t>(head * size + i)];
  }
};

Result<Cache> cache_of(const EvalContext& ctx, size_t side, int64_t heads, int64_t size) {
  Cache c;
  TRY_ASSIGN(c.type, quant_type(ctx.node(), side == 0 ? "k_quant_type" : "v_quant_type"));
  c.dtype = ctx.has(3 + side) ? ctx.in(3 + side).dtype() : ctx.in(0).dtype();
  const bool stored =
      c.dtype == DType::kInt8 || c.dtype == DType::kUint8 || c.dtype == DType::kFloat8e4m3fn;
  if (stored != (c.type != 0))
    return invalid(format("past state of {}: attribute '{}_quant_type' says otherwise",
                          dtype_name(c.dtype), side == 0 ? "k" : "v"));
  if (c.type == 0) return c;
  c.packed = packs_cache(ctx.node());
  if (c.packed != (c.dtype == DType::kUint8))
    return invalid(format("past state of {} for attribute 'kv_cache_bit_width' {}",
                          dtype_name(c.dtype), cache_bits(ctx.node())));
  c.scales = ctx.in(12 + side).to_f64();
  const int64_t want = c.type == 1 ? 1 : heads * size;
  if (static_cast<int64_t>(c.scales.size()) != want)
    return invalid(format("{} scales of the cache, {} expected", c.scales.size(), want));
  return c;
}

Result<Heads> load_cache(const EvalContext& ctx, size_t input, const Cache& c) {
  TRY_ASSIGN(Heads raw, load_heads(ctx, ctx.in(input), 0));
  if (c.type == 0) return raw;
  TRY_ASSIGN(Heads h,
             make_heads(ctx, raw.batch, raw.heads, raw.length, c.packed ? raw.size * 2 : raw.size));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++)
      for (int64_t k = 0; k < h.part(); k++) {
        double v;
        if (c.packed) {  // low bits first, 8 is zero
          const auto byte = static_cast<unsigned>(raw.at(b, n)[k / 2]);
          v = static_cast<double>((k % 2 == 0 ? byte : byte >> 4) & 15) - 8;
        } else {
          v = raw.at(b, n)[k];
        }
        h.at(b, n)[k] = v * c.scale(n, k % h.size, h.size);
      }
  return h;
}

// What of x remains in the cache, in steps of the scale.
double stored(const Cache& c, double x, double scale) {
  const double q = scale == 0 ? 0 : static_cast<float>(x) / static_cast<float>(scale);
  if (std::isnan(q)) return 0;
  if (c.dtype == DType::kFloat8e4m3fn) return std::clamp(q, -448.0, 448.0);
  const double limit = c.packed ? 8 : 128;
  return std::clamp(std::nearbyint(q), -limit, limit - 1);
}

Status set_cache(EvalContext& ctx, size_t i, const Heads& h, const Cache& c) {
  if (c.type == 0) return set_heads(ctx, i, c.dtype, h, false);
  TRY_ASSIGN(Heads raw,
             make_heads(ctx, h.batch, h.heads, h.length, c.packed ? h.size / 2 : h.size));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++)
      for (int64_t k = 0; k < h.part(); k++) {
        const double q = stored(c, h.at(b, n)[k], c.scale(n, k % h.size, h.size));
        if (!c.packed)
          raw.at(b, n)[k] = q;
        else
          raw.at(b, n)[k / 2] += (q + 8) * (k % 2 == 0 ? 1 : 16);
      }
  return set_heads(ctx, i, c.dtype, raw, false);
}

// Cached rows with the new ones put behind each entry's own.
Result<Heads> extended(const EvalContext& ctx, size_t input, const Heads& now, const Lengths& l,
                       int64_t rows, const Cache& c) {
  TRY_ASSIGN(Heads h, make_heads(ctx, now.batch, now.heads, rows, now.size));
  Heads before;
  if (ctx.has(input)) {
    TRY_ASSIGN(before, load_cache(ctx, input, c));
  }
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++) {
      const int64_t kept = l.kept[static_cast<size_t>(b)];
      if (before.size > 0) std::copy_n(before.at(b, n), kept * h.size, h.at(b, n));
      const int64_t count = std::min(now.length, h.length - kept);
      double* to = h.at(b, n) + kept * h.size;
      std::copy_n(now.at(b, n), count * h.size, to);
      if (c.type == 0) continue;
      for (int64_t k = 0; k < count * h.size; k++) {
        const double scale = c.scale(n, k % h.size, h.size);
        double q = stored(c, to[k], scale);
        if (c.dtype == DType::kFloat8e4m3fn) q = round_to(c.dtype, q);
        to[k] = q * scale;
      }
    }
  return h;
}

// The last rows of each entry, as a cache of a window keeps them.
Result<Heads> newest(const EvalContext& ctx, const Heads& h, const Lengths& l, int64_t cache) {
  TRY_ASSIGN(Heads r, make_heads(ctx, h.batch, h.heads, cache, h.size));
  const int64_t window = ctx.node().attr_int("local_window_size", -1);
  for (int64_t b = 0; b < h.batch; b++) {
    const auto at = static_cast<size_t>(b);
    const int64_t count = resident(l.total[at], cache, window);
    const int64_t rows = l.kept[at] + l.total[at] - l.past[at];
    for (int64_t n = 0; n < h.heads; n++)
      std::copy_n(h.at(b, n) + (rows - count) * h.size, count * h.size, r.at(b, n));
  }
  return r;
}

// Root mean square normalization of each head.
Status normalize(const EvalContext& ctx, Heads& h, size_t weights) {
  const std::vector<double> w = ctx.in(weights).to_f64();
  if (static_cast<int64_t>(w.size()) != h.size)
    return invalid(format("{} weights of normalization for heads of {}", w.size(), h.size));
  const double epsilon = ctx.node().attr_float("qk_norm_epsilon", 1e-6f);
  for (size_t row = 0; row < h.v.size(); row += w.size()) {
    double sum = 0;
    for (size_t i = 0; i < w.size(); i++) sum += h.v[row + i] * h.v[row + i];
    const double by = 1 / std::sqrt(sum / static_cast<double>(w.size()) + epsilon);
    for (size_t i = 0; i < w.size(); i++) h.v[row + i] *= by * w[i];
  }
  return ok();
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
  if (ctx.has(14)) {
    TRY(normalize(ctx, q, 14));
    TRY(normalize(ctx, k, 15));
  }
  if (node.attr_int("do_rotary", 0) != 0) {
    TRY(turn(ctx, q, l));
    TRY(turn(ctx, k, l));
  }
  const bool slides = node.attr_int("sliding_window_cache", 0) != 0;
  if (slides && ctx.wants(3)) return unsupported("scores of a cache of a window");
  const int64_t kept = l.kept.empty() ? 0 : *std::max_element(l.kept.begin(), l.kept.end());
  const int64_t rows = slides ? kept + q.length : std::max(cache, l.longest);
  TRY_ASSIGN(const Cache k_cache, cache_of(ctx, 0, k.heads, k.size));
  TRY_ASSIGN(const Cache v_cache, cache_of(ctx, 1, v.heads, v.size));
  TRY_ASSIGN(k, extended(ctx, 3, k, l, rows, k_cache));
  TRY_ASSIGN(v, extended(ctx, 4, v, l, rows, v_cache));
  const bool causal = node.attr_int("causal", 1) != 0;
  const int64_t window = node.attr_int("local_window_size", -1);
  std::optional<MaskRows> extra;
  if (ctx.has(10)) {
    const Dims& d = ctx.in(10).dims();
    const Dims full = {q.batch, q.heads, q.length, d.empty() ? 0 : d.back()};
    const auto joined = broadcast_dims(d, full);
    if (d.size() != 4 || !joined || *joined != full)
      return ctx.error(format("input 'attention_bias' has shape {}", to_string(d)));
    extra.emplace(ctx.in(10), slides ? d.back() : k.length, true);
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
  std::vector<double> absolute;  // added scores by position, where rows are not positions
  spec.bias = [&](int64_t b, int64_t h, int64_t i, std::span<double> bias) {
    const auto entry = static_cast<size_t>(b);
    const int64_t first = l.past[entry] - l.kept[entry];  // position of row 0
    if (extra && !slides) extra->add(b, h, i, bias);
    if (extra && slides) {
      absolute.assign(static_cast<size_t>(ctx.in(10).dims().back()), 0.0);
      extra->add(b, h, i, absolute);
      for (size_t j = 0; j < bias.size(); j++) {
        const size_t key = static_cast<size_t>(first) + j;
        bias[j] += key < absolute.size() ? absolute[key] : -INFINITY;
      }
    }
    const int64_t at = l.past[entry] + i, total = l.total[entry];
    for (size_t j = 0; j < bias.size(); j++) {
      const int64_t key = first + static_cast<int64_t>(j);
      const bool shown = key < total && (!causal || key <= at) && (window < 0 || key > at - window);
      if (!shown) bias[j] = -INFINITY;
    }
  };
  TRY_ASSIGN(AttentionResult r, attend(ctx, q, k, v, spec));
  const DType type = ctx.in(0).dtype();
  if (slides) {
    TRY_ASSIGN(k, newest(ctx, k, l, cache));
    TRY_ASSIGN(v, newest(ctx, v, l, cache));
  }
  if (ctx.wants(1)) TRY(set_cache(ctx, 1, k, k_cache));
  if (ctx.wants(2)) TRY(set_cache(ctx, 2, v, v_cache));
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
