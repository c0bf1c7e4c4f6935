// SPDX-License-Identifier: Apache-2.0
#include "passes/attention_mask.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/util.h"

namespace onnxtool {
namespace {

constexpr int kDeepest = 12;
constexpr double kInf = std::numeric_limits<double>::infinity();

// The lowest number of the type hides a key as -inf does: ONNX Runtime's Attention takes it so.
double lowest(DType t) { return t == DType::kFloat16 ? -65504 : -3.4028234e38; }

MaskForm opposite(MaskForm f) { return f == MaskForm::kSees ? MaskForm::kHides : MaskForm::kSees; }

// The source of a node that only puts dims of 1 in front, or repeats along these.
ValueId without_leading(const PassContext& ctx, ValueId v) {
  for (const char* op : {"Unsqueeze", "Reshape", "Expand", "Squeeze"}) {
    const NodeId n = ctx.producer(v, op);
    if (!n.valid()) continue;
    const Shape *a = ctx.shape(ctx.node(n).input(0)), *b = ctx.shape(v);
    if (!a || !b || a->size() < 2 || b->size() < 2) return {};
    const auto tail = [](const Shape& s, size_t i) { return s[s.size() - i]; };
    if (tail(*a, 1) != tail(*b, 1) || tail(*a, 2) != tail(*b, 2)) return {};
    for (size_t i = 3; i <= a->size(); ++i)
      if (!tail(*a, i).is_const(1)) return {};
    return ctx.node(n).input(0);
  }
  return {};
}

// 0, 1, 2... along the axis counted from the last (1), all other dims 1.
bool counts(const PassContext& ctx, ValueId v, size_t axis) {
  const Shape* s = ctx.shape(v);
  if (!s || s->size() < axis) return false;
  for (size_t i = 1; i <= s->size(); ++i)
    if (i != axis && !(*s)[s->size() - i].is_const(1)) return false;
  for (int depth = 0; depth < kDeepest; ++depth) {
    const NodeId range = ctx.producer(v, "Range");
    if (range.valid())
      return number(ctx, ctx.node(range).input(0)) == 0.0 &&
             number(ctx, ctx.node(range).input(2)) == 1.0;
    NodeId moved;
    for (const char* op : {"Unsqueeze", "Reshape", "Squeeze", "Cast"})
      if (!moved.valid()) moved = ctx.producer(v, op);
    if (!moved.valid() || !is_integer(ctx.type(v).dtype)) return false;
    v = ctx.node(moved).input(0);
  }
  return false;
}

// Rows of [..., keys, keys]: whether element (i, j) is `low` where j <= i and else `high`.
bool is_triangle(const Tensor& t, double low, double high) {
  if (t.rank() < 2 || t.dims().back() != t.dims()[t.dims().size() - 2] || t.size() == 0)
    return false;
  const auto n = static_cast<size_t>(t.dims().back());
  const std::vector<double> v = t.to_aligned().to_f64();
  for (size_t at = 0; at < v.size(); ++at)
    if (v[at] != (at % n <= at / n % n ? low : high)) return false;
  return true;
}

// What being true, or not 0, says where that is the order of key and query.
std::optional<MaskForm> triangle(const PassContext& ctx, ValueId v, int depth = 0) {
  if (!v.valid() || depth > kDeepest) return std::nullopt;
  if (const Tensor* t = ctx.model().constant(v)) {
    if (t->is_string() || t->size() > (1 << 22)) return std::nullopt;
    if (is_triangle(*t, 1, 0)) return MaskForm::kSees;
    if (is_triangle(*t, 0, 1)) return MaskForm::kHides;
    return std::nullopt;
  }
  const NodeId id = ctx.model().value(v).producer;
  if (!id.valid() || ctx.node(id).version == 0 || !ctx.node(id).domain.view().empty())
    return std::nullopt;
  const Node& n = ctx.node(id);
  const auto flipped = [&](ValueId x) -> std::optional<MaskForm> {
    const auto f = triangle(ctx, x, depth + 1);
    return f ? std::optional(opposite(*f)) : std::nullopt;
  };
  if (n.is("Not")) return flipped(n.input(0));
  if (n.is("Cast")) return triangle(ctx, n.input(0), depth + 1);
  if (n.is("Equal")) return number(ctx, n.input(1)) == 0.0 ? flipped(n.input(0)) : std::nullopt;
  if (n.is("Trilu")) {
    const bool upper = n.attr_int("upper", 1) != 0;
    const auto k = n.has_input(1) ? number(ctx, n.input(1)) : 0.0;
    ValueId filled = n.input(0);
    if (const NodeId e = ctx.producer(filled, "Expand"); e.valid()) filled = ctx.node(e).input(0);
    auto value = uniform(ctx, filled);
    if (const NodeId c = ctx.producer(filled, "ConstantOfShape"); c.valid()) {
      const Tensor* t = ctx.node(c).attr_tensor("value");
      value = t ? uniform(*t) : 0.0;
    }
    if (!value || *value == 0 || std::isnan(*value) || k != (upper ? 1.0 : 0.0))
      return std::nullopt;
    return upper ? MaskForm::kHides : MaskForm::kSees;
  }
  const bool orders = n.is("GreaterOrEqual") || n.is("Less");
  if (orders || n.is("LessOrEqual") || n.is("Greater")) {
    const bool query_first = counts(ctx, n.input(0), 2) && counts(ctx, n.input(1), 1);
    const bool key_first = counts(ctx, n.input(0), 1) && counts(ctx, n.input(1), 2);
    if (query_first == key_first || orders != query_first) return std::nullopt;
    return n.is("GreaterOrEqual") || n.is("LessOrEqual") ? MaskForm::kSees : MaskForm::kHides;
  }
  const ValueId inner = without_leading(ctx, v);
  return inner.valid() ? triangle(ctx, inner, depth + 1) : std::nullopt;
}

// No element is larger in magnitude; infinite: not known.
double magnitude(const PassContext& ctx, ValueId v, int depth = 0) {
  if (!v.valid() || depth > kDeepest) return kInf;
  if (const Tensor* t = ctx.model().constant(v)) {
    if (t->is_string() || t->size() > (1 << 22)) return kInf;
    double most = 0;
    for (double x : t->to_aligned().to_f64())
      most = std::isnan(x) ? kInf : std::max(most, std::fabs(x));
    return most < -lowest(t->dtype()) ? most : kInf;
  }
  const DType type = ctx.type(v).dtype;
  if (type == DType::kBool || is_integer(type)) return 1;
  const NodeId id = ctx.model().value(v).producer;
  if (!id.valid() || ctx.node(id).version == 0 || !ctx.node(id).domain.view().empty()) return kInf;
  const Node& n = ctx.node(id);
  const auto in = [&](size_t i) { return magnitude(ctx, n.input(i), depth + 1); };
  double r = kInf;
  if (n.is("Add") || n.is("Sub"))
    r = in(0) + in(1);
  else if (n.is("Mul"))
    r = in(0) * in(1);
  else if (n.is("Where"))
    r = std::max(in(1), in(2));
  else
    for (const char* op : {"Cast", "Unsqueeze", "Reshape", "Expand", "Slice", "Squeeze", "Gather",
                           "Transpose", "Neg", "Trilu"})
      if (n.is(op)) r = in(0);
  return r < -lowest(type) ? r : kInf;
}

}  // namespace

std::optional<BooleanMask> boolean_mask(const PassContext& ctx, ValueId added) {
  const NodeId where = ctx.producer(added, "Where");
  if (!where.valid()) return std::nullopt;
  const Node& n = ctx.node(where);
  const auto a = uniform(ctx, n.input(1)), b = uniform(ctx, n.input(2));
  if (!same_shape(ctx.shape(n.input(0)), ctx.shape(added))) return std::nullopt;
  if (a == 0.0 && b == -kInf) return BooleanMask{n.input(0), MaskForm::kSees};
  if (a == -kInf && b == 0.0) return BooleanMask{n.input(0), MaskForm::kHides};
  return std::nullopt;
}

bool is_causal(const PassContext& ctx, ValueId mask, MaskForm form) {
  if (form != MaskForm::kAdded) return triangle(ctx, mask) == form;
  if (const Tensor* t = ctx.model().constant(mask))
    return is_float_type(t->dtype()) && t->size() <= (1 << 22) && is_triangle(*t, 0, -kInf);
  if (const auto b = boolean_mask(ctx, mask)) return triangle(ctx, b->mask) == b->form;
  if (const ValueId inner = without_leading(ctx, mask); inner.valid())
    return is_causal(ctx, inner, form);
  const NodeId trilu = ctx.producer(mask, "Trilu");
  if (!trilu.valid()) return false;
  ValueId filled = ctx.node(trilu).input(0);
  if (const NodeId e = ctx.producer(filled, "Expand"); e.valid()) filled = ctx.node(e).input(0);
  auto value = uniform(ctx, filled);
  if (const NodeId c = ctx.producer(filled, "ConstantOfShape"); c.valid())
    if (const Tensor* t = ctx.node(c).attr_tensor("value")) value = uniform(*t);
  return value == -kInf && triangle(ctx, mask) == MaskForm::kHides;
}

bool hides_nothing(const PassContext& ctx, ValueId mask) {
  return std::isfinite(magnitude(ctx, mask));
}

bool hides_all(const Tensor& mask) {
  if (!is_float_type(mask.dtype()) || mask.rank() == 0 || mask.size() == 0) return false;
  const std::vector<double> v = mask.to_aligned().to_f64();
  const auto row = static_cast<size_t>(mask.dims().back());
  for (size_t at = 0; at < v.size(); at += row)
    if (std::all_of(v.data() + at, v.data() + at + row,
                    [&](double x) { return x <= lowest(mask.dtype()); }))
      return true;
  return false;
}

bool every_query_sees(const PassContext& ctx, ValueId mask, MaskForm form) {
  if (is_causal(ctx, mask, form)) return true;
  if (form != MaskForm::kAdded) {
    const Tensor* t = ctx.model().constant(mask);
    if (!t || t->dtype() != DType::kBool || t->rank() == 0 || t->size() == 0) return false;
    const std::vector<double> v = t->to_aligned().to_f64();
    const auto row = static_cast<size_t>(t->dims().back());
    const double sees = form == MaskForm::kSees ? 1 : 0;
    for (size_t at = 0; at < v.size(); at += row)
      if (std::find(v.data() + at, v.data() + at + row, sees) == v.data() + at + row) return false;
    return true;
  }
  if (const Tensor* t = ctx.model().constant(mask)) return !hides_all(*t);
  if (hides_nothing(ctx, mask)) return true;
  const auto b = boolean_mask(ctx, mask);
  return b && every_query_sees(ctx, b->mask, b->form);
}

}  // namespace onnxtool
