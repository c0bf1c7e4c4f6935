// SPDX-License-Identifier: Apache-2.0
// Expand (broadcasting to a shape) and Tile (repetition along axes).
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

constexpr int64_t kMaxPartial = 1024;

Status infer_expand(InferContext& ctx) {
  TRY(expect_rank(ctx, 1, "the target shape", 1));
  const Shape* s = ctx.shape(0);
  const PartialValue* p = ctx.partial(1);
  Shape target;
  if (p != nullptr) {
    target = *p;
  } else {
    const auto n = known_length(ctx, 1);
    if (!n || *n > kMaxPartial) return ctx.set(0, ctx.dtype(0), std::nullopt);
    target.resize(static_cast<size_t>(*n));
  }
  for (const Dim& d : target)
    if (d.is_const() && d.value() < 0)
      return ctx.error(format("the target shape {} has a negative dim", to_string(target)));
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  TRY_ASSIGN(Shape out, broadcast_shapes(*s, target));
  for (size_t i = 0; i < out.size(); ++i) out[i] = or_fresh(ctx, out[i], 0, i);
  const Shape result = out;
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* v = ctx.partial(0);
  if (v == nullptr || result.size() > 1) return ok();
  if (v->size() == 1 && result.size() == 1 && result[0].is_const() &&
      result[0].value() <= kMaxPartial)
    ctx.set_partial(0, PartialValue(static_cast<size_t>(result[0].value()), (*v)[0]));
  else if (result.empty() || result[0].is_const(static_cast<int64_t>(v->size())))
    ctx.set_partial(0, *v);
  return ok();
}

Status eval_expand(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> target = ctx.in(1).to_i64();
  for (int64_t d : target)
    if (d < 0)
      return ctx.error(format("the target shape {} has a negative dim", to_string(target)));
  const auto dims = broadcast_dims(x.dims(), target);
  if (!dims)
    return ctx.error(
        format("shape {} does not broadcast to {}", to_string(x.dims()), to_string(target)));
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), *dims));
  if (out.size() > 0) {
    std::vector<int64_t> from(dims->size(), 0);
    const auto strides = row_major_strides(x.dims());
    const size_t lead = dims->size() - x.dims().size();
    for (size_t i = 0; i < strides.size(); ++i)
      if (x.dims()[i] != 1) from[lead + i] = strides[i];
    copy_strided(out, 0, row_major_strides(*dims), x, 0, from, *dims);
  }
  ctx.set(0, std::move(out));
  return ok();
}

// -------------------------------------------------------------------------------------- Tile
// Version 1 repeats one axis: inputs tiles and axis, scalars of the data's type.
Result<std::vector<int64_t>> repeats_v1(const Tensor& tiles, const Tensor& axis, int64_t rank) {
  if (tiles.size() != 1 || axis.size() != 1) return invalid("tiles and axis must be scalars");
  const auto a = normalize_axis(axis.i64_at(0), rank);
  if (!a) return invalid(format("axis {} is out of range for rank {}", axis.i64_at(0), rank));
  std::vector<int64_t> r(static_cast<size_t>(rank), 1);
  r[static_cast<size_t>(*a)] = tiles.i64_at(0);
  return r;
}

Status infer_tile(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  const int64_t rank = static_cast<int64_t>(s->size());
  PartialValue repeats(s->size());
  if (ctx.version() < 6) {
    const Tensor *tiles = ctx.constant(1), *axis = ctx.constant(2);
    if (tiles != nullptr && axis != nullptr) {
      TRY_ASSIGN(const auto r, repeats_v1(tiles->to_aligned(), axis->to_aligned(), rank));
      repeats.assign(r.begin(), r.end());
    }
  } else {
    TRY(expect_rank(ctx, 1, "repeats", 1));
    if (const PartialValue* p = ctx.partial(1)) repeats = *p;
    if (repeats.size() != s->size() || known_length(ctx, 1).value_or(rank) != rank)
      return ctx.error(format("{} repeats for the input {}", repeats.size(), to_string(*s)));
  }
  Shape out;
  for (size_t i = 0; i < s->size(); ++i) {
    const Dim r = repeats[i];
    if (r.is_const() && r.value() < 0)
      return ctx.error(format("axis {} is repeated {} times", i, r.value()));
    out.push_back(or_fresh(ctx, (*s)[i] * r, 0, i));
  }
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  const PartialValue* v = ctx.partial(0);
  if (v == nullptr || rank != 1 || !repeats[0].is_const()) return ok();
  const auto n = checked_mul(repeats[0].value(), static_cast<int64_t>(v->size()));
  if (!n || *n > kMaxPartial) return ok();
  PartialValue r;
  for (int64_t i = 0; i < repeats[0].value(); ++i) r.insert(r.end(), v->begin(), v->end());
  ctx.set_partial(0, std::move(r));
  return ok();
}

Status eval_tile(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  std::vector<int64_t> repeats;
  if (ctx.version() < 6) {
    TRY_ASSIGN(repeats, repeats_v1(ctx.in(1), ctx.in(2), x.rank()));
  } else {
    repeats = ctx.in(1).to_i64();
  }
  if (repeats.size() != x.dims().size())
    return ctx.error(format("{} repeats for the input {}", repeats.size(), to_string(x.dims())));
  const auto strides = row_major_strides(x.dims());
  Dims dims, loops;
  std::vector<int64_t> from;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const auto d = repeats[i] < 0 ? std::nullopt : checked_mul(repeats[i], x.dims()[i]);
    if (!d) return ctx.error(format("axis {} is repeated {} times", i, repeats[i]));
    dims.push_back(*d);
    loops.insert(loops.end(), {repeats[i], x.dims()[i]});
    from.insert(from.end(), {0, strides[i]});
  }
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  if (out.size() > 0) copy_strided(out, 0, row_major_strides(loops), x, 0, from, loops);
  ctx.set(0, std::move(out));
  return ok();
}

constexpr VersionStep kTileSteps[] = {{6, nullptr, nullptr}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(expand,
             {.name = "Expand", .infer = infer_expand, .eval = eval_expand, .flags = kDataMovement},
             {.name = "Tile",
              .infer = infer_tile,
              .eval = eval_tile,
              .steps = kTileSteps,
              .flags = kDataMovement});
