// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/gather_util.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"

namespace onnxtool {

Error index_out_of_range(int64_t index, size_t axis, std::string_view size) {
  return invalid(format("index {} is out of range for axis {} of size {}", index, axis, size));
}

std::optional<std::vector<int64_t>> constant_values(const InferContext& ctx, size_t i) {
  if (auto v = ctx.ints(i)) return v;
  const Tensor* t = ctx.has_input(i) ? ctx.constant(i) : nullptr;
  if (t == nullptr || !is_integer(t->dtype()) || t->size() > 1024) return std::nullopt;
  return t->to_aligned().to_i64();
}

Status check_elementwise_indices(const Shape& data, const Shape& indices, size_t axis) {
  bool fits = data.size() == indices.size();
  for (size_t i = 0; fits && i < data.size(); ++i) {
    if (i == axis || !data[i].is_const() || !indices[i].is_const()) continue;
    fits = indices[i].value() <= data[i].value();
  }
  if (fits) return ok();
  return invalid(format("indices {} do not fit the input {}", to_string(indices), to_string(data)));
}

Status for_each_element(const Tensor& indices, const Dims& data, size_t axis,
                        const std::function<void(int64_t, int64_t)>& f) {
  if (indices.size() == 0) return ok();
  const std::vector<int64_t> at = indices.to_i64();
  const auto strides = row_major_strides(data);
  const int64_t size = data[axis];
  std::vector<int64_t> idx(data.size(), 0);
  int64_t i = 0;
  do {
    const int64_t k = at[static_cast<size_t>(i)];
    if (k < -size || k >= size) return index_out_of_range(k, axis, std::to_string(size));
    int64_t offset = 0;
    for (size_t d = 0; d < idx.size(); ++d)
      offset += (d == axis ? (k < 0 ? k + size : k) : idx[d]) * strides[d];
    f(i++, offset);
  } while (onnxtool::advance(idx, indices.dims()));
  return ok();
}

Result<NdIndex> nd_index(const Dims& data, const Tensor& indices, int64_t batch) {
  const int64_t rank = static_cast<int64_t>(data.size()), q = indices.rank();
  bool fits = batch >= 0 && q > batch && rank > batch && indices.dims().back() >= 1 &&
              indices.dims().back() <= rank - batch;
  for (size_t i = 0; fits && i < static_cast<size_t>(batch); ++i)
    fits = indices.dims()[i] == data[i];
  if (!fits)
    return invalid(format("indices {} do not address the input {} after {} batch dims",
                          to_string(indices.dims()), to_string(data), batch));
  NdIndex r;
  r.depth = indices.dims().back();
  const size_t b = static_cast<size_t>(batch), depth = static_cast<size_t>(r.depth);
  r.block = span_size(data, b + depth, data.size());
  const auto strides = row_major_strides(data);
  const std::vector<int64_t> at = indices.to_i64();
  const int64_t rows = indices.size() / r.depth;
  const int64_t batches = span_size(data, 0, b);
  const int64_t per_batch = batches > 0 ? rows / batches : 0;
  const int64_t batch_stride = span_size(data, b, data.size());
  r.offsets.reserve(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) {
    int64_t offset = per_batch > 0 ? i / per_batch * batch_stride : 0;
    for (size_t k = 0; k < depth; ++k) {
      const int64_t v = at[static_cast<size_t>(i) * depth + k], size = data[b + k];
      if (v < -size || v >= size) return index_out_of_range(v, b + k, std::to_string(size));
      offset += (v < 0 ? v + size : v) * strides[b + k];
    }
    r.offsets.push_back(offset);
  }
  return r;
}

}  // namespace onnxtool
