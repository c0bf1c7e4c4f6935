// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/quant_util.h"

#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

Result<int64_t> axis_of(const Node& node, int64_t rank) {
  const int64_t axis = node.attr_int("axis", 1);
  if (auto a = normalize_axis(axis, rank)) return *a;
  if (rank == 1) return int64_t{0};  // the default 1 on a vector
  return invalid(format("attribute 'axis' is {}, outside of rank {}", axis, rank));
}

Error misfit(const Shape& data, const Shape& scale) {
  return invalid(
      format("scale of shape {} does not fit data of shape {}", to_string(scale), to_string(data)));
}

}  // namespace

Status check_granularity(const Node& node, const Shape& data, const Shape& scale) {
  const int64_t block = node.attr_int("block_size", 0);
  if (block < 0)
    return invalid(format("attribute 'block_size' is {}, must not be negative", block));
  if (block == 0 && product(scale) == Dim(1) && scale.size() <= 1) return ok();
  TRY_ASSIGN(const int64_t axis, axis_of(node, static_cast<int64_t>(data.size())));
  const auto a = static_cast<size_t>(axis);
  if (block == 0) {
    if (scale.size() != 1 || Dim::differ(scale[0], data[a])) return misfit(data, scale);
    return ok();
  }
  if (scale.size() != data.size()) return misfit(data, scale);
  for (size_t i = 0; i < data.size(); ++i)
    if (Dim::differ(scale[i], i == a ? ceil_div(data[i], Dim(block)) : data[i]))
      return misfit(data, scale);
  return ok();
}

Result<Granularity> granularity_of(const Node& node, const Dims& data, const Dims& scale) {
  TRY(check_granularity(node, to_shape(data), to_shape(scale)));
  Granularity g;
  const int64_t block = node.attr_int("block_size", 0);
  if (checked_product(data) == 0) return g;  // no elements
  if (block == 0 && scale.size() <= 1 && checked_product(scale) == 1) return g;
  TRY_ASSIGN(const int64_t axis, axis_of(node, static_cast<int64_t>(data.size())));
  g.single = false;
  g.dim = data[static_cast<size_t>(axis)];
  for (size_t i = static_cast<size_t>(axis) + 1; i < data.size(); ++i) g.inner *= data[i];
  if (block > 0) {
    g.outer_scales = true;
    g.block = block;
    g.blocks = scale[static_cast<size_t>(axis)];
  }
  return g;
}

int64_t quantize(double scaled, int64_t zero_point, DType t) {
  const auto low = static_cast<double>(int_min_of(t)), high = static_cast<double>(int_max_of(t));
  const double q = std::nearbyint(scaled) + static_cast<double>(zero_point);
  if (!(q > low)) return static_cast<int64_t>(low);  // NaN too
  return static_cast<int64_t>(std::min(q, high));
}

double round_to(DType t, double d) {
  switch (t) {
    case DType::kFloat: return static_cast<float>(d);
    case DType::kFloat16: return half_to_float(double_to_half(d));
    case DType::kBfloat16: return bfloat16_to_float(float_to_bfloat16(round_to_odd(d)));
    default: return d;
  }
}

}  // namespace onnxtool
