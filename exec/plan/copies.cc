// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/copies.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace {

using Strides = std::vector<int64_t>;
using Copies = std::optional<std::vector<StridedCopy>>;

StridedCopy copy_of(const Dims& dims, Strides src, Strides dst, int64_t src_offset = 0,
                    int64_t dst_offset = 0) {
  return {dims, std::move(src), std::move(dst), src_offset, dst_offset, 0, 0};
}
Copies one(StridedCopy c) { return std::vector<StridedCopy>{std::move(c)}; }

Strides strides(const Operand& o) { return memory_strides(o.dims, o.layout); }

Copies transpose(const StepInfo& s) {
  auto rank = static_cast<size_t>(s.in[0].rank());
  std::vector<int64_t> perm;
  if (auto* p = s.attr_ints("perm"))
    perm = *p;
  else
    for (size_t i = rank; i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  if (perm.size() != rank) return std::nullopt;
  Strides from = strides(s.in[0]), src(rank);
  for (size_t i = 0; i < rank; ++i) {
    if (perm[i] < 0 || perm[i] >= static_cast<int64_t>(rank)) return std::nullopt;
    src[i] = from[static_cast<size_t>(perm[i])];
    if (s.out[0].dims[i] != s.in[0].dims[static_cast<size_t>(perm[i])]) return std::nullopt;
  }
  return one(copy_of(s.out[0].dims, src, strides(s.out[0])));
}

Copies reorder(const StepInfo& s) {
  return one(copy_of(s.in[0].dims, strides(s.in[0]), strides(s.out[0])));
}

Copies slice(const StepInfo& s) {
  auto rank = s.in[0].rank();
  auto starts = s.ints(1, "starts"), axes = s.ints(3, "axes"), steps = s.ints(4);
  if (!starts || (s.has(3) && !axes) || (s.has(4) && !steps)) return std::nullopt;
  Strides src = strides(s.in[0]);
  int64_t offset = 0;
  for (size_t i = 0; i < starts->size(); ++i) {
    auto axis = normalize_axis(axes ? (*axes)[i] : static_cast<int64_t>(i), rank);
    if (!axis || (axes && axes->size() != starts->size()) ||
        (steps && steps->size() != starts->size()))
      return std::nullopt;
    auto a = static_cast<size_t>(*axis);
    int64_t d = s.in[0].dims[a], step = steps ? (*steps)[i] : 1, start = (*starts)[i];
    if (step == 0 || d == 0) return std::nullopt;
    if (start < 0) start += d;
    start = step > 0 ? std::clamp<int64_t>(start, 0, d) : std::clamp<int64_t>(start, 0, d - 1);
    int64_t n = s.out[0].dims[a];
    auto last = checked_mul(n - 1, step);
    if (!last || start + *last < 0 || start + *last >= d) return std::nullopt;
    offset += start * src[a];
    src[a] *= step;
  }
  return one(copy_of(s.out[0].dims, src, strides(s.out[0]), offset));
}

Copies concat(const StepInfo& s) {
  auto axis = normalize_axis(s.attr_int("axis", 1), s.out[0].rank());
  if (!axis) return std::nullopt;
  auto a = static_cast<size_t>(*axis);
  Strides dst = strides(s.out[0]);
  std::vector<StridedCopy> copies;
  int64_t at = 0;
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (s.in[i].rank() != s.out[0].rank() || s.in[i].dtype != s.out[0].dtype) return std::nullopt;
    copies.push_back(copy_of(s.in[i].dims, strides(s.in[i]), dst, 0, at * dst[a]));
    copies.back().in = i;
    at += s.in[i].dims[a];
  }
  if (at != s.out[0].dims[a]) return std::nullopt;
  return copies;
}

Copies split(const StepInfo& s) {
  auto axis = normalize_axis(s.attr_int("axis", 0), s.in[0].rank());
  if (!axis) return std::nullopt;
  auto a = static_cast<size_t>(*axis);
  Strides src = strides(s.in[0]);
  // A part that nobody wants has no dims here; the list of sizes is needed then.
  auto sizes = s.ints(1, "split");
  std::vector<StridedCopy> copies;
  int64_t at = 0;
  for (size_t i = 0; i < s.out.size(); ++i) {
    if (!s.out[i].present()) {
      if (!sizes || i >= sizes->size()) return std::nullopt;
      at += (*sizes)[i];
      continue;
    }
    if (at + s.out[i].dims[a] > s.in[0].dims[a]) return std::nullopt;
    copies.push_back(copy_of(s.out[i].dims, src, strides(s.out[i]), at * src[a]));
    copies.back().out = i;
    at += s.out[i].dims[a];
  }
  return copies;
}

