// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/partial.h"

#include <algorithm>

namespace onnxtool {
namespace {

constexpr size_t kMaxElements = 1024;

}  // namespace

Dim fit_dim(DType t, Dim d) {
  if (!d.is_const() || t == DType::kInt64) return d;
  if (t == DType::kUint64) return d.value() >= 0 ? d : Dim();
  const int64_t high = t == DType::kBool ? 1 : static_cast<int64_t>(int_max_of(t));
  const int64_t low = t == DType::kBool ? 0 : int_min_of(t);
  return d.value() >= low && d.value() <= high ? d : Dim();
}

std::optional<PartialValue> partial_of(const InferContext& ctx, size_t i) {
  if (!ctx.has_input(i)) return std::nullopt;
  if (const PartialValue* p = ctx.partial(i)) {
    PartialValue r = *p;
    if (ctx.dtype(i) == DType::kUint64)  // above int64 the bits are negative
      for (Dim& d : r) d = fit_dim(DType::kUint64, d);
    return r;
  }
  const Tensor* t = ctx.constant(i);
  if (!t || t->dtype() != DType::kBool || t->rank() > 1 ||
      t->size() > static_cast<int64_t>(kMaxElements))
    return std::nullopt;
  PartialValue r;
  for (int64_t k = 0; k < t->size(); ++k) r.emplace_back(t->i64_at(k));
  return r;
}

void map_partial(InferContext& ctx, size_t inputs, DType out,
                 const std::function<Dim(std::span<const Dim>)>& f) {
  if (!is_integer(out) && out != DType::kBool) return;
  std::vector<PartialValue> values;
  size_t n = 1;
  for (size_t i = 0; i < inputs; ++i) {
    const Shape* s = ctx.shape(i);
    if (!s || s->size() > 1) return;
    auto v = partial_of(ctx, i);
    if (!v) {  // unknown elements, where their number is known
      const Dim count = product(*s);
      if (!count.is_const() || count.value() > static_cast<int64_t>(kMaxElements)) return;
      v = PartialValue(static_cast<size_t>(count.value()));
    }
    if (v->size() != 1) n = v->size();
    values.push_back(std::move(*v));
  }
  for (const PartialValue& v : values)
    if (v.size() != 1 && v.size() != n) return;
  if (n > kMaxElements) return;
  PartialValue result;
  bool known = false;
  std::vector<Dim> args(inputs);
  for (size_t k = 0; k < n; ++k) {
    for (size_t i = 0; i < inputs; ++i) args[i] = values[i][values[i].size() == 1 ? 0 : k];
    result.push_back(fit_dim(out, f(args)));
    known |= !result.back().is_unknown();
  }
  if (known || n == 0) ctx.set_partial(0, std::move(result));
}

void map_partial(InferContext& ctx, Dim (*f)(Dim)) {
  map_partial(ctx, 1, ctx.dtype(0), [f](std::span<const Dim> a) { return f(a[0]); });
}

void map_partial(InferContext& ctx, Dim (*f)(Dim, Dim)) {
  map_partial(ctx, 2, ctx.dtype(0), [f](std::span<const Dim> a) { return f(a[0], a[1]); });
}

}  // namespace onnxtool
