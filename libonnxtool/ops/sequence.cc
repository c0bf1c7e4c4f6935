// SPDX-License-Identifier: Apache-2.0
// Sequences of tensors: construction, access, and conversion from and to tensors.
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/body_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// Element type of a sequence input; unknown when it is not known; error for another kind.
Result<Type> element_of(const InferContext& ctx, size_t i) {
  const Type& t = ctx.input(i);
  if (!t.known()) return Type::unknown();
  if (t.kind != TypeKind::kSequence) return ctx.error(format("input {} is no sequence", t.text()));
  return t.inner ? *t.inner : Type::unknown();
}

Status set_sequence(InferContext& ctx, const Type& element) {
  return element.known() ? ctx.set(0, Type::sequence(element)) : ok();
}

// What holds for both elements; error when their element types differ.
Result<Type> common(const InferContext& ctx, const Type& a, const Type& b) {
  if (!a.known() || !b.known()) return a.known() ? a : b;
  if (a.kind != b.kind ||
      (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined))
    return ctx.error(format("a sequence cannot hold both {} and {}", a.text(), b.text()));
  return join(a, b);
}

Result<const Sequence*> sequence_in(const EvalContext& ctx, size_t i) {
  if (!ctx.has(i) || ctx.datum(i).kind != TypeKind::kSequence || !ctx.datum(i).seq)
    return ctx.error(format("input {} is no sequence", i));
  return ctx.datum(i).seq.get();
}

DType dtype_of(const Datum& sequence) {
  if (sequence.seq && !sequence.seq->empty()) return sequence.seq->front().tensor.dtype();
  return sequence.elem;
}

// Position from the optional input; `def` when it is absent; count may be addressed if `past_end`.
Result<int64_t> position(const EvalContext& ctx, size_t input, int64_t count, int64_t def,
                         bool past_end) {
  if (!ctx.has(input)) return def;
  if (ctx.in(input).size() != 1) return ctx.error("position is not one element");
  const int64_t p = ctx.in(input).i64_at(0);
  if (p < -count || p >= count + (past_end ? 1 : 0))
    return ctx.error(format("position {} is out of range for a sequence of {}", p, count));
  return p < 0 ? p + count : p;
}

Status infer_construct(InferContext& ctx) {
  Type element;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.input(i).known()) return ok();
    TRY_ASSIGN(element, common(ctx, element, ctx.input(i)));
  }
  return set_sequence(ctx, element);
}

Status eval_construct(EvalContext& ctx) {
  Sequence s;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.has(i) || !ctx.datum(i).is_tensor())
      return ctx.error(format("input {} is no tensor", i));
    s.push_back(ctx.datum(i));
  }
  const DType type = s.empty() ? DType::kUndefined : s[0].tensor.dtype();
  ctx.set(0, Datum::sequence(std::move(s), type));
  return ok();
}

Status infer_empty(InferContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kFloat));
  return ctx.set(0, Type::sequence(Type::tensor(t)));
}

Status eval_empty(EvalContext& ctx) {
  TRY_ASSIGN(const DType t, dtype_attr(ctx.node(), "dtype", DType::kFloat));
  ctx.set(0, Datum::sequence({}, t));
  return ok();
}

Status infer_insert(InferContext& ctx) {
  TRY_ASSIGN(const Type element, element_of(ctx, 0));
  if (!element.known() || !ctx.input(1).known()) return set_sequence(ctx, Type::unknown());
  TRY_ASSIGN(const Type both, common(ctx, element, ctx.input(1)));
  return set_sequence(ctx, both);
}

Status eval_insert(EvalContext& ctx) {
  TRY_ASSIGN(const Sequence* from, sequence_in(ctx, 0));
  const int64_t n = static_cast<int64_t>(from->size());
  TRY_ASSIGN(const int64_t at, position(ctx, 2, n, n, true));
  Sequence s = *from;
  const DType type = ctx.in(1).dtype();
  if (const DType have = dtype_of(ctx.datum(0)); have != DType::kUndefined && have != type)
    return ctx.error(format("a sequence of {} cannot hold {}", dtype_name(have), dtype_name(type)));
  s.insert(s.begin() + at, ctx.datum(1));
  ctx.set(0, Datum::sequence(std::move(s), type));
  return ok();
}

