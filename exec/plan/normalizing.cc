// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/normalizing.h"

#include "libonnxtool/base/checked.h"

namespace onnxtool {

const char* plan_layer_norm(const StepInfo& s, LayerNorm* r) {
  if (!all_plain(s)) return "layouts";
  const std::string_view op = s.op.view();
  int64_t axis = s.attr_int("axis", -1);
  if (op == "LayerNormalization") {
    r->gamma = 1, r->beta = 2, r->mean = 1, r->inv = 2;
  } else if (op == "RMSNormalization" || op == "SimplifiedLayerNormalization" ||
             op == "com.microsoft.SimplifiedLayerNormalization") {
    r->gamma = 1, r->rms = true;
    if (op != "RMSNormalization") r->inv = 1;
  } else {  // SkipLayerNormalization, SkipSimplifiedLayerNormalization
    r->rms = op == "com.microsoft.SkipSimplifiedLayerNormalization";
    r->skip = 1, r->gamma = 2, r->sum = 3;
    if (r->rms)
      r->bias = 3;
    else
      r->beta = 3, r->bias = 4;
    r->mean = 1, r->inv = 2;
    axis = -1;
  }
  r->epsilon = s.attr_float("epsilon", r->skip != kNone ? 1e-12f : 1e-5f);
  const auto a = normalize_axis(axis, s.in[0].rank());
  if (!a) return "the axis";
  r->n = 1;
  for (size_t i = static_cast<size_t>(*a); i < s.in[0].dims.size(); ++i) r->n *= s.in[0].dims[i];
  r->rows = s.in[0].size() / r->n;
  const auto use = [&](size_t& i, bool there) {
    if (i != kNone && !there) i = kNone;
  };
  for (size_t* i : {&r->gamma, &r->beta, &r->skip, &r->bias}) use(*i, s.has(*i));
  for (size_t* i : {&r->mean, &r->inv, &r->sum}) use(*i, *i < s.out.size() && s.out[*i].present());
  if (r->rms && r->mean != kNone) return "a mean of RMS";
  for (size_t i : {r->gamma, r->beta, r->bias})
    if (i != kNone && s.in[i].size() != r->n) return "a scale that broadcasts";
  if (r->skip != kNone && s.in[r->skip].dims != s.in[0].dims) return "a skip that broadcasts";
  return nullptr;
}

const char* plan_group_norm(const StepInfo& s, GroupNorm* r) {
  if (s.in[0].rank() < 3) return "the rank";
  const auto last = [](const Operand& o) {
    return o.layout == Layout::kChannelsLast || layout_free(o.dims);
  };
  if (!all_plain(s) && !(last(s.in[0]) && last(s.out[0]))) return "layouts differ";
  r->channels_last = !all_plain(s);
  r->images = s.in[0].dims[0];
  r->channels = s.in[0].dims[1];
  r->spatial = s.in[0].size() / (r->images * r->channels);
  r->epsilon = s.attr_float("epsilon", 1e-5f);
  if (!s.has(1) || !s.has(2) || s.in[1].size() != r->channels || s.in[2].size() != r->channels)
    return "scale or bias a channel";
  const bool group = s.op.view() == "GroupNormalization";
  r->groups = group ? s.attr_int("num_groups", 0) : r->channels;
  if (r->groups < 1 || r->channels % r->groups) return "the groups";
  if (group && s.node && s.version() < 21 && r->groups != r->channels) return "an old form";
  return nullptr;
}

}  // namespace onnxtool
