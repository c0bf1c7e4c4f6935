// SPDX-License-Identifier: Apache-2.0
// NonMaxSuppression: greedy selection of boxes by score, per batch and class.
#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Status infer_nms(InferContext& ctx) {
  const int64_t center = ctx.node().attr_int("center_point_box", 0);
  if (center != 0 && center != 1)
    return ctx.error(format("attribute 'center_point_box' is {}, 0 or 1 expected", center));
  TRY(expect_rank(ctx, 0, "boxes", 3));
  TRY(expect_rank(ctx, 1, "scores", 3));
  const Shape *boxes = ctx.shape(0), *scores = ctx.shape(1);
  if (boxes != nullptr && Dim::differ((*boxes)[2], 4))
    return ctx.error(format("boxes {} have not four coordinates", to_string(*boxes)));
  if (boxes != nullptr && scores != nullptr &&
      (Dim::differ((*boxes)[0], (*scores)[0]) || Dim::differ((*boxes)[1], (*scores)[2])))
    return ctx.error(
        format("boxes {} and scores {} do not fit", to_string(*boxes), to_string(*scores)));
  for (size_t i = 2; i < 5; ++i)
    if (known_length(ctx, i).value_or(1) > 1) return ctx.error(format("input {} is no scalar", i));
  return ctx.set(0, DType::kInt64, Shape{ctx.fresh(0, 0), 3});
}

struct Box {
  float x0, y0, x1, y1;
  float area() const { return (x1 - x0) * (y1 - y0); }
};

// Single precision, as boxes are: a threshold is often met exactly.
Box box_at(const float* p, bool center) {
  if (center) return {p[0] - p[2] / 2, p[1] - p[3] / 2, p[0] + p[2] / 2, p[1] + p[3] / 2};
  return {std::min(p[1], p[3]), std::min(p[0], p[2]), std::max(p[1], p[3]), std::max(p[0], p[2])};
}

bool overlaps(const Box& a, const Box& b, float threshold) {
  const float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  const float h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(w > 0) || !(h > 0)) return false;
  const float common = w * h, all = a.area() + b.area() - common;
  if (!(common > 0) || !(a.area() > 0) || !(b.area() > 0) || !(all > 0)) return false;
  return common / all > threshold;
}

Status eval_nms(EvalContext& ctx) {
  const Tensor &boxes = ctx.in(0), &scores = ctx.in(1);
  if (boxes.rank() != 3 || scores.rank() != 3 || boxes.dims()[2] != 4 ||
      boxes.dims()[0] != scores.dims()[0] || boxes.dims()[1] != scores.dims()[2])
    return ctx.error(format("boxes {} and scores {} do not fit", to_string(boxes.dims()),
                            to_string(scores.dims())));
  auto present = [&](size_t i) { return ctx.has(i) && ctx.in(i).size() > 0; };
  const int64_t most = present(2) ? std::max<int64_t>(0, ctx.in(2).i64_at(0)) : 0;
  const float iou = present(3) ? static_cast<float>(ctx.in(3).f64_at(0)) : 0;
  const bool limited = present(4);
  const float least = limited ? static_cast<float>(ctx.in(4).f64_at(0)) : 0;
  const bool center = ctx.node().attr_int("center_point_box", 0) == 1;
  const int64_t batches = scores.dims()[0], classes = scores.dims()[1], count = scores.dims()[2];
  const std::span<const float> b = boxes.as<float>(), s = scores.as<float>();
  std::vector<int64_t> selected;
  for (int64_t k = 0; k < batches * classes && most > 0 && count > 0; ++k) {
    const float* score = s.data() + k * count;
    const float* box = b.data() + k / classes * count * 4;
    std::vector<int64_t> order;
    for (int64_t i = 0; i < count; ++i)
      if (!limited || score[i] > least) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
      const float x = score[i], y = score[j];
      return y != y ? x == x : x > y;  // NaN last, so that the order is one
    });
    std::vector<Box> kept;
    for (int64_t i : order) {
      if (static_cast<int64_t>(kept.size()) >= most) break;
      TRY(ctx.host().step());
      const Box next = box_at(box + i * 4, center);
      if (std::any_of(kept.begin(), kept.end(),
                      [&](const Box& o) { return overlaps(next, o, iou); }))
        continue;
      kept.push_back(next);
      selected.insert(selected.end(), {k / classes, k % classes, i});
    }
  }
  const int64_t n = static_cast<int64_t>(selected.size()) / 3;
  return ctx.set_i64(0, DType::kInt64, {n, 3}, selected);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(non_max_suppression, {.name = "NonMaxSuppression",
                                   .infer = infer_nms,
                                   .eval = eval_nms,
                                   .flags = kManyReads});
