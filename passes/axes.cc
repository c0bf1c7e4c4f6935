// SPDX-License-Identifier: Apache-2.0
#include "passes/axes.h"

#include <algorithm>

namespace onnxtool {

std::optional<Axes> normalized(Axes axes, int64_t rank) {
  for (int64_t& a : axes) {
    if (a < 0) a += rank;
    if (a < 0 || a >= rank) return std::nullopt;
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) return std::nullopt;
  return axes;
}

std::optional<Axes> axes_of(const PassContext& ctx, NodeId id, int64_t rank) {
  const Node& n = ctx.node(id);
  if (n.is("ArgMax") || n.is("ArgMin")) return normalized({n.attr_int("axis", 0)}, rank);
  std::optional<Axes> axes;
  if (const auto* a = n.attr_ints("axes")) axes = *a;
  if (n.has_input(1)) axes = ctx.ints(n.input(1));
  if (!axes && n.is("Squeeze")) {
    const Shape* shape = ctx.shape(n.input(0));
    axes.emplace();
    for (size_t i = 0; shape && i < shape->size(); ++i)
      if ((*shape)[i].is_const(1)) axes->push_back(static_cast<int64_t>(i));
  }
  if (!axes || axes->empty()) return std::nullopt;
  return normalized(std::move(*axes), rank);
}

Axes perm_of(const PassContext& ctx, NodeId id) {
  Axes perm;
  if (const auto* p = ctx.node(id).attr_ints("perm")) {
    perm = *p;
  } else if (const Shape* s = ctx.shape(ctx.node(id).input(0))) {
    for (size_t i = s->size(); i > 0; --i) perm.push_back(static_cast<int64_t>(i - 1));
  }
  const auto all = normalized(perm, static_cast<int64_t>(perm.size()));
  return all ? perm : Axes();
}

Axes inverse(const Axes& perm) {
  Axes r(perm.size());
  for (size_t i = 0; i < perm.size(); ++i)
    r[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return r;
}

bool keeps_order(const Axes& perm) { return std::is_sorted(perm.begin(), perm.end()); }

bool moves_only_ones(const Axes& perm, const Shape& from) {
  int64_t last = -1;
  for (int64_t p : perm) {
    if (from[static_cast<size_t>(p)].is_const(1)) continue;
    if (p < last) return false;
    last = p;
  }
  return true;
}

bool contains(const Axes& axes, int64_t a) {
  return std::find(axes.begin(), axes.end(), a) != axes.end();
}

Axes others(const Axes& gone, int64_t rank) {
  Axes r;
  for (int64_t a = 0; a < rank; ++a)
    if (!contains(gone, a)) r.push_back(a);
  return r;
}

EditValue make_reduction(Edit& edit, const PassContext& ctx, NodeId like, EditValue x, Axes axes,
                         int64_t keepdims) {
  const Node& n = ctx.node(like);
  const bool arg = n.is("ArgMax") || n.is("ArgMin");
  std::vector<Attribute> attrs;
  for (const Attribute& a : n.attrs)
    if (a.name != "axes" && !(arg && a.name == "axis") && !(keepdims >= 0 && a.name == "keepdims"))
      attrs.push_back(a);
  if (keepdims >= 0) attrs.push_back(Attribute::of("keepdims", keepdims));
  std::vector<EditValue> inputs{x};
  if (arg)
    attrs.push_back(Attribute::of("axis", axes.front()));
  else
    inputs.push_back(edit.constant(Tensor::ints(axes), "axes"));
  const EditValue y = edit.add(n.op, std::move(inputs), std::move(attrs));
  edit.nodes.back().like = like;
  return y;
}

EditValue make_transpose(Edit& edit, EditValue x, Axes perm) {
  return edit.add("Transpose", {x}, {Attribute::of("perm", std::move(perm))});
}

}  // namespace onnxtool
