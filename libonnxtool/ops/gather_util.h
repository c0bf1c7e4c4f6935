// SPDX-License-Identifier: Apache-2.0
// Index arithmetic that the gathering and the scattering operators share.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// "index 7 is out of range for axis 0 of size 4".
Error index_out_of_range(int64_t index, size_t axis, std::string_view size);

// Integers of input i where it is known: of rank 0 or 1 also when they were computed from dims.
std::optional<std::vector<int64_t>> constant_values(const InferContext& ctx, size_t i);

// GatherElements, ScatterElements: equal ranks, indices no larger than the data outside of `axis`.
Status check_elementwise_indices(const Shape& data, const Shape& indices, size_t axis);
// f(element of `indices`, offset into the data it stands for), in order; error when out of range.
// Shapes were checked by the function above.
Status for_each_element(const Tensor& indices, const Dims& data, size_t axis,
                        const std::function<void(int64_t, int64_t)>& f);

// GatherND, ScatterND: for each index tuple the offset of the block of the data it names.
struct NdIndex {
  int64_t depth = 0;  // length of a tuple
  int64_t block = 0;  // elements of a block
  std::vector<int64_t> offsets;
};
Result<NdIndex> nd_index(const Dims& data, const Tensor& indices, int64_t batch);

}  // namespace onnxtool
