// SPDX-License-Identifier: Apache-2.0
#include "passes/rotary.h"

#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

// v is x[..., half * size / 2 : (half + 1) * size / 2].
bool is_half(const PassContext& ctx, ValueId v, ValueId x, int64_t half, int64_t size,
             std::vector<NodeId>& inner) {
  const int64_t last = 3, middle = size / 2;
  if (const NodeId s = ctx.producer(v, "Slice", 10); s.valid()) {
    const Node& n = ctx.node(s);
    const auto start = ctx.ints(n.input(1)), end = ctx.ints(n.input(2));
    const auto axes = n.has_input(3) ? ctx.ints(n.input(3)) : std::nullopt;
    const auto step = n.has_input(4) ? ctx.ints(n.input(4)) : std::vector<int64_t>{1};
    if (n.input(0) != x || !start || !end || !axes || !step || start->size() != 1 ||
        end->size() != 1 || axes->size() != 1 || *step != std::vector<int64_t>{1})
      return false;
    const int64_t axis = axes->front() < 0 ? axes->front() + 4 : axes->front();
    const auto place = [&](int64_t i) {
      return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size);
    };
    inner.push_back(s);
    return axis == last && place(start->front()) == half * middle &&
           place(end->front()) == (half + 1) * middle;
  }
  const NodeId s = ctx.producer(v, "Split");
  if (!s.valid() || ctx.node(s).input(0) != x || ctx.node(s).num_outputs() != 2) return false;
  const int64_t axis = ctx.node(s).attr_int("axis", 0);
  const Shape* part = ctx.shape(v);
  if (std::find(inner.begin(), inner.end(), s) == inner.end()) inner.push_back(s);
  return (axis == -1 || axis == last) && part && part->back().is_const(middle) &&
         ctx.model().value(v).output_index == half;
}

// Both halves of the last axis of v are the same: it is computed from f beside f.
bool equal_halves(const PassContext& ctx, ValueId v) {
  for (int depth = 0; depth < 8; ++depth) {
    const NodeId p = ctx.model().value(v).producer;
    if (!p.valid()) return false;
    const Node& n = ctx.node(p);
    if (n.is("Concat")) {
      const Shape* s = ctx.shape(v);
      const int64_t axis = n.attr_int("axis", 0);
      return s && n.num_inputs() == 2 && n.input(0) == n.input(1) &&
             (axis == -1 || axis == static_cast<int64_t>(s->size()) - 1);
    }
    if (is_unary_elementwise(ctx, p)) {
      v = n.input(0);
    } else if (const auto c = with_number(ctx, p); c && (n.is("Mul") || n.is("Add"))) {
      v = c->x;
    } else {
      return false;
    }
  }
  return false;
}

// The table [batch, length, size] behind its Unsqueeze to [batch, 1, length, size].
ValueId table_of(const PassContext& ctx, ValueId v) {
  const NodeId u = ctx.producer(v, "Unsqueeze", 13);
  if (!u.valid()) return {};
  const auto axes = ctx.ints(ctx.node(u).input(1));
  const ValueId t = ctx.node(u).input(0);
  const Shape* s = ctx.shape(t);
  if (!axes || axes->size() != 1 || (axes->front() != 1 && axes->front() != -3)) return {};
  return s && s->size() == 3 ? t : ValueId();
}

}  // namespace

std::optional<RotaryParts> rotary_of(const PassContext& ctx, NodeId root, const char*& why) {
  const Node& n = ctx.node(root);
  if (!n.is("Add") || n.version < 7) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const NodeId plain = ctx.producer(n.input(i), "Mul", 7);
    const NodeId turned = ctx.producer(n.input(1 - i), "Mul", 7);
    if (!plain.valid() || !turned.valid()) return std::nullopt;
    for (size_t j = 0; j < 2; ++j) {
      const NodeId cat = ctx.producer(ctx.node(turned).input(j), "Concat");
      if (!cat.valid() || ctx.node(cat).num_inputs() != 2) continue;
      const int64_t axis = ctx.node(cat).attr_int("axis", 0);
      const NodeId neg = ctx.producer(ctx.node(cat).input(0), "Neg");
      if (!neg.valid() || (axis != -1 && axis != 3)) continue;
      for (size_t k = 0; k < 2; ++k) {
        RotaryParts p;
        p.x = ctx.node(plain).input(k);
        const Shape* x = ctx.shape(p.x);
        if (!x || x->size() != 4 || !x->back().is_const() || x->back().value() < 2 ||
            x->back().value() % 2 != 0)
          continue;
        p.size = x->back().value();
        p.inner = {plain, turned, cat, neg};
        if (!is_half(ctx, ctx.node(cat).input(1), p.x, 0, p.size, p.inner) ||
            !is_half(ctx, ctx.node(neg).input(0), p.x, 1, p.size, p.inner))
          continue;
        if (!same_type_and_shape(ctx, p.x, n.output(0))) {
          why = "the tables broadcast it to another shape";
          return std::nullopt;
        }
        p.cos = table_of(ctx, ctx.node(plain).input(1 - k));
        p.sin = table_of(ctx, ctx.node(turned).input(1 - j));
        if (!p.cos.valid() || !p.sin.valid()) {
          why = "the tables are not given for each position";
          return std::nullopt;
        }
        const Shape &c = *ctx.shape(p.cos), &s = *ctx.shape(p.sin);
        if (!same_shape(&c, &s) || c[1] != (*x)[2] || c[2] != x->back()) {
          why = "the tables have not the length and size of the heads";
          return std::nullopt;
        }
        if (!equal_halves(ctx, p.cos) || !equal_halves(ctx, p.sin)) {
          why = "the halves of the tables are not known to be the same";
          return std::nullopt;
        }
        return p;
      }
    }
  }
  return std::nullopt;
}

EditValue first_half(const RotaryParts& p, ValueId table, Edit& edit) {
  const auto one = [&](int64_t v) {
    auto t = Tensor::from_i64(DType::kInt64, {1}, {&v, 1});
    return edit.constant(t.ok() ? std::move(*t) : Tensor());
  };
  return edit.add("Slice", {table, one(0), one(p.size / 2), one(2)});
}

}  // namespace onnxtool
