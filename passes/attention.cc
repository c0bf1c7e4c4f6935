// SPDX-License-Identifier: Apache-2.0
#include "passes/attention.h"

#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

using Perm = std::vector<int64_t>;

// v, or what it is a multiple of by one number; the number goes into `scale`.
ValueId without_scale(const PassContext& ctx, ValueId v, double& scale,
                      std::vector<NodeId>& nodes) {
  for (int i = 0; i < 4; ++i) {
    const NodeId mul = ctx.producer(v, "Mul", 7), div = ctx.producer(v, "Div", 7);
    const NodeId n = mul.valid() ? mul : div;
    const auto c = with_number(ctx, n);
    if (!c || (div.valid() && (c->index != 0 || c->number == 0))) return v;
    scale = div.valid() ? scale / c->number : scale * c->number;
    nodes.push_back(n);
    v = c->x;
  }
  return v;
}

// The scores are a multiple of a MatMul.
bool read_scores(const PassContext& ctx, ValueId v, AttentionParts& p) {
  const size_t nodes = p.inner.size();
  double scale = 1;
  const NodeId product = ctx.producer(without_scale(ctx, v, scale, p.inner), "MatMul");
  if (!product.valid()) {
    p.inner.resize(nodes);
    return false;
  }
  p.inner.push_back(product);
  p.scale = scale;
  // A factor of an operand may have other users: it is not computed again.
  std::vector<NodeId> factors;
  p.q = without_scale(ctx, ctx.node(product).input(0), p.scale, factors);
  p.k_transposed = without_scale(ctx, ctx.node(product).input(1), p.scale, factors);
  return true;
}

std::optional<PackedHeads> packed_heads(const PassContext& ctx, ValueId v, const Perm& perm) {
  const NodeId t = ctx.producer(v, "Transpose");
  if (!t.valid()) return std::nullopt;
  const auto* p = ctx.node(t).attr_ints("perm");
  if (!p || *p != perm) return std::nullopt;
  const ValueId split = ctx.node(t).input(0);
  const NodeId r = ctx.producer(split, "Reshape");
  if (!r.valid()) return std::nullopt;
  const ValueId source = ctx.node(r).input(0);
  const Shape *a = ctx.shape(source), *b = ctx.shape(split);
  if (!a || !b || a->size() != 3 || b->size() != 4) return std::nullopt;
  if ((*a)[0] != (*b)[0] || (*a)[1] != (*b)[1]) return std::nullopt;
  if (!(*a)[2].is_const() || !(*b)[2].is_const() || !(*b)[3].is_const()) return std::nullopt;
  if ((*b)[2].value() < 1 || (*b)[2].value() * (*b)[3].value() != (*a)[2].value())
    return std::nullopt;
  return PackedHeads{source, (*b)[2].value(), (*b)[3].value()};
}

// One of three parts that a Reshape and a Transpose put in front, as timm, torchvision and Paddle
// write self-attention.
std::optional<PackedHeads> packed_part(const PassContext& ctx, ValueId v) {
  const NodeId gather = ctx.producer(v, "Gather");
  if (!gather.valid() || ctx.node(gather).attr_int("axis", 0) != 0) return std::nullopt;
  const Tensor* index = ctx.model().constant(ctx.node(gather).input(1));
  const NodeId t = ctx.producer(ctx.node(gather).input(0), "Transpose");
  if (!index || index->rank() != 0 || !t.valid()) return std::nullopt;
  const auto* perm = ctx.node(t).attr_ints("perm");
  const NodeId r = ctx.producer(ctx.node(t).input(0), "Reshape");
  if (!perm || *perm != Perm{2, 0, 3, 1, 4} || !r.valid()) return std::nullopt;
  const ValueId source = ctx.node(r).input(0);
  const Shape *a = ctx.shape(source), *b = ctx.shape(ctx.node(t).input(0));
  if (!a || !b || a->size() != 3 || b->size() != 5) return std::nullopt;
  if ((*a)[0] != (*b)[0] || (*a)[1] != (*b)[1] || !(*b)[2].is_const(3)) return std::nullopt;
  if (!(*a)[2].is_const() || !(*b)[3].is_const() || !(*b)[4].is_const()) return std::nullopt;
  const int64_t heads = (*b)[3].value(), size = (*b)[4].value();
  if (heads < 1 || size < 1 || (*a)[2].value() != 3 * heads * size) return std::nullopt;
  const auto part = number(ctx, ctx.node(gather).input(1));
  if (!part || *part < 0 || *part > 2) return std::nullopt;
  return PackedHeads{source, heads, size, static_cast<int64_t>(*part)};
}

