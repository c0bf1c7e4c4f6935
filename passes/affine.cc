// SPDX-License-Identifier: Apache-2.0
#include "passes/affine.h"

#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

std::optional<Affine> of_batch_norm(const PassContext& ctx, const Node& n, int64_t channels) {
  if (n.version < 9 || n.attr_int("training_mode", 0) != 0 || n.num_inputs() != 5)
    return std::nullopt;
  for (size_t i = 1; i < n.num_outputs(); ++i)
    if (n.has_output(i)) return std::nullopt;
  std::vector<double> p[4];
  for (size_t i = 0; i < 4; ++i) {
    const Tensor t = ctx.constant(n.input(i + 1));
    if (!t.defined() || t.rank() != 1 || t.size() != channels) return std::nullopt;
    p[i] = t.to_f64();
  }
  const double epsilon = n.attr_float("epsilon", 1e-5F);
  Affine a;
  for (size_t c = 0; c < p[0].size(); ++c) {
    const double s = p[0][c] / std::sqrt(p[3][c] + epsilon);
    a.scale.push_back(s);
    a.shift.push_back(p[1][c] - p[2][c] * s);
  }
  return a;
}

}  // namespace

std::optional<Affine> affine_of(const PassContext& ctx, NodeId id, int64_t rank, int64_t axis,
                                int64_t channels) {
  const Node& n = ctx.node(id);
  if (!n.domain.view().empty()) return std::nullopt;
  if (n.is("BatchNormalization")) return axis == 1 ? of_batch_norm(ctx, n, channels) : std::nullopt;
  const bool mul = n.is("Mul"), div = n.is("Div"), add = n.is("Add"), sub = n.is("Sub");
  if (n.version < 7 || !(mul || div || add || sub) || n.attr("axis") || n.attr("broadcast"))
    return std::nullopt;
  Affine a;
  Tensor other = ctx.constant(n.input(1));
  if (!other.defined()) {
    other = ctx.constant(n.input(0));
    a.input = 1;
  }
  if (!other.defined() || (div && a.input == 1)) return std::nullopt;
  const auto c = per_channel(other, rank, axis, channels);
  if (!c) return std::nullopt;
  if (mul) {
    a.scale = *c;
  } else if (div) {
    for (double x : *c) a.scale.push_back(1 / x);
  } else {
    a.shift = *c;
    if (sub && a.input == 0)
      for (double& x : a.shift) x = -x;
    if (sub && a.input == 1) a.scale.assign(c->size(), -1);
  }
  return a;
}

}  // namespace onnxtool
