// SPDX-License-Identifier: Apache-2.0
// fuse-attention
//
//     before: MatMul(Softmax(MatMul(q, Transpose(k)) * scale + mask), v)
//     after:  Attention(q, k, v, mask)
#include <cmath>

#include "libonnxtool/base/str.h"
#include "passes/attention.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"MatMul"};

// Which keys a query sees, as the operator is told.
struct Sight {
  bool causal = false;
  ValueId mask;          // invalid: none
  bool negated = false;  // its opposite
  ValueId added;         // or numbers
};

std::optional<Sight> sight_of(const PassContext& ctx, const AttentionParts& p, const char*& why) {
  Sight s;
  const bool square = !p.past_k && (*ctx.shape(p.q))[2] == (*ctx.shape(p.k_transposed))[3];
  const auto boolean = [&](ValueId mask, MaskForm form) {
    const NodeId inner = ctx.producer(mask, "Not");
    s.negated = form == MaskForm::kHides && !inner.valid();
    s.mask = form == MaskForm::kHides && inner.valid() ? ctx.node(inner).input(0) : mask;
  };
  if (p.condition.valid()) {
    s.causal = square && is_causal(ctx, p.condition, p.condition_form);
    const bool zeros = p.guarded && std::isinf(p.hidden);
    if (!s.causal && !zeros && !every_query_sees(ctx, p.condition, p.condition_form)) {
      why = kMaySeeNoKey;
      return std::nullopt;
    }
    if (!s.causal) boolean(p.condition, p.condition_form);
  }
  if (!p.mask.valid()) return s;
  if (p.condition.valid() && (!s.causal || !std::isinf(p.hidden))) {
    why = "it has two masks";
    return std::nullopt;
  }
  const bool ordered = !s.causal && square && is_causal(ctx, p.mask, MaskForm::kAdded);
  const bool sees = s.causal ? hides_nothing(ctx, p.mask)
                             : ordered || every_query_sees(ctx, p.mask, MaskForm::kAdded);
  const auto b = boolean_mask(ctx, p.mask);
  if (!sees && !(p.guarded && b)) {
    why = kMaySeeNoKey;
    return std::nullopt;
  }
  if (ordered) {
    s.causal = true;
    return s;
  }
  if (b) boolean(b->mask, b->form);
  if (!b || s.negated) {
    s = {.causal = s.causal, .mask = {}, .negated = false, .added = p.mask};
  }
  return s;
}

