// SPDX-License-Identifier: Apache-2.0
// The plan's attention step on the blocked online-softmax kernel.

#include "exec/cpu/simd/attention.h"
#include "exec/cpu/util.h"
#include "exec/plan/masks.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* accept(const StepInfo& s) {
  if (!s.attention || !s.post.empty()) return "not an attention step";
  if (!all_plain(s)) return "layouts";
  for (size_t i = 0; i < 3; ++i)
    if (!is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0])) return "not float";
  const AttentionSpec& a = *s.attention;
  if (a.mask >= 0) {
    const Operand& m = s.in[static_cast<size_t>(a.mask)];
    if (!is_f32(m) && m.dtype != DType::kBool) return "the mask's type";
    if (!mask_strides(m)) return "the mask's rank";
  }
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  const AttentionSpec a = *s.attention;
  simd::Attention p;
  p.batch = a.batch;
  p.heads = a.heads;
  p.kv_heads = a.kv_heads;
  p.q_len = a.q_len;
  p.head_dim = a.head_dim;
  p.v_dim = a.v_dim;
  p.q_batch = a.q.batch, p.q_head = a.q.head, p.q_seq = a.q.seq;
  p.kv[0].len = a.kv_len;
  p.kv[0].k_batch = a.k.batch, p.kv[0].k_head = a.k.head, p.kv[0].k_seq = a.k.seq;
  p.kv[0].v_batch = a.v.batch, p.kv[0].v_head = a.v.head, p.kv[0].v_seq = a.v.seq;
  p.o_batch = a.out.batch, p.o_head = a.out.head, p.o_seq = a.out.seq;
  p.scale = a.scale;
  p.softcap = a.softcap;
  p.no_key = no_key_value(s);
  p.causal = a.causal;
  p.causal_offset = a.causal ? a.kv_len - a.q_len : 0;
  if (a.mask >= 0) {
    const Operand& m = s.in[static_cast<size_t>(a.mask)];
    p.mask_type = m.dtype == DType::kBool ? simd::MaskType::kBool : simd::MaskType::kAdd;
    const auto strides = *mask_strides(m);
    p.m_batch = strides[0], p.m_head = strides[1];
    p.m_query = strides[2], p.m_key = strides[3];
  }
  int64_t items = simd::attention_items(p);
  int64_t each = (simd::attention_scratch_bytes(p) + 63) / 64 * 64;
  double flops = 2.0 * static_cast<double>(a.batch * a.heads * a.q_len * a.kv_len) *
                 static_cast<double>(a.head_dim + a.v_dim);
  int64_t grain = grain_for(flops / 60.0 / static_cast<double>(std::max<int64_t>(items, 1)));
  int mask = a.mask;
  auto r = prepared([=](const RunArgs& args) {
    simd::Attention q = p;
    q.q = in<float>(args, 0) + a.q.offset;
    q.kv[0].k = in<float>(args, 1) + a.k.offset;
    q.kv[0].v = in<float>(args, 2) + a.v.offset;
    q.out = out<float>(args) + a.out.offset;
    if (mask >= 0) q.mask = args.in[mask];
    parallel_for(items, grain, [&](int64_t begin, int64_t end) {
      simd::attention_f32(q, begin, end, args.scratch + parallel_index() * each);
    });
  });
  r->scratch_bytes = each * ctx.threads;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(attention, {"attention", step_kind::kAttention, 20, cpu::accept, cpu::prepare})
