// SPDX-License-Identifier: Apache-2.0
// Concat and Split: joining along an axis, and cutting along it.
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

constexpr size_t kMaxPartial = 1024;

// Known integers of a join of 1-D inputs.
std::optional<PartialValue> joined_values(const InferContext& ctx) {
  PartialValue r;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (const PartialValue* p = ctx.partial(i)) {
      r.insert(r.end(), p->begin(), p->end());
    } else {
      const auto n = known_length(ctx, i);
      if (!n || *n > static_cast<int64_t>(kMaxPartial)) return std::nullopt;
      r.resize(r.size() + static_cast<size_t>(*n));
    }
    if (r.size() > kMaxPartial) return std::nullopt;
  }
  return r;
}

Status infer_concat(InferContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.error("there is no input");
  const int64_t def = ctx.version() < 4 ? 1 : 0;
  if (ctx.version() >= 4 && ctx.node().attr("axis") == nullptr)
    return ctx.error("attribute 'axis' is missing");
  std::optional<Shape> out;
  int64_t axis = 0;
  bool all = true;
  Dim length = 0;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    const Shape* s = ctx.shape(i);
    if (s == nullptr) {
      all = false;
      continue;
    }
    TRY_ASSIGN(axis, ctx.axis("axis", def, static_cast<int64_t>(s->size())));
    const size_t a = static_cast<size_t>(axis);
    length = length + (*s)[a];
    if (!out) {
      out = *s;
      continue;
    }
    if (out->size() != s->size())
      return ctx.error(
          format("inputs {} and {} have different ranks", to_string(*out), to_string(*s)));
    for (size_t k = 0; k < s->size(); ++k) {
      if (k == a) continue;
      const auto d = unify((*out)[k], (*s)[k]);
      if (!d)
        return ctx.error(format("inputs {} and {} differ in axis {}, only axis {} may differ",
                                to_string(*out), to_string(*s), k, axis));
      (*out)[k] = *d;
    }
  }
  if (out) {
    const size_t a = static_cast<size_t>(axis);
    (*out)[a] = or_fresh(ctx, all ? length : Dim(), 0, a);
  }
  const bool list = out && out->size() == 1 && all;
  TRY(ctx.set(0, ctx.dtype(0), std::move(out)));
  if (list)
    if (auto v = joined_values(ctx)) ctx.set_partial(0, std::move(*v));
  return ok();
}

Status eval_concat(EvalContext& ctx) {
  std::vector<Tensor> parts;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.has(i)) return ctx.error(format("input {} is left out", i));
    parts.push_back(ctx.in(i));
  }
  if (parts.empty()) return ctx.error("there is no input");
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", ctx.version() < 4 ? 1 : 0, parts[0].rank()));
  TRY_ASSIGN(Tensor r, concatenated(ctx, parts, axis));
  ctx.set(0, std::move(r));
  return ok();
}

// ------------------------------------------------------------------------------------- Split
// Sizes of n equal parts; before version 18 they must be equal, since then the last is smaller.
Result<std::vector<Dim>> equal_parts(const Node& node, Dim d, size_t n) {
  std::vector<Dim> r;
  const int64_t parts = static_cast<int64_t>(n);
  if (node.version < 18) {
    if (d.is_const() && d.value() % parts != 0)
      return invalid(format("axis of size {} does not split into {} equal parts", d.text(), n));
    r.assign(n, floor_div(d, parts));
    return r;
  }
  const Dim chunk = ceil_div(d, parts);
  r.assign(n, chunk);
  r.back() = d - chunk * Dim(parts - 1);
  if (r.back().is_const() && r.back().value() < 0)
    return invalid(format("axis of size {} does not split into {} parts", d.text(), n));
  return r;
}

Status check_parts(const Node& node, std::span<const int64_t> split, size_t outputs,
                   std::optional<int64_t> size) {
  if (split.size() != outputs)
    return invalid(format("'split' has {} values, the node has {} outputs", split.size(), outputs));
  int64_t sum = 0;
  for (int64_t v : split) {
    const auto next = v < 0 ? std::nullopt : checked_add(sum, v);
    if (!next) return invalid(format("'split' has the value {}", v));
    sum = *next;
  }
  if (size && sum != *size)
    return invalid(format("the parts {} of {} sum up to {}, the axis has {}", to_string(split),
                          node.op.view(), sum, *size));
  return ok();
}

Status check_num_outputs(const Node& node) {
  const Attribute* a = node.attr("num_outputs");
  if (a == nullptr) return ok();
  const int64_t n = node.attr_int("num_outputs", 0);
  if (n != static_cast<int64_t>(node.num_outputs()))
    return invalid(
        format("attribute 'num_outputs' is {}, the node has {} outputs", n, node.num_outputs()));
  return ok();
}

