// SPDX-License-Identifier: Apache-2.0
// Blocked attention with online softmax (attention.h): a block of queries meets the keys block by
// block; both products run on the GEMM micro-kernel over packed blocks that stay in L2. A few
// queries (decoding) take a path that reads each key and value once and packs nothing.
#include "exec/cpu/simd/attention.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/attention.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/cpu/simd/gemm-inl.h"
#include "exec/cpu/simd/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kQueries = 132;  // at most; a multiple of every kMr
constexpr int64_t kKeys = 256;     // per block; a multiple of every kNr
constexpr int64_t kFew = 3;        // so many queries take the unpacked path
constexpr float kMinus = -std::numeric_limits<float>::infinity();

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Queries per item: even blocks, whole register tiles.
int64_t query_block(const Attention& p) {
  if (p.q_len <= kFew) return std::max<int64_t>(p.q_len, 1);
  const int64_t blocks = (p.q_len + kQueries - 1) / kQueries;
  return round_up((p.q_len + blocks - 1) / blocks, kMr);
}

// Buffers of one thread, in floats.
struct Layout {
  int64_t queries, v_width, k, v, s, o, m, l, total;
  explicit Layout(const Attention& p) {
    queries = query_block(p);
    v_width = round_up(p.v_dim, kNr);
    k = 0;
    v = k + round_up(p.head_dim * kKeys, 16);
    s = v + round_up(v_width * kKeys, 16);
    o = s + round_up(queries * kKeys, 16);
    m = o + round_up(queries * v_width, 16);
    l = m + round_up(queries, 16);
    total = l + round_up(queries, 16);
  }
};

int64_t items(const Attention& p) {
  const int64_t block = query_block(p);
  return p.batch * p.heads * ((p.q_len + block - 1) / block);
}
int64_t scratch_bytes(const Attention& p) { return Layout(p).total * 4; }

// The mask of one query for the keys from `key` on.
struct MaskRow {
  MaskType type;
  const void* row;  // of key 0
  int64_t step;     // 0 or 1
};

// s[0..n) = softcap(s * scale) + mask, the first `hidden` of them gone; returns the maximum.
HWY_INLINE float finish_scores(const Attention& p, const MaskRow& mask, int64_t key, float* s,
                               int64_t hidden, int64_t n) {
  const DF d;
  const hn::Rebind<uint8_t, DF> d8;
  const VF scale = hn::Set(d, p.scale), low = hn::Set(d, kMinus);
  const float* add = static_cast<const float*>(mask.row);
  const uint8_t* keep = static_cast<const uint8_t*>(mask.row);
  VF max = low;
  for (int64_t j = 0; j < n; j += kLanes) {
    const size_t rest = static_cast<size_t>(n - j);
    VF v = hn::Mul(hn::Load(d, s + j), scale);
    if (p.softcap > 0) {
      const VF cap = hn::Set(d, p.softcap);
      v = hn::Mul(tanh_v(d, hn::Div(v, cap)), cap);
    }
    if (mask.type == MaskType::kAdd) {
      v = hn::Add(v, mask.step == 0 ? hn::Set(d, *add) : load_n(d, add + key + j, rest));
    } else if (mask.type == MaskType::kBool) {
      auto bytes = hn::Set(d8, mask.step == 0 ? *keep : uint8_t{0});
      if (mask.step != 0) {
        alignas(64) uint8_t buf[HWY_MAX_BYTES] = {};
        std::memcpy(buf, keep + key + j, std::min<size_t>(rest, static_cast<size_t>(kLanes)));
        bytes = hn::Load(d8, buf);
      }
      const DI di;
      const auto gone = hn::Eq(hn::PromoteTo(di, bytes), hn::Zero(di));
      v = hn::IfThenElse(hn::RebindMask(d, gone), low, v);
    }
    if (j < hidden) v = hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(hidden - j)), low, v);
    if (rest < static_cast<size_t>(kLanes)) v = hn::IfThenElse(hn::FirstN(d, rest), v, low);
    hn::Store(v, d, s + j);
    max = max_nan(d, max, v);
  }
  if (HWY_UNLIKELY(!hn::AllFalse(d, hn::IsNaN(max))))
    return std::numeric_limits<float>::quiet_NaN();
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// One block of scores enters the running softmax of a row: s becomes exp(s - max), zero from n to
// width; m, l and the output row o (v_dim) are rescaled.
HWY_INLINE void absorb(float* s, int64_t n, int64_t width, float block_max, float* m, float* l,
                       float* o, int64_t v_dim) {
  const DF d;
  const float before = *m, now = block_max > before || std::isnan(block_max) ? block_max : before;
  if (now == kMinus) {
    for (int64_t j = 0; j < width; ++j) s[j] = 0;
    return;
  }
  const VF vm = hn::Set(d, now);
  VF sum = hn::Zero(d);
  int64_t j = 0;
  for (; j < n; j += kLanes) {  // lanes beyond n hold -inf
    const VF e = exp_neg(d, hn::Sub(hn::Load(d, s + j), vm));
    hn::Store(e, d, s + j);
    sum = hn::Add(sum, e);
  }
  for (; j < width; ++j) s[j] = 0;
  *m = now;
  if (now != before) {
    const float shrink = before == kMinus ? 0.0f : std::exp(before - now);
    const VF f = hn::Set(d, shrink);
    *l *= shrink;
    if (before != kMinus)
      for (int64_t i = 0; i < v_dim; i += kLanes)
        hn::Store(hn::Mul(hn::Load(d, o + i), f), d, o + i);
  }
  *l += hsum(sum);
}

