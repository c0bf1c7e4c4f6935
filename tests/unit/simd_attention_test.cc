// SPDX-License-Identifier: Apache-2.0
// Attention against a double-precision loop: masks, causal, grouped heads, two segments, decoding.
#include "exec/cpu/simd/attention.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

struct Setup {
  int64_t batch = 1, heads = 2, kv_heads = 2, q_len = 5, past = 0, keys = 7, dim = 16, v_dim = 16;
  bool causal = false, seq_major = false;
  float softcap = 0;
  MaskType mask = MaskType::kNone;
  bool mask_per_head = false, mask_per_query = true, mask_per_key = true;
};

void check(const Setup& c) {
  Attention p;
  p.batch = c.batch;
  p.heads = c.heads;
  p.kv_heads = c.kv_heads;
  p.q_len = c.q_len;
  p.head_dim = c.dim;
  p.v_dim = c.v_dim;
  p.scale = 1 / std::sqrt(static_cast<float>(c.dim));
  p.causal = c.causal;
  p.causal_offset = c.past;
  p.softcap = c.softcap;
  // [batch, head, seq, dim], or [batch, seq, head, dim] where seq_major.
  const auto strides = [&](int64_t heads, int64_t len, int64_t dim, int64_t* b, int64_t* h,
                           int64_t* s) {
    *b = heads * len * dim;
    *h = c.seq_major ? dim : len * dim;
    *s = c.seq_major ? heads * dim : dim;
  };
  strides(c.heads, c.q_len, c.dim, &p.q_batch, &p.q_head, &p.q_seq);
  strides(c.heads, c.q_len, c.v_dim, &p.o_batch, &p.o_head, &p.o_seq);
  const std::vector<float> q = Random(1).floats(c.batch * p.q_batch, -3, 3);
  std::vector<float> out(c.batch * p.o_batch, 9.0f), again = out;
  p.q = q.data();
  std::vector<float> k[2], v[2];
  const int64_t len[] = {c.past, c.keys};
  for (int i = 0; i < 2; ++i) {
    KvSegment& s = p.kv[i];
    s.len = len[i];
    strides(c.kv_heads, len[i], c.dim, &s.k_batch, &s.k_head, &s.k_seq);
    strides(c.kv_heads, len[i], c.v_dim, &s.v_batch, &s.v_head, &s.v_seq);
    k[i] = Random(2 + i).floats(c.batch * s.k_batch, -3, 3);
    v[i] = Random(4 + i).floats(c.batch * s.v_batch);
    s.k = k[i].data();
    s.v = v[i].data();
  }
  const int64_t total = c.past + c.keys;
  p.mask_type = c.mask;
  p.m_key = c.mask_per_key ? 1 : 0;
  p.m_query = c.mask_per_query ? (c.mask_per_key ? total : 1) : 0;
  p.m_head = c.mask_per_head ? total * c.q_len : 0;
  std::vector<float> add = Random(7).floats(total * c.q_len * c.heads, -2, 2);
  std::vector<uint8_t> keep(add.size());
  for (size_t i = 0; i < add.size(); ++i) {
    keep[i] = i % 3 != 0;
    if (i % 5 == 0) add[i] = -kInf;
  }
  // One query loses every key.
  if (c.mask_per_query && c.mask_per_key && c.q_len > 1)
    for (int64_t j = 0; j < total; ++j) add[total + j] = -kInf, keep[total + j] = 0;
  if (c.mask == MaskType::kAdd) p.mask = add.data();
  if (c.mask == MaskType::kBool) p.mask = keep.data();

  const int64_t items = attention_items(p);
  std::vector<float> scratch(attention_scratch_bytes(p) / 4 + 16);
  float* aligned =
      scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) / 4 % 16;
  p.out = out.data();
  attention_f32(p, 0, items, aligned);
  p.out = again.data();
  for (int64_t i = items; i-- > 0;) attention_f32(p, i, i + 1, aligned);
  REQUIRE((out == again));

  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t i = 0; i < c.q_len; ++i) {
        const int64_t g = h / (c.heads / c.kv_heads);
        std::vector<double> s(total);
        const auto segment = [&](int64_t j) { return j < c.past ? 0 : 1; };
        double max = -kInf, sum = 0;
        for (int64_t j = 0; j < total; ++j) {
          const KvSegment& kv = p.kv[segment(j)];
          const int64_t at = segment(j) == 0 ? j : j - c.past;
          double dot = 0;
          for (int64_t e = 0; e < c.dim; ++e)
            dot += static_cast<double>(q[b * p.q_batch + h * p.q_head + i * p.q_seq + e]) *
                   kv.k[b * kv.k_batch + g * kv.k_head + at * kv.k_seq + e];
          s[j] = dot * p.scale;
          if (c.softcap > 0) s[j] = c.softcap * std::tanh(s[j] / c.softcap);
          const int64_t m = h * p.m_head + i * p.m_query + j * p.m_key;
          if (c.mask == MaskType::kAdd) s[j] += add[m];
          if (c.mask == MaskType::kBool && keep[m] == 0) s[j] = -kInf;
          if (c.causal && j > i + c.past) s[j] = -kInf;
          max = std::fmax(max, s[j]);
        }
        for (double& x : s) sum += x = max == -kInf ? 0 : std::exp(x - max);
        for (int64_t e = 0; e < c.v_dim; ++e) {
          double want = 0;
          for (int64_t j = 0; j < total; ++j) {
            const KvSegment& kv = p.kv[segment(j)];
            const int64_t at = segment(j) == 0 ? j : j - c.past;
            want += s[j] * kv.v[b * kv.v_batch + g * kv.v_head + at * kv.v_seq + e];
          }
          if (sum > 0) want /= sum;
          const float got = out[b * p.o_batch + h * p.o_head + i * p.o_seq + e];
          INFO(target_name() << " q " << c.q_len << " keys " << c.past << "+" << c.keys << " dim "
                             << c.dim << " at " << h << "," << i << "," << e);
          REQUIRE(std::fabs(got - want) <= 4e-6);
        }
      }
}

}  // namespace