// v repeats each head of the result a few times: [b, h, l, d] -> [b, h, 1, l, d] -> [b, h, g, l, d]
// -> [b, h * g, l, d].
ValueId unrepeated(const PassContext& ctx, ValueId v) {
  const NodeId merge = ctx.producer(v, "Reshape");
  if (!merge.valid()) return {};
  const NodeId expand = ctx.producer(ctx.node(merge).input(0), "Expand");
  if (!expand.valid()) return {};
  const ValueId thin = ctx.node(expand).input(0);
  NodeId split = ctx.producer(thin, "Unsqueeze");
  if (!split.valid()) split = ctx.producer(thin, "Reshape");
  if (!split.valid()) return {};
  const ValueId few = ctx.node(split).input(0);
  const Shape *a = ctx.shape(few), *b = ctx.shape(thin), *c = ctx.shape(ctx.node(merge).input(0)),
              *d = ctx.shape(v);
  if (!a || !b || !c || !d || a->size() != 4 || b->size() != 5 || c->size() != 5 || d->size() != 4)
    return {};
  const auto at = [](const Shape& s, size_t i) { return s[i]; };
  if (!at(*a, 1).is_const() || !at(*c, 2).is_const() || !at(*d, 1).is_const() ||
      !at(*b, 2).is_const(1) || at(*a, 1).value() * at(*c, 2).value() != at(*d, 1).value())
    return {};
  for (size_t i = 0; i < 4; ++i) {
    const size_t k = i < 2 ? i : i + 1;
    if (at(*a, i) != at(*b, k) || at(*a, i) != at(*c, k) || (i != 1 && at(*a, i) != at(*d, i)))
      return {};
  }
  return few;
}

// The new keys or values come behind those of the past, and but for graph outputs nothing reads
// them together that does not lead to `end` alone, nor does that lead elsewhere.
std::optional<Cache> cache_of(const PassContext& ctx, ValueId v, ValueId end) {
  const Model& m = ctx.model();
  const NodeId concat = ctx.producer(v, "Concat");
  if (!concat.valid() || m.value(v).use_count != 1) return std::nullopt;
  for (ValueId x = v; x != end;) {
    x = ctx.node(m.uses(x).front().node).output(0);
    if (!m.sole_use(x)) return std::nullopt;
  }
  const Node& n = ctx.node(concat);
  const int64_t axis = n.attr_int("axis", 0);
  if (n.num_inputs() != 2 || (axis != 2 && axis != -2)) return std::nullopt;
  return Cache{concat, n.input(0), n.input(1)};
}

// The probabilities of the scores: without casts around the Softmax, and without what makes 0 of
// those that are no numbers.
NodeId read_softmax(const PassContext& ctx, ValueId v, AttentionParts& p) {
  if (const NodeId where = ctx.producer(v, "Where"); where.valid()) {
    const Node& n = ctx.node(where);
    const NodeId asked = ctx.producer(n.input(0), "IsNaN");
    if (!asked.valid() || ctx.node(asked).input(0) != n.input(2) ||
        uniform(ctx, n.input(1)) != 0.0 || !same_shape(ctx.shape(v), ctx.shape(n.input(2))))
      return {};
    p.inner.insert(p.inner.end(), {where, asked});
    p.guarded = true;
    v = n.input(2);
  }
  const DType type = ctx.type(v).dtype;
  if (const NodeId cast = ctx.producer(v, "Cast"); cast.valid()) {
    p.inner.push_back(cast);
    v = ctx.node(cast).input(0);
    p.softmax_type = ctx.type(v).dtype;
  }
  const NodeId softmax = ctx.producer(v, "Softmax", 13);
  if (!softmax.valid()) return {};
  p.inner.push_back(softmax);
  if (p.softmax_type != DType::kUndefined) {
    const NodeId cast = ctx.producer(ctx.node(softmax).input(0), "Cast");
    const bool wider = p.softmax_type == DType::kFloat || p.softmax_type == DType::kDouble;
    if (!cast.valid() || !wider || ctx.type(ctx.node(cast).input(0)).dtype != type) return {};
    p.inner.push_back(cast);
  }
  return softmax;
}

