// SPDX-License-Identifier: Apache-2.0
// Optional values: construction, test and access.
#include <memory>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/op.h"

namespace onnxtool {
namespace {

const Type* type_attribute(const Node& node) {
  const Attribute* a = node.attr("type");
  return a != nullptr && a->type == AttrType::kTypeProto ? std::get_if<Type>(&a->value) : nullptr;
}

Status infer_optional(InferContext& ctx) {
  const Type* t = type_attribute(ctx.node());
  if (ctx.has_input(0))
    return ctx.input(0).known() ? ctx.set(0, Type::optional(ctx.input(0))) : ok();
  if (t == nullptr) return ctx.error("neither input nor attribute 'type' is there");
  return ctx.set(0, Type::optional(*t));
}

Status eval_optional(EvalContext& ctx) {
  const Type* t = type_attribute(ctx.node());
  if (ctx.has(0)) {
    const Datum& d = ctx.datum(0);
    const DType elem = d.is_tensor() ? d.tensor.dtype() : d.elem;
    ctx.set(0, Datum::optional(std::make_shared<const Datum>(d), elem));
    return ok();
  }
  if (t == nullptr) return ctx.error("neither input nor attribute 'type' is there");
  const bool nested = t->kind == TypeKind::kSequence && t->inner;
  ctx.set(0, Datum::optional(nullptr, nested ? t->inner->dtype : t->dtype));
  return ok();
}

Status infer_get(InferContext& ctx) {
  const Type& t = ctx.input(0);
  if (!t.known()) return ok();
  if (t.kind != TypeKind::kOptional) return ctx.set(0, t);
  return t.inner && t.inner->known() ? ctx.set(0, *t.inner) : ok();
}

Status eval_get(EvalContext& ctx) {
  const Datum& d = ctx.datum(0);
  if (d.kind != TypeKind::kOptional) {
    ctx.set(0, d);
    return ok();
  }
  if (!d.opt) return ctx.error("the optional is empty");
  ctx.set(0, *d.opt);
  return ok();
}

Status infer_has(InferContext& ctx) {
  TRY(ctx.set(0, DType::kBool, Shape{}));
  const TypeKind kind = ctx.has_input(0) ? ctx.input(0).kind : TypeKind::kUnknown;
  if (!ctx.has_input(0))
    ctx.set_partial(0, {Dim(0)});
  else if (kind == TypeKind::kTensor || kind == TypeKind::kSequence)
    ctx.set_partial(0, {Dim(1)});
  return ok();
}

Status eval_has(EvalContext& ctx) {
  const bool full = ctx.has(0) && (ctx.datum(0).kind != TypeKind::kOptional || ctx.datum(0).opt);
  ctx.set(0, Tensor::scalar<bool>(full));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(optional, {.name = "Optional", .infer = infer_optional, .eval = eval_optional},
             {.name = "OptionalGetElement", .infer = infer_get, .eval = eval_get},
             {.name = "OptionalHasElement", .infer = infer_has, .eval = eval_has});
