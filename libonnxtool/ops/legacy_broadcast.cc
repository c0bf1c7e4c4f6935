// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/legacy_broadcast.h"

#include <algorithm>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/step_util.h"

namespace onnxtool {
namespace {

std::optional<Shape> shape_of(const Model& m, ValueId v) {
  if (!v.valid()) return std::nullopt;
  if (const Tensor* t = m.constant(v)) return to_shape(t->dims());
  return m.value(v).type.is_tensor() ? m.value(v).type.shape : std::nullopt;
}

}  // namespace

Result<Shape> legacy_operand_shape(const Node& node, const Shape& a, const Shape& b) {
  const auto misfit = [&] {
    return invalid(
        format("shape {} of the second input does not repeat over {}", to_string(b), to_string(a)));
  };
  const auto ranks = static_cast<int64_t>(a.size()) - static_cast<int64_t>(b.size());
  if (ranks < 0) return misfit();
  Shape r = b;
  if (node.attr_int("broadcast", 0) == 0) {
    if (ranks != 0) return misfit();
  } else if (node.attr("axis") && product(b) != Dim(1)) {
    int64_t axis = node.attr_int("axis", 0);
    if (axis < 0) axis += static_cast<int64_t>(a.size());
    if (axis < 0 || axis > ranks)
      return invalid(format("attribute 'axis' is {}, outside of [0, {}]", axis, ranks));
    r.resize(r.size() + static_cast<size_t>(ranks - axis), Dim(1));
  }
  for (size_t i = 0; i < r.size(); ++i) {
    const Dim d = a[a.size() - r.size() + i];
    if (!r[i].is_const(1) && Dim::differ(d, r[i])) return misfit();
  }
  return r;
}

Result<bool> legacy_broadcast_up(Model& m, NodeId n) {
  const Node& node = m.node(n);
  if (refers(node, "axis") || refers(node, "broadcast")) return false;
  if (node.attr_int("broadcast", 0) == 0) {
    // What the old form forbids must not become valid.
    const auto a = shape_of(m, node.input(0)), b = shape_of(m, node.input(1));
    if (a && b && !legacy_operand_shape(node, *a, *b).ok()) return false;
  } else if (node.attr("axis")) {
    const auto rank_a = declared_rank(m, node.input(0));
    const auto rank_b = declared_rank(m, node.input(1));
    const Tensor* b = node.input(1).valid() ? m.constant(node.input(1)) : nullptr;
    if (!rank_a || !rank_b) return false;
    int64_t axis = node.attr_int("axis", 0);
    if (axis < 0) axis += *rank_a;
    if (axis < 0 || axis > *rank_a) return false;
    const int64_t ones = *rank_a - *rank_b - axis;
    if (ones < 0 || (ones > 0 && !b)) return false;
    if (ones > 0 && b->size() != 1) {
      Dims d = b->dims();
      d.resize(d.size() + static_cast<size_t>(ones), 1);
      set_constant_input(m, n, 1, "operand", b->reshaped(std::move(d)));
    }
  }
  m.remove_attr(n, "axis");
  m.remove_attr(n, "broadcast");
  m.remove_attr(n, "consumed_inputs");
  return true;
}

Status legacy_broadcast_down(Model& m, NodeId n) {
  const Node& node = m.node(n);
  const auto a = shape_of(m, node.input(0)), b = shape_of(m, node.input(1));
  const auto fail = [&] {
    return step_error(format("shapes {} and {} are not known to agree as the older form needs",
                             a ? to_string(*a) : "?", b ? to_string(*b) : "?"));
  };
  if (!a || !b || b->size() > a->size()) return fail();
  const size_t lead = a->size() - b->size();
  const bool suffix = std::equal(b->begin(), b->end(), a->begin() + static_cast<ptrdiff_t>(lead));
  if (suffix && lead == 0) return ok();
  const bool one = product(*b) == Dim(1);
  if (suffix || one) {
    m.set_attr(n, Attribute::of("broadcast", int64_t{1}));
    return ok();
  }
  // A constant like [C, 1, 1]: the old form takes [C] at its axis.
  const Tensor* t = m.constant(node.input(1));
  size_t first = 0, last = b->size();
  while (first < last && (*b)[first].is_const(1) && !(*a)[lead + first].is_const(1)) ++first;
  while (last > first && (*b)[last - 1].is_const(1)) --last;
  if (!t || !std::equal(b->begin() + static_cast<ptrdiff_t>(first),
                        b->begin() + static_cast<ptrdiff_t>(last),
                        a->begin() + static_cast<ptrdiff_t>(lead + first)))
    return fail();
  Dims d(t->dims().begin() + static_cast<ptrdiff_t>(first),
         t->dims().begin() + static_cast<ptrdiff_t>(last));
  Tensor operand = t->reshaped(std::move(d));
  m.set_attr(n, Attribute::of("broadcast", int64_t{1}));
  m.set_attr(n, Attribute::of("axis", static_cast<int64_t>(lead + first)));
  set_constant_input(m, n, 1, "operand", std::move(operand));
  return ok();
}

}  // namespace onnxtool