// What hides every key to a query is a number so low that all others vanish beside it.
bool hides(double fill, DType type) {
  return fill <= -1e9 || (type == DType::kFloat16 && fill <= -60000);
}

// Masks on the way from the Softmax to a product, at most one of each kind.
bool read_masks(const PassContext& ctx, ValueId v, AttentionParts& p, const char*& why) {
  const Shape* shape = ctx.shape(v);
  for (int layers = 0; layers < 3; ++layers) {
    if (read_scores(ctx, v, p)) return true;
    if (const NodeId where = ctx.producer(v, "Where"); where.valid() && !p.condition.valid()) {
      const Node& n = ctx.node(where);
      for (size_t i : {1U, 2U}) {
        const auto fill = uniform(ctx, n.input(3 - i));
        if (!fill || !hides(*fill, ctx.type(v).dtype)) continue;
        p.condition = n.input(0);
        p.condition_form = i == 1 ? MaskForm::kSees : MaskForm::kHides;
        p.hidden = *fill;
        v = n.input(i);
      }
      if (!p.condition.valid()) return false;
      p.inner.push_back(where);
    } else if (const NodeId add = ctx.producer(v, "Add", 7); add.valid() && !p.mask.valid()) {
      const Node& n = ctx.node(add);
      const auto is_scores =
          [&](ValueId x) {  // a product, maybe a multiple, maybe with a condition
            AttentionParts probe;
            const NodeId where = ctx.producer(x, "Where");
            return read_scores(ctx, x, probe) ||
                   (where.valid() && (read_scores(ctx, ctx.node(where).input(1), probe) ||
                                      read_scores(ctx, ctx.node(where).input(2), probe)));
          };
      const size_t i = is_scores(n.input(0)) ? 0 : 1;
      p.mask = n.input(1 - i);
      v = n.input(i);
      p.inner.push_back(add);
    } else {
      return false;
    }
    if (!same_shape(ctx.shape(v), shape)) {
      why = "the mask broadcasts the scores to another shape";
      return false;
    }
  }
  return false;
}

void read_result(const PassContext& ctx, ValueId y, AttentionParts& p) {
  const NodeId t = ctx.sole_user(y);
  if (!t.valid() || !ctx.is(t, "Transpose")) return;
  const auto* perm = ctx.node(t).attr_ints("perm");
  if (!perm || *perm != Perm{0, 2, 1, 3}) return;
  const NodeId r = ctx.sole_user(ctx.node(t).output(0));
  if (!r.valid() || !ctx.is(r, "Reshape") || ctx.node(r).input(0) != ctx.node(t).output(0)) return;
  const Shape *a = ctx.shape(ctx.node(t).output(0)), *b = ctx.shape(ctx.node(r).output(0));
  if (!a || !b || a->size() != 4 || b->size() != 3) return;
  if ((*a)[0] != (*b)[0] || (*a)[1] != (*b)[1]) return;
  if (!(*a)[2].is_const() || !(*a)[3].is_const() || !(*b)[2].is_const() ||
      (*a)[2].value() * (*a)[3].value() != (*b)[2].value())
    return;
  p.transpose = t;
  p.reshape = r;
}

}  // namespace

