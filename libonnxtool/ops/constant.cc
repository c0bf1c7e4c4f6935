// SPDX-License-Identifier: Apache-2.0
// Constant in all its forms.
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

constexpr const char* kForms[] = {"value",     "sparse_value", "value_float",  "value_floats",
                                  "value_int", "value_ints",   "value_string", "value_strings"};

// The one attribute that holds the value; null where it refers to a function's attribute.
Result<const Attribute*> value_attr(const Node& node) {
  const Attribute* found = nullptr;
  for (const char* form : kForms) {
    const Attribute* a = node.attr(form);
    if (!a) continue;
    if (found) return invalid(format("attributes '{}' and '{}' are both there", found->name, form));
    found = a;
  }
  if (!found) return invalid("no value attribute");
  return found->ref.empty() ? found : nullptr;
}

// The dense tensor of a sparse one: `indices` hold linear positions [n] or coordinates [n, rank].
Result<Tensor> densify(EvalContext& ctx, const SparseTensor& sparse) {
  const Tensor values = sparse.values.tensor.to_aligned();
  const Tensor& indices = sparse.indices.tensor;
  const auto rank = static_cast<int64_t>(sparse.dims.size());
  const bool linear = indices.rank() == 1;
  if (values.rank() != 1 || indices.dtype() != DType::kInt64 ||
      indices.size() != values.size() * (linear ? 1 : rank))
    return ctx.error(format("sparse tensor has {} values and indices of shape {}", values.size(),
                            to_string(indices.dims())));
  TRY_ASSIGN(Tensor r, ctx.allocate(values.dtype(), sparse.dims));
  const std::vector<int64_t> at = indices.to_i64();
  for (int64_t k = 0; k < values.size(); ++k) {
    int64_t flat = linear ? at[static_cast<size_t>(k)] : 0;
    for (int64_t d = 0; !linear && d < rank; ++d) {
      const int64_t i = at[static_cast<size_t>(k * rank + d)],
                    n = sparse.dims[static_cast<size_t>(d)];
      if (i < 0 || i >= n) return ctx.error(format("sparse index {} is outside of {}", i, n));
      flat = flat * n + i;
    }
    if (flat < 0 || flat >= r.size())
      return ctx.error(format("sparse index {} is outside of {}", flat, r.size()));
    copy_element(r, flat, values, k);
  }
  return r;
}

template <typename T>
Tensor vector_of(const std::vector<T>& v) {
  return Tensor::of<T>({static_cast<int64_t>(v.size())}, std::span<const T>(v));
}

Status eval_constant(EvalContext& ctx) {
  TRY_ASSIGN(const Attribute* a, value_attr(ctx.node()));
  if (!a) return ctx.error("the value is an attribute of a function that was not given");
  switch (a->type) {
    case AttrType::kTensor: ctx.set(0, a->t().to_aligned()); return ok();
    case AttrType::kFloat: ctx.set(0, Tensor::scalar(a->f())); return ok();
    case AttrType::kInt: ctx.set(0, Tensor::scalar(a->i())); return ok();
    case AttrType::kFloats: ctx.set(0, vector_of(a->floats())); return ok();
    case AttrType::kInts: ctx.set(0, Tensor::ints(a->ints())); return ok();
    case AttrType::kString: ctx.set(0, Tensor::strings({}, {a->s()})); return ok();
    case AttrType::kStrings:
      ctx.set(0, Tensor::strings({static_cast<int64_t>(a->strings().size())}, a->strings()));
      return ok();
    case AttrType::kSparseTensor: {
      TRY_ASSIGN(Tensor t, densify(ctx, a->sparse()));
      ctx.set(0, std::move(t));
      return ok();
    }
    default: return ctx.error(format("attribute '{}' has an unexpected type", a->name));
  }
}

Status infer_constant(InferContext& ctx) {
  TRY_ASSIGN(const Attribute* a, value_attr(ctx.node()));
  if (!a) return ok();
  const auto vector_type = [&](DType t, size_t n) {
    return ctx.set(0, t, Shape{static_cast<int64_t>(n)});
  };
  switch (a->type) {
    case AttrType::kTensor: {
      const Tensor& t = a->t();
      TRY(ctx.set(0, t.dtype(), to_shape(t.dims())));
      if (!is_integer(t.dtype()) || t.rank() > 1 || t.size() > 1024) return ok();
      PartialValue p;
      for (int64_t v : t.to_i64()) p.emplace_back(v);
      ctx.set_partial(0, std::move(p));
      return ok();
    }
    case AttrType::kFloat: return ctx.set(0, DType::kFloat, Shape{});
    case AttrType::kInt:
      TRY(ctx.set(0, DType::kInt64, Shape{}));
      ctx.set_partial(0, {a->i()});
      return ok();
    case AttrType::kString: return ctx.set(0, DType::kString, Shape{});
    case AttrType::kFloats: return vector_type(DType::kFloat, a->floats().size());
    case AttrType::kStrings: return vector_type(DType::kString, a->strings().size());
    case AttrType::kInts:
      TRY(vector_type(DType::kInt64, a->ints().size()));
      if (a->ints().size() <= 1024)
        ctx.set_partial(0, PartialValue(a->ints().begin(), a->ints().end()));
      return ok();
    case AttrType::kSparseTensor: {
      const auto& sparse = a->sparse();
      if (!checked_product(sparse.dims))
        return ctx.error(format("sparse tensor has the shape {}", to_string(sparse.dims)));
      return ctx.set(0, sparse.values.tensor.dtype(), to_shape(sparse.dims));
    }
    default: return ctx.error(format("attribute '{}' has an unexpected type", a->name));
  }
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(constant, {.name = "Constant", .infer = infer_constant, .eval = eval_constant})