TEST_CASE("attention: shapes and layouts") {
  each_target([&](double) {
    for (int64_t q_len : {1, 2, 3, 4, 7, 50, 130})
      for (int64_t keys : {1, 7, 64, 129, 300})
        for (bool seq_major : {false, true}) {
          Setup c;
          c.q_len = q_len;
          c.keys = keys;
          c.seq_major = seq_major;
          c.dim = seq_major ? 20 : 64;
          c.v_dim = seq_major ? 70 : 64;
          c.batch = q_len < 10 ? 2 : 1;
          check(c);
        }
  });
}

TEST_CASE("attention: masks, causal, softcap, grouped heads, two segments") {
  each_target([&](double) {
    for (int64_t q_len : {1, 3, 40}) {
      Setup c;
      c.q_len = q_len;
      c.keys = q_len;
      c.heads = 4;
      c.kv_heads = 2;
      for (int64_t past : {0, 5, 140}) {
        c.past = past;
        c.causal = true;
        check(c);
        c.causal = false;
        for (MaskType type : {MaskType::kAdd, MaskType::kBool})
          for (int form = 0; form < 4; ++form) {
            c.mask = type;
            c.mask_per_head = form == 1;
            c.mask_per_query = form != 2;
            c.mask_per_key = form != 3;
            check(c);
          }
        c.causal = true;
        c.softcap = 5;
        c.mask_per_key = c.mask_per_query = true;
        check(c);
        c.mask = MaskType::kNone;
        c.softcap = 0;
      }
    }
  });
}

TEST_CASE("attention: NaN spreads to its query only") {
  each_target([&](double) {
    for (int64_t q_len : {2, 8}) {
      const int64_t keys = 5, dim = 16;
      std::vector<float> q = Random(1).floats(q_len * dim), k = Random(2).floats(keys * dim),
                         v = Random(3).floats(keys * dim), out(q_len * dim);
      q[dim] = kNan;
      Attention p;
      p.q_len = q_len;
      p.head_dim = p.v_dim = dim;
      p.q = q.data();
      p.q_seq = p.o_seq = dim;
      p.kv[0].k = k.data();
      p.kv[0].v = v.data();
      p.kv[0].len = keys;
      p.kv[0].k_seq = p.kv[0].v_seq = dim;
      p.out = out.data();
      std::vector<float> scratch(attention_scratch_bytes(p) / 4 + 16);
      float* s = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) / 4 % 16;
      attention_f32(p, 0, attention_items(p), s);
      CHECK(std::isnan(out[dim]));
      CHECK(std::isfinite(out[0]));
    }
  });
}
