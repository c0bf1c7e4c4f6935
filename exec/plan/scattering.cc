// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/scattering.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"

namespace onnxtool {

const char* plan_scattering(const StepInfo& s, Scattering* f) {
  if (s.in.size() != 3 || !s.post.empty() || !all_plain(s)) return "layouts or inputs";
  if (s.in[0].dtype != s.out[0].dtype || s.in[2].dtype != s.out[0].dtype) return "types";
  if (s.in[1].dtype != DType::kInt64 && s.in[1].dtype != DType::kInt32) return "the index type";
  f->wide = s.in[1].dtype == DType::kInt64;
  static constexpr std::string_view kReductions[] = {"none", "add", "mul", "max", "min"};
  const auto* r =
      std::find(std::begin(kReductions), std::end(kReductions), s.attr_str("reduction", "none"));
  if (r == std::end(kReductions)) return "the reduction";
  f->reduction = static_cast<Scattering::Reduction>(r - std::begin(kReductions));
  const Dims &x = s.in[0].dims, &index = s.in[1].dims, &updates = s.in[2].dims;
  if (s.op.view() == "ScatterND") {
    if (index.empty() || index.back() < 1 || index.back() > s.in[0].rank()) return "the indices";
    const auto depth = static_cast<size_t>(index.back());
    f->count = s.in[1].size() / index.back();
    for (size_t i = depth; i < x.size(); ++i) f->inner *= x[i];
    f->extent = s.in[0].size() / std::max<int64_t>(f->inner, 1);
    int64_t stride = f->extent;
    for (size_t i = 0; i < depth; ++i) {
      stride /= x[i];
      f->extents.push_back(x[i]);
      f->strides.push_back(stride);
    }
    return s.in[2].size() == f->count * f->inner ? nullptr : "the updates' shape";
  }
  const auto axis = normalize_axis(s.attr_int("axis", 0), s.in[0].rank());
  if (!axis || index != updates || index.size() != x.size()) return "shapes";
  const auto at = static_cast<size_t>(*axis);
  for (size_t i = 0; i < x.size(); ++i)
    if (i != at && index[i] != x[i]) return "indices for a part of the data";
  f->each = true;
  f->extent = x[at];
  f->count = index[at];
  for (size_t i = 0; i < at; ++i) f->outer *= x[i];
  for (size_t i = at + 1; i < x.size(); ++i) f->inner *= x[i];
  return nullptr;
}

}  // namespace onnxtool