// The mask with all queries and keys in its last dims, as runtimes ask for.
std::optional<EditValue> full_mask(const PassContext& ctx, ValueId mask, Dim queries, Dim keys,
                                   Edit& edit) {
  const Shape* s = ctx.shape(mask);
  if (!s || s->empty()) return std::nullopt;
  if (s->size() >= 2 && (*s)[s->size() - 2] == queries && s->back() == keys) return mask;
  if (!queries.is_const() || !keys.is_const()) return std::nullopt;
  const auto sizes = edit.constant(Tensor::ints({queries.value(), keys.value()}), "mask_shape");
  return edit.add("Expand", {mask, sizes});
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.is("MatMul") || n.version == 0 || !ctx.available(n.graph, {}, "Attention", 23))
    return NoMatch{};
  const char* why = nullptr;
  auto p = attention_of(ctx, root, why);
  if (!p) return why ? refuse(why) : Match{};
  if (!(p->scale > 0)) return refuse("the scale is not positive");
  const auto sight = sight_of(ctx, *p, why);
  if (!sight) return refuse(why);
  Edit edit;
  edit.at = root;
  edit.exclusive = p->inner;
  edit.remove = p->inner;
  edit.remove.push_back(root);
  EditValue mask;
  if (const ValueId given = sight->mask.valid() ? sight->mask : sight->added; given.valid()) {
    const auto full =
        full_mask(ctx, given, (*ctx.shape(p->q))[2], (*ctx.shape(p->k_transposed))[3], edit);
    if (!full) return refuse("the mask does not name each query and key, as runtimes ask for");
    mask = sight->negated ? edit.add("Not", {*full}) : *full;
  }
  std::vector<Attribute> attrs{Attribute::of("scale", static_cast<float>(p->scale))};
  if (sight->causal) attrs.push_back(Attribute::of("is_causal", int64_t{1}));
  if (p->softmax_type != DType::kUndefined)
    attrs.push_back(Attribute::of("softmax_precision", static_cast<int64_t>(p->softmax_type)));
  if (p->past_k || p->few_k.valid()) {
    p->k3 = p->own_k;
    p->v3 = p->own_v;
  }
  std::vector<EditValue> inputs;
  ValueId result = n.output(0);
  const auto packed = p->reshape.valid() ? packed_operands(*p, edit) : std::nullopt;
  if (packed) {
    attrs.push_back(Attribute::of("q_num_heads", p->q3->heads));
    attrs.push_back(Attribute::of("kv_num_heads", p->k3->heads));
    inputs.assign(packed->begin(), packed->end());
    edit.at = p->reshape;
    edit.exclusive.insert(edit.exclusive.end(), {root, p->transpose});
    edit.remove.insert(edit.remove.end(), {p->transpose, p->reshape});
    result = ctx.node(p->reshape).output(0);
  } else if (p->past_k) {
    inputs = {p->q, p->past_k->now, p->past_v->now};
  } else if (p->few_k.valid()) {
    inputs = {p->q, p->few_k, p->few_v};
  } else if (p->k.valid()) {
    inputs = {p->q, p->k, p->v};
  } else {
    const NodeId made = ctx.producer(p->k_transposed, "Transpose");
    const auto* perm = made.valid() ? ctx.node(made).attr_ints("perm") : nullptr;
    ValueId source = p->k_transposed;
    std::vector<int64_t> order = {0, 1, 3, 2};
    if (perm && perm->size() == 4) {
      source = ctx.node(made).input(0);
      order = {(*perm)[0], (*perm)[1], (*perm)[3], (*perm)[2]};
    }
    inputs = {p->q, edit.add("Transpose", {source}, {Attribute::of("perm", std::move(order))}),
              p->v};
  }
  inputs.push_back(mask);
  if (p->past_k) {
    inputs.emplace_back(p->past_k->past);
    inputs.emplace_back(p->past_v->past);
    edit.remove.insert(edit.remove.end(), {p->past_k->concat, p->past_v->concat});
  }
  while (inputs.back().kind == EditValue::Kind::kNone) inputs.pop_back();
  EditValue y = edit.add("Attention", std::move(inputs), std::move(attrs));
  edit.replace_output(result, y);
  if (p->past_k) {
    edit.nodes.back().num_outputs = 3;
    y.output = 1;
    edit.replace_output(ctx.node(p->past_k->concat).output(0), y);
    y.output = 2;
    edit.replace_output(ctx.node(p->past_v->concat).output(0), y);
  }
  edit.note = format("{}{}{}{}", packed ? "heads packed" : "four dims",
                     p->few_k.valid() ? ", keys and values of grouped heads" : "",
                     p->past_k ? ", with what came before" : "", sight->causal ? ", causal" : "");
  return edit;
}

}  // namespace

extern const Pass pass_fuse_attention;
const Pass pass_fuse_attention = {
    .name = "fuse-attention",
    .summary = "makes Attention of two MatMul and the Softmax between them",
    .doc =
        "From opset 23 on. Query, key and value have four dims and the same batch and heads, those "
        "of key and value perhaps\n"
        "by repeating each of fewer heads; numbers may scale the scores or their operands. What "
        "hides keys may be numbers that\n"
        "are added, or a condition that puts -inf or a number below -1e9 in their place; where "
        "each "
        "query sees the keys up\n"
        "to its own, no mask is left. A query that sees no key gets zeros of Attention, but "
        "Softmax makes no number of it:\n"
        "masks are taken that are known to show each query a key (finite, of integers which hold "
        "0 and 1, causal, constant),\n"
        "and others where PyTorch's guard makes zeros of what is no number. Keys and values behind "
        "those of a past give\n"
        "both together as further outputs. Where all three come out of a Reshape and a Transpose "
        "and the "
        "result goes into\n"
        "their opposite, the packed form is taken and these go too.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
