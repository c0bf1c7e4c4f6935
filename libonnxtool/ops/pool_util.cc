// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/pool_util.h"

#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {

Result<std::optional<PoolShape>> pool_rule(const InShapes& in, size_t x) {
  const Shape* s = in[x];
  if (s == nullptr) return std::optional<PoolShape>();
  TRY(expect_rank_at_least(s, "input", 3));
  PoolShape r;
  TRY_ASSIGN(r.window, window_of(in.node(), s->size() - 2, {}));
  r.out = {(*s)[0], (*s)[1]};
  for (size_t i = 2; i < s->size(); i++) {
    TRY_ASSIGN(const Dim d, r.window.output_size(i - 2, (*s)[i]));
    r.out.push_back(d);
  }
  return std::optional(std::move(r));
}

Status infer_pool(InferContext& ctx) {
  TRY_ASSIGN(auto s, pool_rule(InShapes(ctx)));
  const std::optional<Shape> out = s ? std::optional(std::move(s->out)) : std::nullopt;
  if (ctx.has_output(1)) TRY(ctx.set(1, DType::kInt64, out));
  return ctx.set(0, ctx.dtype(0), out);
}

Result<PoolGeometry> pool_geometry(const InShapes& in, size_t x) {
  TRY_ASSIGN(auto s, pool_rule(in, x));
  if (!s) return invalid("an input is missing");
  PoolGeometry g;
  g.window = std::move(s->window);
  TRY_ASSIGN(g.dims, known_dims(s->out));
  TRY_ASSIGN(const Dims xd, known_dims(*in[x]));
  g.in.assign(xd.begin() + 2, xd.end());
  g.out.assign(g.dims.begin() + 2, g.dims.end());
  const auto planes = checked_mul(xd[0], xd[1]);
  const auto in_size = checked_product(g.in), out_size = checked_product(g.out);
  if (!planes || !in_size || !out_size) return unsupported("a size is too large");
  g.planes = *planes;
  g.in_size = *in_size;
  g.out_size = *out_size;
  return g;
}

void PoolWindows::add() {
  const Window& w = g_.window;
  const size_t rank = pos_.size();
  // Kernel positions [low, high) of each axis that fall on the input, and their input position.
  Dims low(rank), size(rank), start(rank), idx(rank, 0);
  int64_t padded = 1;
  bool empty = false;
  for (size_t i = 0; i < rank; i++) {
    start[i] = pos_[i] * w.strides[i] - w.pads_begin[i];
    const int64_t d = w.dilations[i];
    const int64_t high = std::min(w.kernel[i], floor_div(g_.in[i] - 1 - start[i], d) + 1);
    low[i] = std::max<int64_t>(0, ceil_div(-start[i], d));
    size[i] = high - low[i];
    empty |= size[i] <= 0;
    padded *= std::min(w.kernel[i], floor_div(g_.in[i] + w.pads_end[i] - 1 - start[i], d) + 1);
  }
  if (!empty) {
    do {
      int64_t flat = 0;
      for (size_t i = 0; i < rank; i++)
        flat = flat * g_.in[i] + start[i] + (low[i] + idx[i]) * w.dilations[i];
      taps_.push_back(flat);
    } while (onnxtool::advance(idx, size));
  }
  begin_.push_back(taps_.size());
  padded_.push_back(padded);
}

bool PoolWindows::next() {
  if (g_.planes == 0 || g_.out_size == 0) return false;
  first_ += static_cast<int64_t>(padded_.size());
  taps_.clear();
  padded_.clear();
  begin_.assign(1, 0);
  while (taps_.size() < 16384 && padded_.size() < 4096) {
    const int64_t at = first_ + static_cast<int64_t>(padded_.size());
    if (at >= g_.out_size) break;
    if (at > 0) onnxtool::advance(pos_, g_.out);
    add();
  }
  return !padded_.empty();
}

double pool_mean(std::span<const double> plane, std::span<const int64_t> taps, int64_t padded,
                 bool include_pad) {
  double sum = 0;
  for (int64_t t : taps) sum += plane[static_cast<size_t>(t)];
  const int64_t count = include_pad ? padded : static_cast<int64_t>(taps.size());
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

}  // namespace onnxtool
