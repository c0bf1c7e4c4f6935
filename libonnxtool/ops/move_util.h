// SPDX-License-Identifier: Apache-2.0
// Moving elements of any type between tensors, for the evaluations of the data movement family.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// dst[dst_offset + i * dst_strides] = src[src_offset + i * src_strides] for each index i of `dims`.
// Strides and offsets count elements and may be zero or negative; all positions must be inside.
void copy_strided(Tensor& dst, int64_t dst_offset, std::span<const int64_t> dst_strides,
                  const Tensor& src, int64_t src_offset, std::span<const int64_t> src_strides,
                  std::span<const int64_t> dims);

// Every element of dst becomes src[from].
void fill_with(Tensor& dst, const Tensor& src, int64_t from);

// A tensor with the elements of src in another order of its axes.
Result<Tensor> transposed(const EvalContext& ctx, const Tensor& src, std::span<const int64_t> perm);

// Tensors of one type joined along an existing axis; all other dims agree (checked).
Result<Tensor> concatenated(const EvalContext& ctx, std::span<const Tensor> parts, int64_t axis);

// `count` rows of src along `axis`, from `start` in steps of `step`; all inside.
Result<Tensor> sliced(const EvalContext& ctx, const Tensor& src, int64_t axis, int64_t start,
                      int64_t count, int64_t step = 1);

// The rows of src along `axis` in the order given; all inside.
Result<Tensor> picked_rows(const EvalContext& ctx, const Tensor& src, size_t axis,
                           std::span<const int64_t> order);

// An owned copy that may be written.
Result<Tensor> copied(const EvalContext& ctx, const Tensor& src);

// Product of dims[first, last), which a tensor in memory cannot overflow.
int64_t span_size(std::span<const int64_t> dims, size_t first, size_t last);

// ---- symbolic shapes

// Integers of input i, or of attribute `attr` where that input is absent; nullopt: not known.
std::optional<std::vector<int64_t>> known_ints(const InferContext& ctx, size_t i,
                                               std::string_view attr);
// True when the node has input i or attribute `attr`.
bool given(const InferContext& ctx, size_t i, std::string_view attr);
// Axes in the given order, made non-negative; error when one is out of range or occurs twice.
Result<std::vector<int64_t>> axis_positions(std::span<const int64_t> axes, int64_t rank);
// The better known of two dims that must be equal; nullopt when they are proven different.
std::optional<Dim> unify(Dim a, Dim b);
// `n` dims, each a symbol of its own for this output.
Shape fresh_shape(InferContext& ctx, size_t output, size_t n);
// d, or a symbol of this output when d is unknown.
Dim or_fresh(InferContext& ctx, Dim d, size_t output, size_t axis);
// Number of elements of input i when it is a known 1-D length; scalars count as one.
std::optional<int64_t> known_length(const InferContext& ctx, size_t i);
// Input i must have the rank given if its rank is known.
Status expect_rank(const InferContext& ctx, size_t i, const char* name, int64_t rank);

// The attribute is one of `values` (the default is the first when it is absent): its index.
Result<size_t> choice(const Node& node, std::string_view attr, std::string_view def,
                      std::span<const std::string_view> values);
inline Result<size_t> choice(const Node& node, std::string_view attr, std::string_view def,
                             std::initializer_list<std::string_view> values) {
  return choice(node, attr, def, std::span(values.begin(), values.size()));
}

}  // namespace onnxtool
