// SPDX-License-Identifier: Apache-2.0
// What several passes ask of values and shapes.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

// Both shapes known and equal in every dim for all values of the symbols.
bool same_shape(const Shape* a, const Shape* b);
bool same_type_and_shape(const PassContext& ctx, ValueId a, ValueId b);

// Contents of a Reshape's shape input (allowzero=0) that turns a tensor of shape `from` into one
// of shape `to`, exactly, for all values of the symbols, empty tensors included; nullopt: none.
std::optional<std::vector<int64_t>> reshape_spec(const Shape& from, const Shape& to);

// The one value that all elements of a constant have; nullopt: no constant, or they differ.
std::optional<double> uniform(const Tensor& t);
std::optional<double> uniform(const PassContext& ctx, ValueId v);

// The value of a constant of one element.
std::optional<double> number(const PassContext& ctx, ValueId v);

// b within 1e-5 of a, relative: as exporters round it.
bool about(double a, double b);

// Of a node of two inputs: the one that is a constant of one element, and the other one.
struct WithNumber {
  ValueId x;
  double number = 0;
  size_t index = 0;  // of x
};
std::optional<WithNumber> with_number(const PassContext& ctx, NodeId n);

// Constant `t` broadcast against a value of rank `rank` with `channels` on `axis`: one value for
// each channel, if it varies along that axis only; nullopt else, or if it raises the rank.
std::optional<std::vector<double>> per_channel(const Tensor& t, int64_t rank, int64_t axis,
                                               int64_t channels);

// All of `values` are finite in `t` after rounding.
bool all_finite(const Tensor& t);

// A new weight from double precision. Fails where a value would not be finite in `dtype`, and for
// half precision where it would be rounded: that is wrong by up to 5e-4 (bfloat16: 4e-3), and by
// far more of a sum whose terms cancel.
Result<Tensor> new_weight(DType dtype, const Dims& dims, std::span<const double> values);
// The same for a weight times factors, each of which holds for `run` elements in a row; they start
// again after the last one.
Result<Tensor> scaled_weight(const Tensor& w, std::span<const double> factors, int64_t run);

// Axes of a reduction that keeps its dims, sorted and not negative; nullopt: not known, or all.
std::optional<std::vector<int64_t>> kept_axes(const PassContext& ctx, NodeId n, int64_t rank);

bool is_float_type(DType t);  // float, double, float16, bfloat16

// An op that gives each element a value of that element alone (one data input, same shape).
bool is_unary_elementwise(const PassContext& ctx, NodeId n);

}  // namespace onnxtool
