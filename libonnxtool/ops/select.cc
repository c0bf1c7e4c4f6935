// SPDX-License-Identifier: Apache-2.0
// NonZero, Compress, Unique: results whose size depends on the data.
#include <algorithm>
#include <numeric>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/order_util.h"

namespace onnxtool {
namespace {

Status infer_non_zero(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const Dim rank = s ? Dim(static_cast<int64_t>(s->size())) : Dim();
  return ctx.set(0, DType::kInt64, Shape{or_fresh(ctx, rank, 0, 0), ctx.fresh(0, 1)});
}

Status eval_non_zero(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const auto mask = nonzero_mask(x);
  const int64_t n = std::count(mask.begin(), mask.end(), true);
  TRY_ASSIGN(Tensor out, ctx.allocate(DType::kInt64, {x.rank(), n}));
  if (out.size() > 0) {
    const std::span<int64_t> to = out.mut<int64_t>();
    std::vector<int64_t> idx(x.dims().size(), 0);
    int64_t column = 0;
    for (size_t i = 0; i < mask.size(); ++i, onnxtool::advance(idx, x.dims())) {
      if (!mask[i]) continue;
      for (size_t d = 0; d < idx.size(); ++d)
        to[d * static_cast<size_t>(n) + static_cast<size_t>(column)] = idx[d];
      ++column;
    }
  }
  ctx.set(0, std::move(out));
  return ok();
}

// ---------------------------------------------------------------------------------- Compress
Status infer_compress(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  TRY(expect_rank(ctx, 1, "condition", 1));
  Dim selected;
  if (const Tensor* c = ctx.constant(1)) {
    const auto mask = nonzero_mask(c->to_aligned());
    selected = static_cast<int64_t>(std::count(mask.begin(), mask.end(), true));
  }
  if (ctx.node().attr("axis") == nullptr)
    return ctx.set(0, ctx.dtype(0), Shape{or_fresh(ctx, selected, 0, 0)});
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(s->size())));
  Shape out = *s;
  out[static_cast<size_t>(axis)] = or_fresh(ctx, selected, 0, static_cast<size_t>(axis));
  return ctx.set(0, ctx.dtype(0), std::move(out));
}

Status eval_compress(EvalContext& ctx) {
  Tensor x = ctx.in(0);
  size_t axis = 0;
  if (ctx.node().attr("axis") == nullptr) {
    x = x.reshaped({x.size()});
  } else {
    TRY_ASSIGN(const int64_t a, ctx.axis("axis", 0, x.rank()));
    axis = static_cast<size_t>(a);
  }
  const auto mask = nonzero_mask(ctx.in(1));
  const int64_t size = x.dims()[axis];
  std::vector<int64_t> rows;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (!mask[i]) continue;
    if (static_cast<int64_t>(i) >= size)
      return ctx.error(format("condition selects row {} of {}", i, size));
    rows.push_back(static_cast<int64_t>(i));
  }
  TRY_ASSIGN(Tensor out, picked_rows(ctx, x, axis, rows));
  ctx.set(0, std::move(out));
  return ok();
}

// ------------------------------------------------------------------------------------ Unique
Status infer_unique(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const Dim n = ctx.fresh(0, 0);
  const bool flat = ctx.node().attr("axis") == nullptr;
  Dim length;
  if (flat) {
    TRY(ctx.set(0, ctx.dtype(0), Shape{n}));
    if (s != nullptr) length = product(*s);
  } else if (s != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(s->size())));
    Shape out = *s;
    length = out[static_cast<size_t>(axis)];
    out[static_cast<size_t>(axis)] = n;
    TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  } else {
    TRY(ctx.set(0, ctx.dtype(0), std::nullopt));
  }
  TRY(ctx.set(1, DType::kInt64, Shape{n}));
  TRY(ctx.set(2, DType::kInt64, Shape{length}));
  return ctx.set(3, DType::kInt64, Shape{n});
}

// Equal rows (along axis 0) as groups, numbered in order of their value or of their first row.
struct Groups {
  std::vector<int64_t> first;   // of each group: its first row
  std::vector<int64_t> counts;  // of each group: how many rows
  std::vector<int64_t> of_row;  // of each row: its group
};