std::optional<AttentionParts> attention_of(const PassContext& ctx, NodeId root, const char*& why) {
  const Node& n = ctx.node(root);
  if (!n.is("MatMul")) return std::nullopt;
  AttentionParts p;
  p.v = n.input(1);
  const NodeId softmax = read_softmax(ctx, n.input(0), p);
  if (!softmax.valid()) return std::nullopt;
  const ValueId scores =
      ctx.node(p.softmax_type == DType::kUndefined ? softmax : p.inner.back()).input(0);
  const Shape* shape = ctx.shape(scores);
  if (!shape || shape->size() != 4) return std::nullopt;
  const int64_t axis = ctx.node(softmax).attr_int("axis", -1);
  if (axis != -1 && axis != 3) return std::nullopt;
  if (!read_masks(ctx, scores, p, why)) return std::nullopt;
  if (const Tensor* mask = p.mask.valid() ? ctx.model().constant(p.mask) : nullptr;
      mask && !p.guarded && hides_all(*mask)) {
    why = kMaySeeNoKey;
    return std::nullopt;
  }
  const Shape *q = ctx.shape(p.q), *k = ctx.shape(p.k_transposed), *v = ctx.shape(p.v);
  if (!q || !k || !v || q->size() != 4 || k->size() != 4 || v->size() != 4) return std::nullopt;
  for (size_t i = 0; i < 2; ++i)
    if ((*q)[i] != (*k)[i] || (*q)[i] != (*v)[i]) {
      why = "query, key and value are not known to have the same batch and heads";
      return std::nullopt;
    }
  // That the sizes which are summed over fit is what the MatMul nodes ask for.
  const DType type = ctx.type(n.output(0)).dtype;
  if (!is_float_type(type) || ctx.type(p.q).dtype != type || ctx.type(p.v).dtype != type ||
      ctx.type(p.k_transposed).dtype != type)
    return std::nullopt;
  p.q3 = packed_heads(ctx, p.q, {0, 2, 1, 3});
  p.k3 = packed_heads(ctx, p.k_transposed, {0, 2, 3, 1});
  p.v3 = packed_heads(ctx, p.v, {0, 2, 1, 3});
  if (!p.q3) p.q3 = packed_part(ctx, p.q);
  if (!p.v3) p.v3 = packed_part(ctx, p.v);
  if (const NodeId t = ctx.producer(p.k_transposed, "Transpose"); t.valid()) {
    const auto* perm = ctx.node(t).attr_ints("perm");
    if (perm && *perm == Perm{0, 1, 3, 2}) p.k = ctx.node(t).input(0);
  }
  if (p.k.valid()) {
    if (!p.k3) p.k3 = packed_part(ctx, p.k);
    p.few_k = unrepeated(ctx, p.k);
    p.few_v = unrepeated(ctx, p.v);
    if (!p.few_k.valid() || !p.few_v.valid() ||
        (*ctx.shape(p.few_k))[1] != (*ctx.shape(p.few_v))[1])
      p.few_k = p.few_v = ValueId();
    const ValueId all_k = p.few_k.valid() ? p.few_k : p.k;
    const ValueId all_v = p.few_v.valid() ? p.few_v : p.v;
    p.past_k = cache_of(ctx, all_k, p.k_transposed);
    p.past_v = cache_of(ctx, all_v, p.v);
    const auto length = [&](ValueId x) {
      const Shape* s = ctx.shape(x);
      return s && s->size() == 4 ? (*s)[2] : Dim();
    };
    // That both together are as long does not say that their parts are.
    if (!p.past_k || !p.past_v || length(p.past_k->past) != length(p.past_v->past) ||
        length(p.past_k->now) != length(p.past_v->now))
      p.past_k = p.past_v = std::nullopt;
    p.own_k = packed_heads(ctx, p.past_k ? p.past_k->now : all_k, {0, 2, 1, 3});
    p.own_v = packed_heads(ctx, p.past_v ? p.past_v->now : all_v, {0, 2, 1, 3});
  }
  read_result(ctx, n.output(0), p);
  return p;
}

std::optional<std::array<EditValue, 3>> packed_operands(const AttentionParts& p, Edit& edit) {
  if (!p.q3 || !p.k3 || !p.v3) return std::nullopt;
  if (p.q3->part < 0 && p.k3->part < 0 && p.v3->part < 0)
    return std::array<EditValue, 3>{p.q3->packed, p.k3->packed, p.v3->packed};
  if (p.q3->part < 0 || p.k3->part < 0 || p.v3->part < 0 || p.q3->packed != p.k3->packed ||
      p.q3->packed != p.v3->packed)
    return std::nullopt;
  const int64_t each = p.q3->heads * p.q3->size;
  auto sizes = Tensor::from_i64(DType::kInt64, {3}, std::array<int64_t, 3>{each, each, each});
  if (!sizes.ok()) return std::nullopt;
  EditValue split = edit.add("Split", {p.q3->packed, edit.constant(std::move(*sizes))},
                             {Attribute::of("axis", int64_t{2})});
  edit.nodes.back().num_outputs = 3;
  const auto part = [&](const PackedHeads& h) {
    split.output = static_cast<uint32_t>(h.part);
    return split;
  };
  return std::array<EditValue, 3>{part(*p.q3), part(*p.k3), part(*p.v3)};
}

}  // namespace onnxtool
