// SPDX-License-Identifier: Apache-2.0
// Scaled dot-product attention, fp32, by blocks with online softmax (the score matrix is never
// stored whole). Source: Dao et al., "FlashAttention" (2022); mask semantics of ONNX Attention-23.
// Relative error about 1e-6 of max |v|. out aliases nothing.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

// One run of keys and values. Up to two (a cache and the new tokens) stand for their concatenation.
struct KvSegment {
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t len = 0;                             // keys
  int64_t k_batch = 0, k_head = 0, k_seq = 0;  // strides; the last dim is dense
  int64_t v_batch = 0, v_head = 0, v_seq = 0;
};

enum class MaskType : uint8_t {
  kNone,
  kAdd,   // float, added to the scaled score; -inf removes
  kBool,  // byte, 0 removes
};

struct Attention {
  int64_t batch = 1, heads = 1, kv_heads = 1;  // heads is a multiple of kv_heads (GQA)
  int64_t q_len = 0, head_dim = 0, v_dim = 0;
  const float* q = nullptr;
  int64_t q_batch = 0, q_head = 0, q_seq = 0;
  KvSegment kv[2];
  float* out = nullptr;
  int64_t o_batch = 0, o_head = 0, o_seq = 0;
  float scale = 1;    // on q k^T
  float softcap = 0;  // > 0: s = softcap * tanh(s / softcap), before the mask
  bool causal = false;
  int64_t causal_offset = 0;     // query i sees keys j <= i + causal_offset (offset = past length)
  int64_t window = 0;            // > 0: and only keys j > i + causal_offset - window
  const float* sinks = nullptr;  // by head: exp(sink) is added to the sum of its softmax
  MaskType mask_type = MaskType::kNone;
  const void* mask = nullptr;  // strides in elements; 0 = broadcast; m_key is 0 or 1
  int64_t m_batch = 0, m_head = 0, m_query = 0, m_key = 1;
  float no_key = 0;  // what a query with no key left gives: 0 or NaN
};

// Units of work: (batch, head, block of queries). Scratch: bytes for one thread, 64-byte aligned.
int64_t attention_items(const Attention& p);
int64_t attention_scratch_bytes(const Attention& p);
void attention_f32(const Attention& p, int64_t begin, int64_t end, void* scratch);

}  // namespace onnxtool::simd