Groups groups_of(const Tensor& rows, bool sorted) {
  const size_t count = static_cast<size_t>(rows.dims()[0]);
  const OrderKeys k = order_keys(rows);
  const size_t width = count == 0 ? 0 : k.keys.size() / count;
  auto row = [&](size_t i) { return std::span(k.keys).subspan(i * width, width); };
  auto less = [&](size_t a, size_t b) {
    const auto x = row(a), y = row(b);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  };
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), less);
  Groups g;
  g.of_row.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (i == 0 || less(order[i - 1], order[i])) {
      g.first.push_back(static_cast<int64_t>(order[i]));
      g.counts.push_back(0);
    }
    ++g.counts.back();
    g.of_row[order[i]] = static_cast<int64_t>(g.first.size()) - 1;
  }
  if (sorted) return g;
  std::vector<size_t> by_first(g.first.size());
  std::iota(by_first.begin(), by_first.end(), size_t{0});
  std::sort(by_first.begin(), by_first.end(),
            [&](size_t a, size_t b) { return g.first[a] < g.first[b]; });
  Groups r;
  std::vector<int64_t> rank(by_first.size());
  for (size_t old : by_first) {
    rank[old] = static_cast<int64_t>(r.first.size());
    r.first.push_back(g.first[old]);
    r.counts.push_back(g.counts[old]);
  }
  for (int64_t i : g.of_row) r.of_row.push_back(rank[static_cast<size_t>(i)]);
  return r;
}

Status eval_unique(EvalContext& ctx) {
  Tensor x = ctx.in(0);
  const bool sorted = ctx.node().attr_int("sorted", 1) != 0;
  size_t axis = 0;
  Tensor rows;
  if (ctx.node().attr("axis") == nullptr) {
    rows = x = x.reshaped({x.size()});
  } else {
    // The axis goes first, so that a subtensor is one run of elements.
    TRY_ASSIGN(const int64_t a, ctx.axis("axis", 0, x.rank()));
    axis = static_cast<size_t>(a);
    std::vector<int64_t> perm{a};
    for (int64_t i = 0; i < x.rank(); ++i)
      if (i != a) perm.push_back(i);
    TRY_ASSIGN(rows, transposed(ctx, x, perm));
  }
  // Rows without elements may be more than memory holds.
  if (rows.size() == 0) TRY(ctx.allocate(DType::kInt64, {rows.dims()[0], 4}));
  const Groups g = groups_of(rows, sorted);
  TRY_ASSIGN(Tensor out, picked_rows(ctx, x, axis, g.first));
  ctx.set(0, std::move(out));
  ctx.set(1, Tensor::ints(g.first));
  ctx.set(2, Tensor::ints(g.of_row));
  ctx.set(3, Tensor::ints(g.counts));
  return ok();
}

// The contributed operator: a 1-D input, groups by first occurrence; outputs values, groups,
// counts.
Status infer_ms_unique(InferContext& ctx) {
  TRY(expect_rank(ctx, 0, "input", 1));
  const Shape* s = ctx.shape(0);
  const Dim n = ctx.fresh(0, 0);
  TRY(ctx.set(0, ctx.dtype(0), Shape{n}));
  TRY(ctx.set(1, DType::kInt64, s ? *s : Shape{Dim()}));
  return ctx.set(2, DType::kInt64, Shape{n});
}

Status eval_ms_unique(EvalContext& ctx) {
  const Tensor x = ctx.in(0).reshaped({ctx.in(0).size()});
  const Groups g = groups_of(x, false);
  TRY_ASSIGN(Tensor out, picked_rows(ctx, x, 0, g.first));
  ctx.set(0, std::move(out));
  ctx.set(1, Tensor::ints(g.of_row));
  ctx.set(2, Tensor::ints(g.counts));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    select, {.name = "NonZero", .infer = infer_non_zero, .eval = eval_non_zero},
    {.name = "Compress", .infer = infer_compress, .eval = eval_compress, .flags = kDataMovement},
    {.name = "Unique", .infer = infer_unique, .eval = eval_unique, .flags = kManyReads},
    {.name = "Unique",
     .domain = "com.microsoft",
     .infer = infer_ms_unique,
     .eval = eval_ms_unique,
     .flags = kManyReads});
