// SPDX-License-Identifier: Apache-2.0
#include "exec/cuda/nd.h"

#include <algorithm>
#include <numeric>

namespace onnxtool::cuda {

bool plan_nd(const Dims& dims, std::span<const std::vector<int64_t>> strides, Nd* nd) {
  if (strides.size() > kNdOperands) return false;
  Dims merged;
  std::vector<std::vector<int64_t>> of(strides.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    bool join = !merged.empty();
    for (size_t k = 0; k < strides.size() && join; ++k)
      join = of[k].back() == strides[k][i] * dims[i];
    if (join) {
      merged.back() *= dims[i];
      for (size_t k = 0; k < strides.size(); ++k) of[k].back() = strides[k][i];
    } else {
      merged.push_back(dims[i]);
      for (size_t k = 0; k < strides.size(); ++k) of[k].push_back(strides[k][i]);
    }
  }
  if (merged.size() > kNdRank) return false;
  *nd = {};
  nd->rank = static_cast<int>(merged.size());
  for (size_t i = 0; i < merged.size(); ++i) {
    nd->size *= merged[i];
    nd->dims[i] = merged[i];
    for (size_t k = 0; k < strides.size(); ++k) nd->strides[k][i] = of[k][i];
  }
  return true;
}

bool plan_broadcast(std::span<const Operand> in, const Operand& out, Nd* nd) {
  const size_t rank = out.dims.size();
  const std::vector<int64_t> place = memory_strides(out.dims, out.layout);
  std::vector<size_t> order(rank);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return place[a] > place[b]; });
  Dims dims(rank);
  for (size_t i = 0; i < rank; ++i) dims[i] = out.dims[order[i]];
  std::vector<std::vector<int64_t>> strides;
  for (const Operand& o : in) {
    if (o.dims.size() > rank) return false;
    const std::vector<int64_t> own = memory_strides(o.dims, o.layout);
    std::vector<int64_t> s(rank, 0);
    for (size_t i = 0; i < rank; ++i) {
      if (order[i] + o.dims.size() < rank) continue;
      const size_t axis = order[i] + o.dims.size() - rank;
      if (o.dims[axis] != 1 && o.dims[axis] != dims[i]) return false;
      s[i] = o.dims[axis] == 1 ? 0 : own[axis];
    }
    strides.push_back(std::move(s));
  }
  return plan_nd(dims, strides, nd);
}

}  // namespace onnxtool::cuda
