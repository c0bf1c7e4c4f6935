// SPDX-License-Identifier: Apache-2.0
// The plan's attention step: softmax(scale q k^T + mask) v in one pass over keys and values. A
// block makes one query of one head; scores never reach memory. Source: Milakov and Gimelshein,
// "Online normalizer calculation for softmax" (2018).
#include "exec/cuda/warp.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kKeys = 128;  // keys a round, one a thread
constexpr int kWarps = kKeys / kWarp;
constexpr int kMostDim = 1024;  // of a head
constexpr int kPerThread = kMostDim / kKeys;

struct Attention {
  AttentionSpec spec;
  DType type = DType::kFloat, mask_type = DType::kUndefined;  // kUndefined: no mask
  int64_t mask_strides[4] = {};                               // batch, head, query, key
};

__global__ void attend(Attention a, const void* q, const void* k, const void* v, const void* mask,
                       void* out) {
  __shared__ float query[kMostDim], weight[kKeys], shared[kWarps];
  const AttentionSpec& s = a.spec;
  const int t = static_cast<int>(threadIdx.x);
  for (int64_t row = blockIdx.x; row < s.batch * s.heads * s.q_len; row += gridDim.x) {
    const int64_t i = row % s.q_len, h = row / s.q_len % s.heads, b = row / s.q_len / s.heads;
    const int64_t kv_head = h / (s.heads / s.kv_heads);
    const int64_t q_at = s.q.offset + b * s.q.batch + h * s.q.head + i * s.q.seq;
    const int64_t k_at = s.k.offset + b * s.k.batch + kv_head * s.k.head;
    const int64_t v_at = s.v.offset + b * s.v.batch + kv_head * s.v.head;
    const int64_t m_at = b * a.mask_strides[0] + h * a.mask_strides[1] + i * a.mask_strides[2];
    for (int64_t d = t; d < s.head_dim; d += kKeys) query[d] = load_as_float(q, q_at + d, a.type);
    __syncthreads();
    const int64_t seen = i + 1 + s.kv_len - s.q_len;  // keys that a causal query sees
    const int64_t keys = !s.causal || seen > s.kv_len ? s.kv_len : seen < 0 ? 0 : seen;
    float top = -INFINITY, sum = 0, acc[kPerThread] = {};
    for (int64_t first = 0; first < keys; first += kKeys) {
      float score = -INFINITY;
      const int64_t j = first + t;
      if (j < keys) {
        score = 0;
        for (int64_t d = 0; d < s.head_dim; ++d)
          score += query[d] * load_as_float(k, k_at + j * s.k.seq + d, a.type);
        score *= s.scale;
        if (s.softcap > 0) score = s.softcap * tanhf(score / s.softcap);
        if (a.mask_type != DType::kUndefined) {
          const float m = load_as_float(mask, m_at + j * a.mask_strides[3], a.mask_type);
          if (a.mask_type == DType::kBool)
            score = m != 0 ? score : -INFINITY;
          else
            score += m;
        }
      }
      const float round_top = max_nan(top, over_block<kWarps>(score, shared, Most()));
      // Until a key that is not masked comes there is nothing to scale.
      const float shift = round_top == -INFINITY ? 0 : round_top;
      const float rescale = expf(top - shift);
      weight[t] = j < keys ? expf(score - shift) : 0;
      sum = sum * rescale + over_block<kWarps>(weight[t], shared, Plus());
      top = round_top;
      const int64_t n = keys - first < kKeys ? keys - first : kKeys;
      for (int p = 0; p < kPerThread; ++p) {
        const int64_t d = int64_t{p} * kKeys + t;
        if (d >= s.v_dim) break;
        float x = acc[p] * rescale;
        for (int64_t c = 0; c < n; ++c)
          x += weight[c] * load_as_float(v, v_at + (first + c) * s.v.seq + d, a.type);
        acc[p] = x;
      }
      __syncthreads();
    }
    const int64_t o_at = s.out.offset + b * s.out.batch + h * s.out.head + i * s.out.seq;
    for (int p = 0; p < kPerThread; ++p) {
      const int64_t d = int64_t{p} * kKeys + t;
      if (d < s.v_dim) store_float(out, o_at + d, a.type, sum == 0 ? 0 : acc[p] / sum);
    }
    __syncthreads();
  }
}

const char* build(const StepInfo& s, Attention* a) {
  if (!s.attention || !s.post.empty()) return "not an attention step";
  if (!all_plain(s)) return "layouts";
  a->spec = *s.attention;
  a->type = s.out[0].dtype;
  if (!is_float_type(a->type)) return "the element type";
  for (size_t i = 0; i < 3; ++i)
    if (s.in[i].dtype != a->type) return "the element types";
  if (a->spec.head_dim > kMostDim || a->spec.v_dim > kMostDim) return "the size of a head";
  if (a->spec.mask < 0) return nullptr;
  const Operand& m = s.in[static_cast<size_t>(a->spec.mask)];
  if (!is_float_type(m.dtype) && m.dtype != DType::kBool) return "the mask's type";
  if (m.rank() > 4) return "the mask's rank";
  a->mask_type = m.dtype;
  Dims d(4 - m.dims.size(), 1);
  d.insert(d.end(), m.dims.begin(), m.dims.end());
  const std::vector<int64_t> strides = memory_strides(d, Layout::kPlain);
  for (size_t i = 0; i < 4; ++i) a->mask_strides[i] = d[i] == 1 ? 0 : strides[i];
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Attention a;
  return build(s, &a);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Attention a;
  if (auto* why = build(s, &a)) return unsupported(why);
  return prepared([a](const RunArgs& args) {
    const int64_t rows = a.spec.batch * a.spec.heads * a.spec.q_len;
    return launch(attend, std::min<int64_t>(rows, 1 << 20), kKeys, args, a, args.in[0], args.in[1],
                  args.in[2], a.spec.mask < 0 ? nullptr : args.in[a.spec.mask], args.out[0]);
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(attention, {.name = "attention",
                                  .ops = step_kind::kAttention,
                                  .rank = 20,
                                  .accept = cuda::accept,
                                  .prepare = cuda::prepare,
                                  .device = true})
