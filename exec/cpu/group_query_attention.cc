// SPDX-License-Identifier: Apache-2.0
// com.microsoft GroupQueryAttention in fp32: the cache is copied with the new rows behind it, then
// each entry of the batch attends to its own number of keys. Its reference (ops/) has the rules.
#include <cmath>
#include <cstring>
#include <limits>

#include "exec/cpu/rotary.h"
#include "exec/cpu/simd/attention.h"
#include "exec/cpu/util.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

// Inputs of the operator.
enum In : size_t {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kSeqLens,
  kTotal,
  kCos,
  kSin,
  kPositions,
  kBias,
  kSink,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm
};

struct Form {
  int64_t batch = 0, len = 0, heads = 0, kv_heads = 0, head = 0;
  int64_t past = 0, rows = 0;   // of the caches, given and made
  int64_t half = 0, table = 0;  // rotary: pairs turned, rows of the tables
  int64_t bias_batch = 0, bias_head = 0, window = -1;
  bool packed = false, rotary = false, interleaved = false, positions = false, causal = true;
  bool bias = false, sinks = false, smooth = false, norm = false, has_past = false;
  float epsilon = 0, scale = 0, softcap = 0;

  int64_t q_row() const { return (packed ? heads + 2 * kv_heads : heads) * head; }
  int64_t kv_row() const { return packed ? q_row() : kv_heads * head; }
  bool changes_q() const { return rotary || norm; }
};

const char* form_of(const StepInfo& s, Form* f) {
  if (!s.post.empty() || !all_plain(s) || s.out.size() < 3 || !s.out[1].present() ||
      !s.out[2].present() || (s.out.size() > 3 && s.out[3].present()))
    return "its outputs";
  if (s.has(kKeyScale) || s.attr_str("k_quant_type", "NONE") != "NONE" ||
      s.attr_int("sliding_window_cache", 0) != 0)
    return "a quantized cache or one of a window";
  for (size_t i :
       {kQuery, kKey, kValue, kPastKey, kPastValue, kCos, kSin, kBias, kSink, kQueryNorm, kKeyNorm})
    if (s.has(i) && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0]) || s.in[0].rank() != 3 || !s.has(kSeqLens) || !s.has(kTotal) ||
      s.in[kSeqLens].dtype != DType::kInt32 || s.in[kTotal].dtype != DType::kInt32)
    return "types";
  f->heads = s.attr_int("num_heads", 0), f->kv_heads = s.attr_int("kv_num_heads", 0);
  f->packed = !s.has(kKey);
  const Dims &x = s.in[0].dims, &cache = s.out[1].dims;
  f->batch = x[0], f->len = x[1];
  f->head = cache[3], f->rows = cache[2];
  if (f->heads < 1 || f->kv_heads < 1 || f->head < 1 || x[2] != f->q_row() ||
      s.out[2].dims != cache || s.in[kSeqLens].size() != f->batch || s.in[kTotal].size() != 1)
    return "shapes";
  f->has_past = s.has(kPastKey);
  if (f->has_past) f->past = s.in[kPastKey].dims[2];
  f->rotary = s.attr_int("do_rotary", 0) != 0;
  if (f->rotary) {
    if (s.in[kCos].rank() != 2 || s.in[kCos].dims != s.in[kSin].dims) return "the tables";
    f->table = s.in[kCos].dims[0], f->half = s.in[kCos].dims[1];
    if (2 * f->half > f->head) return "the tables";
    f->positions = s.has(kPositions);
    if (f->positions &&
        (s.in[kPositions].dtype != DType::kInt64 || s.in[kPositions].size() != f->batch * f->len))
      return "the positions";
  }
  f->interleaved = s.attr_int("rotary_interleaved", 0) != 0;
  f->bias = s.has(kBias);
  if (f->bias) {
    const Dims& d = s.in[kBias].dims;
    if (d.size() != 4 || d[2] != f->len || d[3] != f->rows) return "the shape of what is added";
    f->bias_head = d[1] == 1 ? 0 : d[2] * d[3];
    f->bias_batch = d[0] == 1 ? 0 : d[1] * d[2] * d[3];
  }
  f->sinks = s.has(kSink);
  if (f->sinks && s.in[kSink].size() != f->heads) return "the sinks";
  f->smooth = s.attr_int("smooth_softmax", 0) > 0;
  f->norm = s.has(kQueryNorm);
  if (f->norm && (s.in[kQueryNorm].size() != f->head || s.in[kKeyNorm].size() != f->head))
    return "weights of the normalization";
  f->epsilon = s.attr_float("qk_norm_epsilon", 1e-6f);
  f->window = s.attr_int("local_window_size", -1);
  if (f->window == 0) return "an empty window";
  f->causal = s.attr_int("causal", 1) != 0;
  f->scale = s.attr_float("scale", 0);
  if (f->scale == 0) f->scale = static_cast<float>(1 / std::sqrt(static_cast<double>(f->head)));
  f->softcap = s.attr_float("softcap", 0);
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Form f;
  return form_of(s, &f);
}

