// SPDX-License-Identifier: Apache-2.0
// Layer, RMS, instance and group normalization, with what stands before or after them.
#include "exec/cpu/elementwise.h"
#include "exec/cpu/simd/norm.h"
#include "exec/cpu/util.h"
#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace cpu {
namespace {

// Which operand is what; SIZE_MAX: there is none.
struct Roles {
  size_t gamma = SIZE_MAX, beta = SIZE_MAX, skip = SIZE_MAX, bias = SIZE_MAX;
  size_t mean = SIZE_MAX, inv = SIZE_MAX, sum = SIZE_MAX;
  bool rms = false;
  int64_t rows = 0, n = 0;
};

std::optional<Roles> roles_of(const StepInfo& s) {
  Roles r;
  std::string_view op = s.op.view();
  int64_t axis = s.attr_int("axis", -1);
  if (op == "LayerNormalization") {
    r.gamma = 1, r.beta = 2, r.mean = 1, r.inv = 2;
  } else if (op == "RMSNormalization" || op == "SimplifiedLayerNormalization" ||
             op == "com.microsoft.SimplifiedLayerNormalization") {
    r.gamma = 1, r.rms = true;
    if (op != "RMSNormalization") r.inv = 1;
  } else {  // SkipLayerNormalization, SkipSimplifiedLayerNormalization
    r.rms = op == "com.microsoft.SkipSimplifiedLayerNormalization";
    r.skip = 1, r.gamma = 2, r.sum = 3;
    if (r.rms)
      r.bias = 3;
    else
      r.beta = 3, r.bias = 4;
    r.mean = 1, r.inv = 2;
    axis = -1;
  }
  auto a = normalize_axis(axis, s.in[0].rank());
  if (!a) return std::nullopt;
  Lanes l = lanes(s.in[0].dims, *a, s.in[0].rank() - 1);
  r.rows = l.outer;
  r.n = l.n;
  auto use = [&](size_t& i, bool output) {
    if (i != SIZE_MAX && !(output ? i < s.out.size() && s.out[i].present() : s.has(i)))
      i = SIZE_MAX;
  };
  use(r.gamma, false), use(r.beta, false), use(r.skip, false), use(r.bias, false);
  use(r.mean, true), use(r.inv, true), use(r.sum, true);
  return r;
}

const char* accept_layer(const StepInfo& s) {
  if (!s.post.empty() || !all_plain(s)) return "layouts";
  for (const Operand& o : s.in)
    if (o.present() && !is_f32(o)) return "not float";
  for (const Operand& o : s.out)
    if (o.present() && !is_f32(o)) return "not float";
  auto r = roles_of(s);
  if (!r) return "the axis";
  if (r->rms && r->mean != SIZE_MAX) return "a mean of RMS";
  for (size_t i : {r->gamma, r->beta, r->bias})
    if (i != SIZE_MAX && s.in[i].size() != r->n) return "a scale that broadcasts";
  if (r->skip != SIZE_MAX && s.in[r->skip].dims != s.in[0].dims) return "a skip that broadcasts";
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare_layer(const StepInfo& s, PrepareContext&) {
  Roles r = *roles_of(s);
  float eps =
      s.attr_float("epsilon", s.op.view().substr(0, 17) == "com.microsoft.Ski" ? 1e-12f : 1e-5f);
  int64_t grain = grain_for(0.4 * static_cast<double>(r.n) + 5);
  return prepared([=](const RunArgs& a) {
    simd::LayerNorm p;
    p.n = r.n;
    p.eps = eps;
    if (r.gamma != SIZE_MAX) p.gamma = in<float>(a, r.gamma);
    if (r.beta != SIZE_MAX) p.beta = in<float>(a, r.beta);
    if (r.skip != SIZE_MAX) p.residual = in<float>(a, r.skip);
    if (r.bias != SIZE_MAX) p.bias = in<float>(a, r.bias);
    if (r.sum != SIZE_MAX) p.sum_out = out<float>(a, r.sum);
    if (r.mean != SIZE_MAX) p.mean_out = out<float>(a, r.mean);
    if (r.inv != SIZE_MAX) p.inv_std_out = out<float>(a, r.inv);
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
  if (!is_f32(s.in[0]) || !is_f32(s.out[0]) || s.in[0].rank() < 3) return "not float images";
  if (!all_plain(s) && !(channels_last(s.in[0]) && channels_last(s.out[0])))
    return "layouts differ";
  if (s.post.size() > 1 || (!s.post.empty() && !is_unary(s.post[0].op))) return "post operations";
  if (!s.has(1) || !s.has(2) || !is_f32(s.in[1]) || !is_f32(s.in[2])) return "scale or bias";
  if (s.in[1].size() != s.in[0].dims[1] || s.in[2].size() != s.in[0].dims[1])
    return "scale a group";
  int64_t groups =
      s.op.view() == "GroupNormalization" ? s.attr_int("num_groups", 0) : s.in[0].dims[1];
  if (groups < 1 || s.in[0].dims[1] % groups) return "the groups";
  if (s.op.view() == "GroupNormalization" && s.node && s.version() < 21 &&
      groups != s.in[0].dims[1])
    return "an old form";
  return nullptr;
}

Result<std::unique_ptr<Prepared>> prepare_group(const StepInfo& s, PrepareContext&) {
  simd::GroupNorm p;
  p.channels = s.in[0].dims[1];
  p.spatial = s.in[0].size() / (s.in[0].dims[0] * p.channels);
  p.groups = s.op.view() == "GroupNormalization" ? s.attr_int("num_groups", 0) : p.channels;
  p.channels_last = !all_plain(s);
  p.eps = s.attr_float("epsilon", 1e-5f);
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
