// SPDX-License-Identifier: Apache-2.0
// Layer, RMS, instance and group normalization, with what stands before or after them.
#include "exec/cpu/elementwise.h"
#include "exec/cpu/simd/norm.h"
#include "exec/cpu/util.h"
#include "exec/plan/normalizing.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* accept_layer(const StepInfo& s) {
  if (!s.post.empty()) return "post operations";
  for (const Operand& o : s.in)
    if (o.present() && !is_f32(o)) return "not float";
  for (const Operand& o : s.out)
    if (o.present() && !is_f32(o)) return "not float";
  LayerNorm r;
  return plan_layer_norm(s, &r);
}

Result<std::unique_ptr<Prepared>> prepare_layer(const StepInfo& s, PrepareContext&) {
  LayerNorm r;
  if (const char* why = plan_layer_norm(s, &r)) return unsupported(why);
  int64_t grain = grain_for(0.4 * static_cast<double>(r.n) + 5);
  return prepared([=](const RunArgs& a) {
    simd::LayerNorm p;
    p.n = r.n;
    p.eps = r.epsilon;
    if (r.gamma != kNone) p.gamma = in<float>(a, r.gamma);
    if (r.beta != kNone) p.beta = in<float>(a, r.beta);
    if (r.skip != kNone) p.residual = in<float>(a, r.skip);
    if (r.bias != kNone) p.bias = in<float>(a, r.bias);
    if (r.sum != kNone) p.sum_out = out<float>(a, r.sum);
    if (r.mean != kNone) p.mean_out = out<float>(a, r.mean);
    if (r.inv != kNone) p.inv_std_out = out<float>(a, r.inv);
    parallel_for(r.rows, grain, [&](int64_t begin, int64_t end) {
      (r.rms ? simd::rms_norm_f32 : simd::layer_norm_f32)(p, in<float>(a, 0), out<float>(a), begin,
                                                          end);
    });
  });
}

uint64_t layer_in_place(const StepInfo& s) {
  return s.op.view() == "LayerNormalization" || s.op.view() == "RMSNormalization" ? 1 : 0;
}

const char* accept_group(const StepInfo& s) {
  if (!is_f32(s.in[0]) || !is_f32(s.out[0])) return "not float";
  if (s.post.size() > 1 || (!s.post.empty() && !is_unary(s.post[0].op))) return "post operations";
  if (!s.has(1) || !s.has(2) || !is_f32(s.in[1]) || !is_f32(s.in[2])) return "scale or bias";
  GroupNorm g;
  return plan_group_norm(s, &g);
}

Result<std::unique_ptr<Prepared>> prepare_group(const StepInfo& s, PrepareContext&) {
  GroupNorm g;
  if (const char* why = plan_group_norm(s, &g)) return unsupported(why);
  simd::GroupNorm p;
  p.channels = g.channels;
  p.spatial = g.spatial;
  p.groups = g.groups;
  p.channels_last = g.channels_last;
  p.eps = g.epsilon;
  if (!s.post.empty()) {
    p.act = to_unary(s.post[0].op);
    p.act_a = s.post[0].a;
    p.act_b = s.post[0].b;
  }
  int64_t items = s.in[0].dims[0] * p.groups;
  int64_t grain = grain_for(0.5 * static_cast<double>(p.spatial * p.channels / p.groups));
  return prepared([=](const RunArgs& a) {
    simd::GroupNorm q = p;
    q.gamma = in<float>(a, 1);
    q.beta = in<float>(a, 2);
    parallel_for(items, grain, [&](int64_t begin, int64_t end) {
      simd::group_norm_f32(q, in<float>(a, 0), out<float>(a), begin, end);
    });
  });
}

uint64_t group_in_place(const StepInfo&) { return 1; }

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(normalize,
                     {"layer_norm",
                      "LayerNormalization RMSNormalization SimplifiedLayerNormalization "
                      "com.microsoft.SkipLayerNormalization "
                      "com.microsoft.SkipSimplifiedLayerNormalization",
                      20, cpu::accept_layer, cpu::prepare_layer, cpu::layer_in_place},
                     {"group_norm", "GroupNormalization InstanceNormalization", 20,
                      cpu::accept_group, cpu::prepare_group, cpu::group_in_place})