// Root mean square normalization of one head.
void normalize(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const auto by = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(n) + epsilon));
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * by * weight[i];
}

class Run {
 public:
  Run(const Form& f, const RunArgs& a, int64_t* lengths)
      : f_(f), a_(a), total_(lengths), past_(lengths + f.batch) {}

  Status read_lengths() {
    const int64_t longest = in<int32_t>(a_, kTotal)[0];
    if (!f_.has_past && longest != f_.len)
      return invalid(format("no past state for a length of {} of {} in all", f_.len, longest));
    if (longest > f_.rows)
      return invalid(
          format("input 'total_sequence_length' is {}, the cache holds {} rows", longest, f_.rows));
    for (int64_t b = 0; b < f_.batch; ++b) {
      total_[b] = int64_t{in<int32_t>(a_, kSeqLens)[b]} + 1;
      past_[b] = longest == f_.len ? 0 : total_[b] - f_.len;  // the whole prompt: nothing before
      if (total_[b] < 1 || total_[b] > longest || past_[b] < 0 || past_[b] > f_.past)
        return invalid(format("input 'seqlens_k' has the value {}, length is {} of {} in all",
                              total_[b] - 1, f_.len, longest));
    }
    if (!f_.rotary) return ok();
    for (int64_t i = 0; i < f_.batch * f_.len; ++i)
      if (const int64_t row = position(i); row < 0 || row >= f_.table)
        return invalid(format("position {} is outside of the tables of {} rows", row, f_.table));
    return ok();
  }

  // Caches of one head of one entry.
  void extend(int64_t b, int64_t h) const {
    const int64_t head = f_.head, size = f_.rows * head, at = (b * f_.kv_heads + h) * size;
    const int64_t kept = past_[b], fresh = std::min(f_.len, f_.rows - kept);
    for (size_t side : {size_t{0}, size_t{1}}) {
      float* to = out<float>(a_, 1 + side) + at;
      if (kept > 0)
        std::copy_n(in<float>(a_, kPastKey + side) + (b * f_.kv_heads + h) * f_.past * head,
                    kept * head, to);
      const int64_t first = f_.packed ? f_.heads + (side == 0 ? 0 : f_.kv_heads) : 0;
      const float* from = in<float>(a_, f_.packed ? kQuery : kKey + side) + (first + h) * head;
      for (int64_t i = 0; i < fresh; ++i) {
        const int64_t row = b * f_.len + i;
        float* y = to + (kept + i) * head;
        if (side == 0)
          turn(row, from + row * f_.kv_row(), kKeyNorm, y);
        else
          std::copy_n(from + row * f_.kv_row(), head, y);
      }
      std::fill(to + (kept + fresh) * head, to + size, 0.0f);
    }
  }
  // All heads of one row of the query.
  void turn_query(int64_t row, float* to) const {
    for (int64_t h = 0; h < f_.heads; ++h)
      turn(row, in<float>(a_, kQuery) + row * f_.q_row() + h * f_.head, kQueryNorm,
           to + (row * f_.heads + h) * f_.head);
  }
  void entry(simd::Attention& p, int64_t b, const float* turned) const {
    const int64_t cache = f_.kv_heads * f_.rows * f_.head, width = f_.heads * f_.head;
    p.q_seq = turned ? width : f_.q_row();
    p.q = (turned ? turned : in<float>(a_, kQuery)) + b * f_.len * p.q_seq;
    p.kv[0].k = out<float>(a_, 1) + b * cache;
    p.kv[0].v = out<float>(a_, 2) + b * cache;
    p.kv[0].len = total_[b];
    p.out = out<float>(a_) + b * f_.len * width;
    p.causal_offset = past_[b];
    if (f_.sinks) p.sinks = in<float>(a_, kSink);
    if (f_.bias) p.mask = in<float>(a_, kBias) + b * f_.bias_batch;
  }