struct Item {
  int64_t batch, head, q0, queries;
};
Item item_at(const Attention& p, int64_t item) {
  const int64_t block = query_block(p), blocks = (p.q_len + block - 1) / block;
  Item t;
  t.q0 = item % blocks * block;
  t.queries = std::min(block, p.q_len - t.q0);
  t.head = item / blocks % p.heads;
  t.batch = item / blocks / p.heads;
  return t;
}

// Keys of a block, `first` being its first key over all segments, that query q may see.
int64_t visible(const Attention& p, int64_t q, int64_t first, int64_t n) {
  return p.causal ? std::clamp<int64_t>(q + p.causal_offset + 1 - first, 0, n) : n;
}

// Scores of a few queries against n keys, D along the vector, four keys at a time.
void few_scores(const float* q, int64_t q_seq, int64_t queries, const float* k, int64_t k_seq,
                int64_t dim, int64_t n, float* s) {
  const DF d;
  for (int64_t j = 0; j < n; j += 4) {
    const int64_t count = std::min<int64_t>(4, n - j);
    const float* row[4];
    for (int64_t i = 0; i < 4; ++i) row[i] = k + (j + std::min(i, count - 1)) * k_seq;
    for (int64_t r = 0; r < queries; ++r) {
      const float* x = q + r * q_seq;
      VF a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
      for (int64_t i = 0; i < dim; i += kLanes) {
        const size_t rest = static_cast<size_t>(dim - i);
        const VF v = load_n(d, x + i, rest);
        a0 = hn::MulAdd(v, load_n(d, row[0] + i, rest), a0);
        a1 = hn::MulAdd(v, load_n(d, row[1] + i, rest), a1);
        a2 = hn::MulAdd(v, load_n(d, row[2] + i, rest), a2);
        a3 = hn::MulAdd(v, load_n(d, row[3] + i, rest), a3);
      }
      const float sums[4] = {hsum(a0), hsum(a1), hsum(a2), hsum(a3)};
      for (int64_t i = 0; i < count; ++i) s[r * kKeys + j + i] = sums[i];
    }
  }
}

// o[0..dim) += sum_j s[j] * v[j], dim along the vector; o has room for whole vectors.
void few_values(const float* s, const float* v, int64_t v_seq, int64_t dim, int64_t n, float* o) {
  const DF d;
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    VF a0 = hn::Load(d, o + i), a1 = hn::Load(d, o + i + kLanes);
    VF a2 = hn::Load(d, o + i + 2 * kLanes), a3 = hn::Load(d, o + i + 3 * kLanes);
    for (int64_t j = 0; j < n; ++j) {
      const VF w = hn::Set(d, s[j]);
      const float* row = v + j * v_seq + i;
      a0 = hn::MulAdd(w, hn::LoadU(d, row), a0);
      a1 = hn::MulAdd(w, hn::LoadU(d, row + kLanes), a1);
      a2 = hn::MulAdd(w, hn::LoadU(d, row + 2 * kLanes), a2);
      a3 = hn::MulAdd(w, hn::LoadU(d, row + 3 * kLanes), a3);
    }
    hn::Store(a0, d, o + i);
    hn::Store(a1, d, o + i + kLanes);
    hn::Store(a2, d, o + i + 2 * kLanes);
    hn::Store(a3, d, o + i + 3 * kLanes);
  }
  for (; i < dim; i += kLanes) {
    VF a = hn::Load(d, o + i);
    const size_t rest = static_cast<size_t>(dim - i);
    for (int64_t j = 0; j < n; ++j)
      a = hn::MulAdd(hn::Set(d, s[j]), load_n(d, v + j * v_seq + i, rest), a);
    hn::Store(a, d, o + i);
  }
}

