// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/norm_util.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {

Status expect_broadcastable(const Shape* s, std::string_view what, const Shape* x) {
  if (s == nullptr || x == nullptr) return ok();
  bool fits = s->size() <= x->size();
  for (size_t i = 0; fits && i < s->size(); i++) {
    const Dim d = (*s)[i];
    fits = d.is_const(1) || !Dim::differ(d, (*x)[i + x->size() - s->size()]);
  }
  if (fits) return ok();
  return invalid(
      format("{} of shape {} does not broadcast to {}", what, to_string(*s), to_string(*x)));
}

Status scale_and_shift(std::span<double> values, const Dims& dims, const Tensor& scale,
                       const Tensor* bias) {
  const Shape x = to_shape(dims), s = to_shape(scale.dims());
  TRY(expect_broadcastable(&s, "scale", &x));
  std::vector<Dims> operands = {scale.dims()};
  if (bias != nullptr) {
    const Shape b = to_shape(bias->dims());
    TRY(expect_broadcastable(&b, "bias", &x));
    operands.push_back(bias->dims());
  }
  BroadcastRuns runs(dims, operands);
  std::vector<double> factor(BroadcastRuns::kMax);
  while (runs.next()) {
    const std::span<double> part(factor.data(), runs.count());
    double* to = values.data() + runs.out();
    load_f64(scale, runs.offset(0), part, runs.stride(0));
    for (size_t i = 0; i < part.size(); i++) to[i] *= part[i];
    if (bias == nullptr) continue;
    load_f64(*bias, runs.offset(1), part, runs.stride(1));
    for (size_t i = 0; i < part.size(); i++) to[i] += part[i];
  }
  return ok();
}

Result<DType> stash_type(const Node& node) {
  TRY_ASSIGN(const DType t, dtype_attr(node, "stash_type", DType::kFloat));
  if (t == DType::kFloat || t == DType::kBfloat16 || t == DType::kFloat16 || t == DType::kDouble)
    return t;
  return invalid(format("attribute 'stash_type' is {}, a float type expected", dtype_name(t)));
}

}  // namespace onnxtool