 private:
  int64_t position(int64_t row) const {
    if (f_.positions) return in<int64_t>(a_, kPositions)[row];
    return past_[row / f_.len] + row % f_.len;
  }
  void turn(int64_t row, const float* x, size_t weight, float* y) const {
    if (f_.norm) {
      normalize(x, in<float>(a_, weight), f_.epsilon, f_.head, y);
      x = y;
    }
    const int64_t at = f_.rotary ? position(row) * f_.half : 0;
    if (f_.rotary)
      rotate_head(x, y, in<float>(a_, kCos) + at, in<float>(a_, kSin) + at, f_.half, f_.head,
                  f_.interleaved);
    else if (x != y)
      std::copy_n(x, f_.head, y);
  }

  const Form& f_;
  const RunArgs& a_;
  int64_t *total_, *past_;
};

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  Form f;
  if (const char* why = form_of(s, &f)) return unsupported(why);
  simd::Attention p;  // of one entry of the batch
  p.heads = f.heads, p.kv_heads = f.kv_heads;
  p.q_len = f.len, p.head_dim = p.v_dim = f.head;
  p.q_head = f.head;
  p.kv[0].len = f.rows;
  p.kv[0].k_head = p.kv[0].v_head = f.rows * f.head;
  p.kv[0].k_seq = p.kv[0].v_seq = f.head;
  p.o_head = f.head, p.o_seq = f.heads * f.head;
  p.scale = f.scale, p.softcap = f.softcap;
  p.causal = f.causal, p.window = std::max<int64_t>(f.window, 0);
  if (f.bias) {
    p.mask_type = simd::MaskType::kAdd;
    p.m_head = f.bias_head, p.m_query = f.rows;
  }
  const auto rounded = [](int64_t n) { return (n + 63) / 64 * 64; };
  const int64_t items = simd::attention_items(p), each = rounded(simd::attention_scratch_bytes(p)),
                q_at = rounded(2 * f.batch * static_cast<int64_t>(sizeof(int64_t))),
                one_at = q_at + (f.changes_q() ? rounded(f.batch * f.len * p.o_seq * 4) : 0);
  const double flops = 4.0 * static_cast<double>(f.len * f.rows * f.head * f.heads);
  const int64_t grain = grain_for(flops / 60 / static_cast<double>(std::max<int64_t>(items, 1))),
                cache_grain = grain_for(0.3 * static_cast<double>(f.rows * f.head)),
                q_grain = grain_for(0.7 * static_cast<double>(p.o_seq));
  std::vector<float> zeros(f.smooth && !f.sinks ? static_cast<size_t>(f.heads) : 0);
  auto r = prepared([=, zeros = std::move(zeros)](const RunArgs& a) -> Status {
    Run run(f, a, reinterpret_cast<int64_t*>(a.scratch));
    TRY(run.read_lengths());
    parallel_for(f.batch * f.kv_heads, cache_grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run.extend(i / f.kv_heads, i % f.kv_heads);
    });
    float* turned = f.changes_q() ? reinterpret_cast<float*>(a.scratch + q_at) : nullptr;
    if (turned)
      parallel_for(f.batch * f.len, q_grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) run.turn_query(i, turned);
      });
    parallel_for(f.batch * items, grain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t b = begin / items, first = begin % items;
        const int64_t stop = std::min(items, first + end - begin);
        simd::Attention q = p;
        if (!zeros.empty()) q.sinks = zeros.data();
        run.entry(q, b, turned);
        simd::attention_f32(q, first, stop, a.scratch + one_at + parallel_index() * each);
        begin += stop - first;
      }
    });
    return ok();
  });
  r->scratch_bytes = one_at + each * ctx.threads;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(group_query_attention, {.name = "cached_attention",
                                             .ops = "com.microsoft.GroupQueryAttention",
                                             .rank = 20,
                                             .accept = cpu::accept,
                                             .prepare = cpu::prepare,
                                             .empty = true})
