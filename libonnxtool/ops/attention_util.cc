// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/attention_util.h"

#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

bool all_masked(std::span<const double> bias) {
  return std::all_of(bias.begin(), bias.end(), [](double v) { return v == -INFINITY; });
}

}  // namespace

void softmax_row(std::span<double> row, const double* sink, bool round) {
  const auto rounded = [round](double v) { return round ? as_bfloat16(v) : v; };
  double top = sink != nullptr ? *sink : -INFINITY;
  for (double v : row) top = std::isnan(v) ? v : std::max(top, v);
  double sum = sink != nullptr ? rounded(std::exp(*sink - top)) : 0;
  for (double& v : row) {
    v = rounded(std::exp(rounded(v - top)));
    sum = rounded(sum + v);
  }
  for (double& v : row) v = rounded(v / sum);
}

void rotate(std::span<double> head, std::span<const double> cos, std::span<const double> sin,
            bool interleaved) {
  const size_t half = cos.size();
  for (size_t k = 0; k < half; k++) {
    double& a = head[interleaved ? 2 * k : k];
    double& b = head[interleaved ? 2 * k + 1 : k + half];
    const double re = cos[k] * a - sin[k] * b;
    b = sin[k] * a + cos[k] * b;
    a = re;
  }
}

Result<Heads> make_heads(const EvalContext& ctx, int64_t batch, int64_t heads, int64_t length,
                         int64_t size) {
  Heads h{batch, heads, length, size, {}};
  TRY(reserve_work(ctx, {batch, heads}));  // what loops run over may hold nothing
  TRY_ASSIGN(h.v, scratch(ctx, {batch, heads, length, size}));
  return h;
}

Result<Heads> load_heads(const EvalContext& ctx, const Tensor& t, int64_t heads) {
  const Dims& d = t.dims();
  if (d.size() == 4) {
    TRY_ASSIGN(Heads h, make_heads(ctx, d[0], d[1], d[2], d[3]));
    load_f64(t, 0, h.v);
    return h;
  }
  if (d.size() != 3 || heads < 1 || d[2] % heads != 0)
    return invalid(format("shape {} has no {} heads", to_string(d), heads));
  TRY_ASSIGN(Heads h, make_heads(ctx, d[0], heads, d[1], d[2] / heads));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < heads; n++)
      for (int64_t l = 0; l < h.length; l++)
        load_f64(t, ((b * h.length + l) * heads + n) * h.size,
                 std::span(h.at(b, n) + l * h.size, static_cast<size_t>(h.size)));
  return h;
}

Result<Heads> append_heads(const EvalContext& ctx, const Heads& past, const Heads& now) {
  if (past.batch != now.batch || past.heads != now.heads || past.size != now.size)
    return invalid(format("past state has shape {}, the new one {}", to_string(past.dims()),
                          to_string(now.dims())));
  TRY_ASSIGN(Heads h, make_heads(ctx, now.batch, now.heads, past.length + now.length, now.size));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++) {
      std::copy_n(past.at(b, n), past.part(), h.at(b, n));
      std::copy_n(now.at(b, n), now.part(), h.at(b, n) + past.part());
    }
  return h;
}

Status set_heads(EvalContext& ctx, size_t i, DType type, const Heads& h, bool packed) {
  if (!packed) return ctx.set_f64(i, type, h.dims(), h.v);
  TRY_ASSIGN(Tensor t, ctx.allocate(type, {h.batch, h.length, h.heads * h.size}));
  for (int64_t b = 0; b < h.batch; b++)
    for (int64_t n = 0; n < h.heads; n++)
      for (int64_t l = 0; l < h.length; l++)
        store_f64(t, ((b * h.length + l) * h.heads + n) * h.size,
                  std::span(h.at(b, n) + l * h.size, static_cast<size_t>(h.size)));
  ctx.set(i, std::move(t));
  return ok();
}