Copies expand(const StepInfo& s) {
  size_t rank = s.out[0].dims.size(), from = s.in[0].dims.size();
  if (from > rank) return std::nullopt;
  if (!all_plain(s) && from != rank) return std::nullopt;
  Strides in = strides(s.in[0]), src(rank, 0);
  for (size_t i = 0; i < from; ++i) {
    int64_t d = s.in[0].dims[i];
    if (d == s.out[0].dims[rank - from + i])
      src[rank - from + i] = in[i];
    else if (d != 1)
      return std::nullopt;
  }
  return one(copy_of(s.out[0].dims, src, strides(s.out[0])));
}

Copies tile(const StepInfo& s) {
  if (!all_plain(s) || s.in[0].rank() != s.out[0].rank()) return std::nullopt;
  Strides in = strides(s.in[0]), out = strides(s.out[0]), src, dst;
  Dims dims;
  for (size_t i = 0; i < s.in[0].dims.size(); ++i) {
    int64_t d = s.in[0].dims[i];
    if (d == 0 || s.out[0].dims[i] % d) return std::nullopt;
    dims.insert(dims.end(), {s.out[0].dims[i] / d, d});
    src.insert(src.end(), {0, in[i]});
    dst.insert(dst.end(), {out[i] * d, out[i]});
  }
  return one(copy_of(dims, src, dst));
}

// [N, C, H, W] and blocks of b x b pixels (ONNX DepthToSpace, SpaceToDepth).
Copies blocks(const StepInfo& s) {
  if (s.in[0].rank() != 4 || s.out[0].rank() != 4) return std::nullopt;
  bool to_space = s.op.view() == "DepthToSpace";
  const Operand& deep = to_space ? s.in[0] : s.out[0];
  const Operand& wide = to_space ? s.out[0] : s.in[0];
  int64_t b = s.attr_int("blocksize", 0), c = wide.dims[1];
  if (b < 1 || deep.dims[1] != c * b * b || wide.dims[2] != deep.dims[2] * b ||
      wide.dims[3] != deep.dims[3] * b)
    return std::nullopt;
  bool crd = s.attr_str("mode", "DCR") == "CRD";
  Strides d = strides(deep), w = strides(wide);
  Dims dims = {deep.dims[0], b, b, c, deep.dims[2], deep.dims[3]};
  Strides in_deep = crd ? Strides{d[0], d[1] * b, d[1], d[1] * b * b, d[2], d[3]}
                        : Strides{d[0], d[1] * b * c, d[1] * c, d[1], d[2], d[3]};
  Strides in_wide = {w[0], w[2], w[3], w[1], w[2] * b, w[3] * b};
  return one(to_space ? copy_of(dims, in_deep, in_wide) : copy_of(dims, in_wide, in_deep));
}

bool whole_bytes(DType t) {
  return t != DType::kUndefined && t != DType::kString && dtype_bits(t) % 8 == 0;
}

struct Rule {
  const char* op;
  Copies (*make)(const StepInfo&);
};
constexpr Rule kRules[] = {
    {"Transpose", transpose}, {"plan.Reorder", reorder}, {"Slice", slice},
    {"Concat", concat},       {"Split", split},          {"Expand", expand},
    {"Tile", tile},           {"DepthToSpace", blocks},  {"SpaceToDepth", blocks}};

}  // namespace

std::optional<Padding> step_padding(const StepInfo& s) {
  const auto rank = static_cast<size_t>(s.in[0].rank());
  const auto pads = s.ints(1, "pads"), axes = s.ints(3);
  if (!pads || (s.has(3) && !axes)) return std::nullopt;
  Padding p;
  p.before.assign(rank, 0);
  p.after.assign(rank, 0);
  const size_t n = axes ? axes->size() : rank;
  if (pads->size() != 2 * n) return std::nullopt;
  for (size_t i = 0; i < n; ++i) {
    const auto axis = normalize_axis(axes ? (*axes)[i] : static_cast<int64_t>(i), s.in[0].rank());
    if (!axis) return std::nullopt;
    p.before[static_cast<size_t>(*axis)] = (*pads)[i];
    p.after[static_cast<size_t>(*axis)] = (*pads)[n + i];
  }
  for (size_t i = 0; i < rank; ++i)
    if (s.in[0].dims[i] + p.before[i] + p.after[i] != s.out[0].dims[i]) return std::nullopt;
  static constexpr std::string_view kModes[] = {"constant", "edge", "reflect", "wrap"};
  const auto* mode =
      std::find(std::begin(kModes), std::end(kModes), s.attr_str("mode", "constant"));
  if (mode == std::end(kModes)) return std::nullopt;
  p.mode = static_cast<Padding::Mode>(mode - std::begin(kModes));
  return p;
}

std::optional<std::vector<StridedCopy>> step_copies(const StepInfo& s) {
  if (!s.post.empty() || s.in.empty() || s.out.empty()) return std::nullopt;
  if (!s.in[0].present() || !whole_bytes(s.in[0].dtype)) return std::nullopt;
  for (const Operand& o : s.out)
    if (o.present() && o.dtype != s.in[0].dtype) return std::nullopt;
  for (const Rule& r : kRules)
    if (s.op.view() == r.op) return r.make(s);
  return std::nullopt;
}

}  // namespace onnxtool
