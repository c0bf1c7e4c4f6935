// SPDX-License-Identifier: Apache-2.0
// Det and (com.microsoft) Inverse: Gaussian elimination with partial pivoting, batch by batch.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

Status check_square(const InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ok();
  if (s->size() < 2 || Dim::differ((*s)[s->size() - 2], s->back()))
    return ctx.error(format("input {} holds no square matrices", to_string(*s)));
  return ok();
}

bool square(const Tensor& x) {
  return x.rank() >= 2 && x.dims()[x.dims().size() - 2] == x.dims().back();
}

Status infer_det(InferContext& ctx) {
  TRY(check_square(ctx));
  const Shape* s = ctx.shape(0);
  if (s == nullptr) return ctx.set(0, ctx.dtype(0), std::nullopt);
  return ctx.set(0, ctx.dtype(0), Shape(s->begin(), s->end() - 2));
}

// Brings [a | b] (rows of length n + m) to the identity on the left; gives the determinant of a.
double eliminate(std::span<double> rows, size_t n, size_t m) {
  const size_t width = n + m;
  double det = 1;
  for (size_t c = 0; c < n; ++c) {
    size_t pivot = c;
    for (size_t r = c + 1; r < n; ++r)
      if (std::fabs(rows[r * width + c]) > std::fabs(rows[pivot * width + c])) pivot = r;
    const double p = rows[pivot * width + c];
    det *= pivot == c ? p : -p;
    if (p == 0) return 0;
    if (pivot != c)
      std::swap_ranges(&rows[c * width], &rows[c * width] + width, &rows[pivot * width]);
    for (size_t r = m > 0 ? 0 : c + 1; r < n; ++r) {
      if (r == c) continue;
      const double f = rows[r * width + c] / p;
      if (f == 0) continue;
      for (size_t k = c; k < width; ++k) rows[r * width + k] -= f * rows[c * width + k];
    }
    for (size_t k = m > 0 ? c : width; k < width; ++k) rows[c * width + k] /= p;
  }
  return det;
}

Status eval_det(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (!square(x))
    return ctx.error(format("input {} holds no square matrices", to_string(x.dims())));
  const size_t n = static_cast<size_t>(x.dims().back());
  const Dims dims(x.dims().begin(), x.dims().end() - 2);
  std::vector<double> v = x.to_f64();
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), dims));
  std::vector<double> r(static_cast<size_t>(out.size()));
  for (size_t i = 0; i < r.size(); ++i)
    r[i] = eliminate(std::span(v).subspan(i * n * n, n * n), n, 0);
  store_f64(out, 0, r);
  ctx.set(0, std::move(out));
  return ok();
}

Status infer_inverse(InferContext& ctx) {
  TRY(check_square(ctx));
  const Shape* s = ctx.shape(0);
  return ctx.set(0, ctx.dtype(0), s ? std::optional(*s) : std::nullopt);
}

Status eval_inverse(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  if (!square(x))
    return ctx.error(format("input {} holds no square matrices", to_string(x.dims())));
  const size_t n = static_cast<size_t>(x.dims().back());
  const std::vector<double> v = x.to_f64();
  std::vector<double> r(v.size()), rows(2 * n * n);
  for (size_t at = 0; at < v.size(); at += n * n) {
    for (size_t i = 0; i < n; ++i)
      for (size_t k = 0; k < n; ++k) {
        rows[i * 2 * n + k] = v[at + i * n + k];
        rows[i * 2 * n + n + k] = i == k ? 1 : 0;
      }
    if (eliminate(rows, n, n) == 0) return ctx.error("a matrix is singular");
    for (size_t i = 0; i < n; ++i)
      for (size_t k = 0; k < n; ++k) r[at + i * n + k] = rows[i * 2 * n + n + k];
  }
  return ctx.set_f64(0, x.dtype(), x.dims(), r);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    det, {.name = "Det", .infer = infer_det, .eval = eval_det, .flags = kManyReads},
    {.name = "Inverse", .domain = "com.microsoft", .infer = infer_inverse, .eval = eval_inverse});
