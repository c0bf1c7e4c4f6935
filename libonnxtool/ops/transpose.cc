// SPDX-License-Identifier: Apache-2.0
// Transpose; DepthToSpace and SpaceToDepth, which are transpositions of a 6-D view.
#include <numeric>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// Attribute perm, checked against the rank; reversed order when absent.
Result<std::vector<int64_t>> permutation(const Node& node, size_t rank) {
  const auto* attr = node.attr_ints("perm");
  std::vector<int64_t> perm(rank);
  if (attr == nullptr) {
    std::iota(perm.rbegin(), perm.rend(), 0);
    return perm;
  }
  std::vector<bool> seen(rank, false);
  bool good = attr->size() == rank;
  for (size_t i = 0; good && i < rank; ++i) {
    const int64_t p = (*attr)[i];
    good = p >= 0 && p < static_cast<int64_t>(rank) && !seen[static_cast<size_t>(p)];
    if (good) seen[static_cast<size_t>(p)] = true;
  }
  if (!good)
    return invalid(format("attribute 'perm' {} is no permutation of the {} axes",
                          to_string(std::span<const int64_t>(*attr)), rank));
  return *attr;
}

Status infer_transpose(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) {
    const auto* perm = ctx.node().attr_ints("perm");
    if (perm == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
    TRY(permutation(ctx.node(), perm->size()));
    return ctx.set(0, ctx.dtype(0), Shape(perm->size()));
  }
  TRY_ASSIGN(const auto perm, permutation(ctx.node(), s->size()));
  Shape out;
  for (int64_t p : perm) out.push_back((*s)[static_cast<size_t>(p)]);
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* p = ctx.partial(0);
  if (p != nullptr && s->size() <= 1) ctx.set_partial(0, *p);
  return ok();
}

Status eval_transpose(EvalContext& ctx) {
  TRY_ASSIGN(const auto perm, permutation(ctx.node(), ctx.in(0).dims().size()));
  TRY_ASSIGN(Tensor r, transposed(ctx, ctx.in(0), perm));
  ctx.set(0, std::move(r));
  return ok();
}

// ------------------------------------------------------------------ depth to space and back
Result<int64_t> block_size(const Node& node) {
  const int64_t b = node.attr_int("blocksize", 0);
  if (b <= 0) return invalid(format("attribute 'blocksize' is {}, it must be positive", b));
  if (!checked_mul(b, b)) return invalid(format("attribute 'blocksize' {} is too large", b));
  return b;
}

Status infer_blocks(InferContext& ctx, bool to_space) {
  TRY_ASSIGN(const int64_t b, block_size(ctx.node()));
  TRY(choice(ctx.node(), "mode", "DCR", {"DCR", "CRD"}));
  TRY(expect_rank(ctx, 0, "input", 4));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), Shape(4));
  auto divided = [&](size_t axis, int64_t by) -> Result<Dim> {
    const Dim d = (*s)[axis];
    if (d.is_const() && d.value() % by != 0)
      return ctx.error(
          format("axis {} of the input {} does not divide by {}", axis, to_string(*s), by));
    return floor_div(d, by);
  };
  Shape out = *s;
  if (to_space) {
    TRY_ASSIGN(out[1], divided(1, b * b));
    out[2] = out[2] * Dim(b);
    out[3] = out[3] * Dim(b);
  } else {
    out[1] = out[1] * Dim(b * b);
    TRY_ASSIGN(out[2], divided(2, b));
    TRY_ASSIGN(out[3], divided(3, b));
  }
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status infer_depth_to_space(InferContext& ctx) { return infer_blocks(ctx, true); }
Status infer_space_to_depth(InferContext& ctx) { return infer_blocks(ctx, false); }

Status eval_blocks(EvalContext& ctx, bool to_space) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t b, block_size(ctx.node()));
  TRY_ASSIGN(const size_t mode, choice(ctx.node(), "mode", "DCR", {"DCR", "CRD"}));
  const Dims& d = x.dims();
  const int64_t square = b * b;
  if (d.size() != 4 || (to_space ? d[1] % square != 0 : (d[2] % b != 0 || d[3] % b != 0)))
    return ctx.error(format("input {} does not divide into blocks of {}", to_string(d), b));
  const bool dcr = mode == 0;
  if (to_space) {
    const int64_t c = d[1] / square;
    const Dims view = dcr ? Dims{d[0], b, b, c, d[2], d[3]} : Dims{d[0], c, b, b, d[2], d[3]};
    const int64_t perm_dcr[] = {0, 3, 4, 1, 5, 2}, perm_crd[] = {0, 1, 4, 2, 5, 3};
    TRY_ASSIGN(Tensor r, transposed(ctx, x.reshaped(view), dcr ? perm_dcr : perm_crd));
    ctx.set(0, r.reshaped({d[0], c, d[2] * b, d[3] * b}));
    return ok();
  }
  const Dims view{d[0], d[1], d[2] / b, b, d[3] / b, b};
  const int64_t perm_dcr[] = {0, 3, 5, 1, 2, 4}, perm_crd[] = {0, 1, 3, 5, 2, 4};
  TRY_ASSIGN(Tensor r, transposed(ctx, x.reshaped(view), dcr ? perm_dcr : perm_crd));
  const auto depth = checked_mul(d[1], square);
  if (!depth) return ctx.error("the depth of the result overflows");
  ctx.set(0, r.reshaped({d[0], *depth, d[2] / b, d[3] / b}));
  return ok();
}

Status eval_depth_to_space(EvalContext& ctx) { return eval_blocks(ctx, true); }
Status eval_space_to_depth(EvalContext& ctx) { return eval_blocks(ctx, false); }

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    transpose,
    {.name = "Transpose", .infer = infer_transpose, .eval = eval_transpose, .flags = kDataMovement},
    {.name = "DepthToSpace",
     .infer = infer_depth_to_space,
     .eval = eval_depth_to_space,
     .flags = kDataMovement},
    {.name = "SpaceToDepth",
     .infer = infer_space_to_depth,
     .eval = eval_space_to_depth,
     .flags = kDataMovement});