Status infer_erase(InferContext& ctx) {
  TRY_ASSIGN(const Type element, element_of(ctx, 0));
  return set_sequence(ctx, element);
}

Status eval_erase(EvalContext& ctx) {
  TRY_ASSIGN(const Sequence* from, sequence_in(ctx, 0));
  const int64_t n = static_cast<int64_t>(from->size());
  if (n == 0) return ctx.error("the sequence is empty");
  TRY_ASSIGN(const int64_t at, position(ctx, 1, n, n - 1, false));
  Sequence s = *from;
  s.erase(s.begin() + at);
  ctx.set(0, Datum::sequence(std::move(s), dtype_of(ctx.datum(0))));
  return ok();
}

Status infer_at(InferContext& ctx) {
  TRY_ASSIGN(const Type element, element_of(ctx, 0));
  return element.known() ? ctx.set(0, element) : ok();
}

Status eval_at(EvalContext& ctx) {
  TRY_ASSIGN(const Sequence* from, sequence_in(ctx, 0));
  TRY_ASSIGN(const int64_t at, position(ctx, 1, static_cast<int64_t>(from->size()), 0, false));
  if (from->empty()) return ctx.error("the sequence is empty");
  ctx.set(0, (*from)[static_cast<size_t>(at)]);
  return ok();
}

Status infer_length(InferContext& ctx) {
  TRY(element_of(ctx, 0));
  return ctx.set(0, DType::kInt64, Shape{});
}

Status eval_length(EvalContext& ctx) {
  TRY_ASSIGN(const Sequence* from, sequence_in(ctx, 0));
  ctx.set(0, Tensor::scalar<int64_t>(static_cast<int64_t>(from->size())));
  return ok();
}

// --------------------------------------------------------------------------- SplitToSequence
Status infer_split(InferContext& ctx) {
  const Shape* s = ctx.shape(0);
  const bool keep = ctx.has_input(1) || ctx.node().attr_int("keepdims", 1) != 0;
  if (ctx.dtype(0) == DType::kUndefined) return ok();
  if (s == nullptr) return set_sequence(ctx, Type::tensor(ctx.dtype(0)));
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(s->size())));
  Shape element = *s;
  Dim& d = element[static_cast<size_t>(axis)];
  const Dim size = d;
  d = Dim();
  if (!ctx.has_input(1)) {
    d = 1;
  } else if (const auto parts = ctx.ints(1)) {
    const Shape* ps = ctx.shape(1);
    const bool scalar = ps != nullptr && ps->empty();
    int64_t sum = 0;
    bool equal = true;
    for (int64_t p : *parts) {
      const auto next = p < 0 || (scalar && p == 0) ? std::nullopt : checked_add(sum, p);
      if (!next) return ctx.error(format("'split' has the value {}", p));
      sum = *next;
      equal &= p == (*parts)[0];
    }
    if (ps != nullptr && !scalar && size.is_const() && sum != size.value())
      return ctx.error(format("the parts sum up to {}, the axis has {}", sum, size.value()));
    const bool divides = scalar && size.is_const() && size.value() % (*parts)[0] == 0;
    if (!parts->empty() && (divides || (ps != nullptr && !scalar && equal))) d = (*parts)[0];
  }
  if (!keep) element.erase(element.begin() + axis);
  return set_sequence(ctx, Type::tensor(ctx.dtype(0), std::move(element)));
}