void one_item(const Attention& p, const Layout& at, const Item& t, float* scratch) {
  const DF d;
  const int64_t kv_head = t.head / (p.heads / p.kv_heads), dim = p.head_dim;
  const float* q = p.q + t.batch * p.q_batch + t.head * p.q_head + t.q0 * p.q_seq;
  float *s = scratch + at.s, *o = scratch + at.o, *m = scratch + at.m, *l = scratch + at.l;
  float *k_pack = scratch + at.k, *v_pack = scratch + at.v;
  for (int64_t i = 0; i < t.queries * at.v_width; i += kLanes) hn::Store(hn::Zero(d), d, o + i);
  for (int64_t r = 0; r < t.queries; ++r) {
    m[r] = p.sinks != nullptr ? p.sinks[t.head] : kMinus;
    l[r] = p.sinks != nullptr ? 1.0f : 0.0f;
  }
  const bool few = p.q_len <= kFew;
  int64_t first = 0;  // keys before the segment
  for (const KvSegment& kv : p.kv) {
    if (kv.len == 0) continue;
    const float* k = kv.k + t.batch * kv.k_batch + kv_head * kv.k_head;
    const float* v = kv.v + t.batch * kv.v_batch + kv_head * kv.v_head;
    for (int64_t j0 = 0; j0 < kv.len; j0 += kKeys) {
      int64_t n = std::min(kKeys, kv.len - j0);
      const int64_t key = first + j0;
      n = visible(p, t.q0 + t.queries - 1, key, n);  // what the last query sees, all may see
      if (n == 0) break;
      if (p.window > 0 && t.q0 + p.causal_offset + 1 - p.window >= key + n) continue;
      if (few) {
        few_scores(q, p.q_seq, t.queries, k + j0 * kv.k_seq, kv.k_seq, dim, n, s);
      } else {
        for (int64_t c = 0; c < n; c += kNr) {
          const int64_t cols = std::min<int64_t>(kNr, n - c), whole = round_up(cols, kLanes);
          pack_panel(k + j0 * kv.k_seq, kv.k_seq, true, 0, dim, c, cols, k_pack);
          panel_rows(q, p.q_seq, k_pack, s, kKeys, dim, true, false, 0, t.queries, c, whole, {},
                     nullptr, nullptr, 0);
        }
      }
      for (int64_t r = 0; r < t.queries; ++r) {
        const int64_t query = t.q0 + r, seen = visible(p, query, key, n);
        float* row = s + r * kKeys;
        const int64_t mask_at = t.batch * p.m_batch + t.head * p.m_head + query * p.m_query;
        MaskRow mask = {p.mask_type, nullptr, p.m_key};
        if (p.mask_type == MaskType::kAdd) mask.row = static_cast<const float*>(p.mask) + mask_at;
        if (p.mask_type == MaskType::kBool)
          mask.row = static_cast<const uint8_t*>(p.mask) + mask_at;
        const int64_t from = query + p.causal_offset + 1 - p.window - key;
        const int64_t hidden = p.window > 0 ? std::clamp<int64_t>(from, 0, seen) : 0;
        const float max = finish_scores(p, mask, key, row, hidden, seen);
        absorb(row, seen, n, max, m + r, l + r, o + r * at.v_width, p.v_dim);
      }
      if (few) {
        for (int64_t r = 0; r < t.queries; ++r)
          few_values(s + r * kKeys, v + j0 * kv.v_seq, kv.v_seq, p.v_dim, n, o + r * at.v_width);
        continue;
      }
      for (int64_t c = 0; c < p.v_dim; c += kNr) {
        const int64_t cols = std::min<int64_t>(kNr, p.v_dim - c);
        pack_panel(v + j0 * kv.v_seq, kv.v_seq, false, 0, n, c, cols, v_pack);
        panel_rows(s, kKeys, v_pack, o, at.v_width, n, false, false, 0, t.queries, c, cols, {},
                   nullptr, nullptr, 0);
      }
    }
    first += kv.len;
  }
  float* out = p.out + t.batch * p.o_batch + t.head * p.o_head + t.q0 * p.o_seq;
  for (int64_t r = 0; r < t.queries; ++r) {
    const VF f = hn::Set(d, l[r] == 0 ? p.no_key : 1.0f / l[r]);
    for (int64_t i = 0; i < p.v_dim; i += kLanes)
      store_n(hn::Mul(hn::Load(d, o + r * at.v_width + i), f), d, out + r * p.o_seq + i,
              static_cast<size_t>(p.v_dim - i));
  }
}

void attention(const Attention& p, int64_t begin, int64_t end, float* scratch) {
  const Layout layout(p);
  for (int64_t i = begin; i < end; ++i) one_item(p, layout, item_at(p, i), scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(items);
HWY_EXPORT(scratch_bytes);
HWY_EXPORT(attention);

int64_t attention_items(const Attention& p) { return HWY_DYNAMIC_DISPATCH(items)(p); }
int64_t attention_scratch_bytes(const Attention& p) {
  return HWY_DYNAMIC_DISPATCH(scratch_bytes)(p);
}
void attention_f32(const Attention& p, int64_t begin, int64_t end, void* scratch) {
  HWY_DYNAMIC_DISPATCH(attention)(p, begin, end, static_cast<float*>(scratch));
}

}  // namespace onnxtool::simd
#endif