Result<AttentionResult> attend(const EvalContext& ctx, const Heads& q, const Heads& k,
                               const Heads& v, const AttentionForm& spec) {
  if (k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.length != v.length ||
      k.size != q.size || k.heads < 1 || q.heads % k.heads != 0)
    return invalid(format("query {}, key {} and value {} do not agree", to_string(q.dims()),
                          to_string(k.dims()), to_string(v.dims())));
  AttentionResult r;
  TRY_ASSIGN(r.y, make_heads(ctx, q.batch, q.heads, q.length, v.size));
  const int64_t keys = k.length;
  const bool keep = spec.stage != ScoreStage::kNone;
  TRY_ASSIGN(r.scores, make_heads(ctx, q.batch, q.heads, keep ? q.length : 0, keys));
  TRY_ASSIGN(auto scores, scratch(ctx, {q.length, keys}));
  TRY_ASSIGN(auto bias, scratch(ctx, {keys}));
  const size_t width = static_cast<size_t>(keys);
  const auto rounded = [&](double x) { return spec.round_q ? as_bfloat16(x) : x; };
  const auto scaled = [&](const double* from, int64_t n) {
    std::vector<double> to(from, from + n);
    const double root = rounded(std::sqrt(spec.scale));
    for (double& x : to) x = rounded(x * root);
    return to;
  };
  std::vector<double> qs, ks;
  for (int64_t b = 0; b < q.batch; b++)
    for (int64_t h = 0; h < q.heads; h++) {
      const int64_t shared = h / (q.heads / k.heads);
      if (spec.round_q) {
        qs = scaled(q.at(b, h), q.part());
        ks = scaled(k.at(b, shared), k.part());
      }
      const std::vector<double> kt =
          transposed(std::span<const double>(spec.round_q ? ks.data() : k.at(b, shared),
                                             static_cast<size_t>(k.part())),
                     keys, k.size);
      std::fill(scores.begin(), scores.end(), 0.0);
      gemm(q.length, keys, q.size, spec.round_q ? qs.data() : q.at(b, h), q.size, kt.data(), keys,
           scores.data(), keys);
      for (double& x : scores) x = spec.round_q ? rounded(x) : x * spec.scale;
      const auto record = [&](ScoreStage stage, int64_t i, std::span<const double> row) {
        if (spec.stage == stage) std::copy(row.begin(), row.end(), r.scores.at(b, h) + i * keys);
      };
      for (int64_t i = 0; i < q.length; i++) {
        const std::span<double> row(scores.data() + i * keys, width);
        record(ScoreStage::kRaw, i, row);
        if (spec.softcap > 0)
          for (double& x : row)
            x = rounded(spec.softcap * rounded(std::tanh(rounded(x / spec.softcap))));
        record(ScoreStage::kCapped, i, row);
        std::fill(bias.begin(), bias.end(), 0.0);
        if (spec.bias) spec.bias(b, h, i, bias);
        for (size_t j = 0; j < width; j++) row[j] = rounded(row[j] + rounded(bias[j]));
        record(ScoreStage::kBiased, i, row);
        if (all_masked(bias))
          std::fill(row.begin(), row.end(), 0.0);
        else
          softmax_row(row, spec.sinks.empty() ? nullptr : &spec.sinks[static_cast<size_t>(h)],
                      spec.round_softmax);
        for (double& x : row) x = rounded(x);
        record(ScoreStage::kProbabilities, i, row);
      }
      gemm(q.length, v.size, keys, scores.data(), keys, v.at(b, shared), v.size, r.y.at(b, h),
           v.size);
    }
  return r;
}

MaskRows::MaskRows(const Tensor& mask, int64_t keys, bool pad) : mask_(mask) {
  const Dims& d = mask.dims();
  const std::vector<int64_t> strides = row_major_strides(d);
  length_ = d.empty() ? 1 : d.back();
  repeat_ = length_ == 1 && keys > 1 && !pad;
  for (size_t k = 0; k < 3; k++) {
    const size_t from_end = 4 - k;  // batch is the fourth dim from the end
    if (d.size() >= from_end && d[d.size() - from_end] != 1)
      strides_[k] = strides[d.size() - from_end];
  }
}

void MaskRows::add(int64_t b, int64_t h, int64_t i, std::span<double> bias) const {
  const int64_t at = b * strides_[0] + h * strides_[1] + i * strides_[2];
  const int64_t keys = static_cast<int64_t>(bias.size());
  for (int64_t j = 0; j < keys; j++) {
    double& to = bias[static_cast<size_t>(j)];
    if (j >= length_ && !repeat_) {
      to = -INFINITY;
      continue;
    }
    const double m = mask_.f64_at(at + (repeat_ ? 0 : j));
    to += mask_.dtype() != DType::kBool ? m : m != 0 ? 0 : -INFINITY;
  }
}

}  // namespace onnxtool