Status infer_split(InferContext& ctx) {
  const size_t n = ctx.num_outputs();
  if (n == 0) return ctx.error("there is no output");
  TRY(check_num_outputs(ctx.node()));
  const Shape* s = ctx.shape(0);
  auto sizes = known_ints(ctx, 1, "split");
  if (s == nullptr) {
    if (sizes) TRY(check_parts(ctx.node(), *sizes, n, std::nullopt));
    for (size_t i = 0; i < n; ++i) TRY(ctx.set(i, ctx.dtype(0), std::nullopt));
    return ok();
  }
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(s->size())));
  const Dim d = (*s)[static_cast<size_t>(axis)];
  std::vector<Dim> parts(n);
  if (sizes) {
    TRY(check_parts(ctx.node(), *sizes, n, d.is_const() ? std::optional(d.value()) : std::nullopt));
    parts.assign(sizes->begin(), sizes->end());
  } else if (!given(ctx, 1, "split")) {
    TRY_ASSIGN(parts, equal_parts(ctx.node(), d, n));
  } else if (const PartialValue* p = ctx.has_input(1) ? ctx.partial(1) : nullptr) {
    if (p->size() != n)
      return ctx.error(format("'split' has {} values, the node has {} outputs", p->size(), n));
    parts = *p;
  }
  const PartialValue* values = s->size() == 1 ? ctx.partial(0) : nullptr;
  int64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    Shape out = *s;
    out[static_cast<size_t>(axis)] = or_fresh(ctx, parts[i], i, static_cast<size_t>(axis));
    TRY(ctx.set(i, ctx.dtype(0), std::move(out)));
    if (values == nullptr || !parts[i].is_const()) {
      values = nullptr;
      continue;
    }
    const int64_t end = at + parts[i].value();
    if (end > static_cast<int64_t>(values->size())) return ok();
    ctx.set_partial(i, PartialValue(values->begin() + at, values->begin() + end));
    at = end;
  }
  return ok();
}

Status eval_split(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const size_t n = ctx.num_outputs();
  if (n == 0) return ctx.error("there is no output");
  TRY(check_num_outputs(ctx.node()));
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  const int64_t d = x.dims()[static_cast<size_t>(axis)];
  std::vector<int64_t> sizes;
  if (ctx.has(1)) {
    sizes = ctx.in(1).to_i64();  // version 1 has it in the type of the data
  } else if (const auto* attr = ctx.node().attr_ints("split")) {
    sizes = *attr;
  } else {
    TRY_ASSIGN(const auto parts, equal_parts(ctx.node(), d, n));
    for (const Dim& p : parts) sizes.push_back(p.value());
  }
  TRY(check_parts(ctx.node(), sizes, n, d));
  int64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    TRY_ASSIGN(Tensor r, sliced(ctx, x, axis, at, sizes[i]));
    ctx.set(i, std::move(r));
    at += sizes[i];
  }
  return ok();
}

constexpr VersionStep kConcatSteps[] = {
    {4,
     [](Model& m, NodeId n) -> Result<bool> {
       if (m.node(n).attr("axis") == nullptr) m.set_attr(n, Attribute::of("axis", int64_t{1}));
       return true;
     },
     step_same_down},
    {11, step_same_up, [](Model& m, NodeId n) { return lower_negative_axes(m, n, "axis"); }},
};
constexpr VersionStep kSplitSteps[] = {
    // Version 1 has no default for the axis and may take the sizes from an input of the data's
    // type.
    {2,
     [](Model& m, NodeId n) -> Result<bool> {
       return m.node(n).attr("axis") != nullptr && !m.node(n).has_input(1);
     },
     [](Model& m, NodeId n) -> Status {
       m.set_attr(n, Attribute::of("axis", m.node(n).attr_int("axis", 0)));
       return ok();
     }},
    {11, step_same_up, [](Model& m, NodeId n) { return lower_negative_axes(m, n, "axis"); }},
    {13, [](Model& m, NodeId n) { return ints_to_input(m, n, "split", 1); },
     [](Model& m, NodeId n) { return input_to_ints(m, n, 1, "split"); }},
    // Without sizes the meaning changed: parts must be equal before, the last may be smaller since.
    {18, [](Model& m, NodeId n) -> Result<bool> { return m.node(n).has_input(1); },
     [](Model& m, NodeId n) -> Status {
       if (m.node(n).has_input(1)) return ok();
       const Node& node = m.node(n);
       const auto& shape = m.value(node.input(0)).type.shape;
       const auto axis =
           shape ? normalize_axis(node.attr_int("axis", 0), static_cast<int64_t>(shape->size()))
                 : std::nullopt;
       const Dim d = axis ? (*shape)[static_cast<size_t>(*axis)] : Dim();
       if (!d.is_const())
         return unsupported("Split with 'num_outputs' needs an axis of known size before opset 18");
       TRY_ASSIGN(const auto parts, equal_parts(node, d, node.num_outputs()));
       std::vector<int64_t> sizes;
       for (const Dim& p : parts) sizes.push_back(p.value());
       m.remove_attr(n, "num_outputs");
       set_constant_input(m, n, 1, "split", Tensor::ints(sizes));
       return ok();
     }},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(concat,
             {.name = "Concat",
              .infer = infer_concat,
              .eval = eval_concat,
              .steps = kConcatSteps,
              .flags = kDataMovement},
             {.name = "Split",
              .infer = infer_split,
              .eval = eval_split,
              .steps = kSplitSteps,
              .flags = kDataMovement});