Status eval_split(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  const int64_t size = x.dims()[static_cast<size_t>(axis)];
  const bool keep = ctx.has(1) || ctx.node().attr_int("keepdims", 1) != 0;
  std::vector<int64_t> parts;
  if (ctx.has(1) && ctx.in(1).rank() == 1) {
    parts = ctx.in(1).to_i64();
  } else {
    if (ctx.has(1) && ctx.in(1).size() != 1) return ctx.error("'split' is neither scalar nor 1-D");
    const int64_t chunk = ctx.has(1) ? ctx.in(1).i64_at(0) : 1;
    if (chunk <= 0) return ctx.error(format("'split' has the value {}", chunk));
    for (int64_t at = 0; at < size; at += std::min(chunk, size - at)) {
      TRY(ctx.host().step());
      parts.push_back(std::min(chunk, size - at));
    }
  }
  int64_t at = 0;
  Sequence s;
  for (int64_t p : parts) {
    if (p < 0 || p > size - at)
      return ctx.error(format("'split' has the value {}, {} are left", p, size - at));
    TRY_ASSIGN(Tensor t, sliced(ctx, x, axis, at, p));
    if (!keep) {
      Dims dims = t.dims();
      dims.erase(dims.begin() + axis);
      t = t.reshaped(std::move(dims));
    }
    s.emplace_back(std::move(t));
    at += p;
  }
  if (at != size) return ctx.error(format("the parts sum up to {}, the axis has {}", at, size));
  ctx.set(0, Datum::sequence(std::move(s), x.dtype()));
  return ok();
}

// ------------------------------------------------------------------------ ConcatFromSequence
Result<bool> new_axis(const Node& node) {
  if (node.attr("axis") == nullptr) return invalid("attribute 'axis' is missing");
  const int64_t v = node.attr_int("new_axis", 0);
  if (v != 0 && v != 1) return invalid(format("attribute 'new_axis' is {}, 0 or 1 expected", v));
  return v == 1;
}

Status infer_concat(InferContext& ctx) {
  TRY_ASSIGN(const bool stack, new_axis(ctx.node()));
  TRY_ASSIGN(const Type element, element_of(ctx, 0));
  if (!element.is_tensor()) return ok();
  if (!element.shape) return ctx.set(0, element.dtype, std::nullopt);
  const int64_t rank = static_cast<int64_t>(element.shape->size()) + (stack ? 1 : 0);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, rank));
  Shape out = *element.shape;
  if (stack) out.insert(out.begin() + axis, Dim());
  for (size_t i = 0; i < out.size(); ++i)
    if (i == static_cast<size_t>(axis)) out[i] = ctx.fresh(0, i);
  return ctx.set(0, element.dtype, std::move(out));
}

Status eval_concat(EvalContext& ctx) {
  TRY_ASSIGN(const bool stack, new_axis(ctx.node()));
  TRY_ASSIGN(const Sequence* from, sequence_in(ctx, 0));
  if (from->empty()) return ctx.error("an empty sequence cannot be concatenated");
  std::vector<Tensor> parts;
  for (const Datum& d : *from) {
    if (!d.is_tensor()) return ctx.error("the sequence holds something else than tensors");
    parts.push_back(d.tensor);
  }
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, parts[0].rank() + (stack ? 1 : 0)));
  if (stack) {
    TRY_ASSIGN(Tensor t, stacked(ctx, parts, axis, Type()));
    ctx.set(0, std::move(t));
  } else {
    TRY_ASSIGN(Tensor t, concatenated(ctx, parts, axis));
    ctx.set(0, std::move(t));
  }
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(sequence,
             {.name = "SequenceConstruct", .infer = infer_construct, .eval = eval_construct},
             {.name = "SequenceEmpty", .infer = infer_empty, .eval = eval_empty},
             {.name = "SequenceInsert", .infer = infer_insert, .eval = eval_insert},
             {.name = "SequenceErase", .infer = infer_erase, .eval = eval_erase},
             {.name = "SequenceAt", .infer = infer_at, .eval = eval_at},
             {.name = "SequenceLength", .infer = infer_length, .eval = eval_length},
             {.name = "SplitToSequence", .infer = infer_split, .eval = eval_split},
             {.name = "ConcatFromSequence", .infer = infer_concat, .eval = eval_concat});
