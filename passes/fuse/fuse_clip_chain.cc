// SPDX-License-Identifier: Apache-2.0
// fuse-clip-chain: Relu and Clip in a row become one.
//
//     before: x -> Relu -> Clip(max 6) -> y
//     after:  x -> Clip(0, 6) -> y
#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Clip", "Relu"};
constexpr double kInf = std::numeric_limits<double>::infinity();

struct Bounds {
  double low = -kInf, high = kInf;
};

std::optional<Bounds> bounds(const PassContext& ctx, NodeId n) {
  if (ctx.is(n, "Relu")) return Bounds{0, kInf};
  if (!ctx.is(n, "Clip", 11)) return std::nullopt;
  Bounds b;
  for (size_t i = 1; i <= 2; ++i) {
    if (!ctx.node(n).has_input(i)) continue;
    const Tensor t = ctx.constant(ctx.node(n).input(i));
    if (!t.defined() || t.size() != 1 || std::isnan(t.f64_at(0))) return std::nullopt;
    (i == 1 ? b.low : b.high) = t.f64_at(0);
  }
  if (b.low > b.high) return std::nullopt;
  return b;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const auto outer = bounds(ctx, root);
  if (!outer) return NoMatch{};
  const NodeId before = n.has_input(0) ? ctx.model().value(n.input(0)).producer : NodeId();
  const auto inner = before.valid() ? bounds(ctx, before) : std::nullopt;
  if (!inner) return NoMatch{};
  const DType t = ctx.type(n.output(0)).dtype;
  if (!is_float_type(t)) return NoMatch{};
  const double low = std::min(std::max(inner->low, outer->low), outer->high);
  const double high = std::min(std::max(inner->high, outer->low), outer->high);
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.note = "bounds in a row";
  if (low == inner->low && high == inner->high) {
    edit.replace_output(n.output(0), n.input(0));
    return edit;
  }
  edit.remove.push_back(before);
  edit.exclusive = {before};
  const ValueId x = ctx.node(before).input(0);
  if (low == 0 && high == kInf) {
    edit.replace_output(n.output(0), edit.add("Relu", {x}));
    return edit;
  }
  const auto constant = [&](double v, const char* name) -> EditValue {
    auto r = Tensor::from_f64(t, {}, std::span<const double>(&v, 1));
    return r.ok() ? edit.constant(std::move(*r), ctx.model().value(n.output(0)).name + name)
                  : EditValue();
  };
  std::vector<EditValue> inputs{x};
  inputs.push_back(low == -kInf ? EditValue() : constant(low, "_min"));
  if (high != kInf) inputs.push_back(constant(high, "_max"));
  edit.replace_output(n.output(0), edit.add("Clip", std::move(inputs)));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_clip_chain;
const Pass pass_fuse_clip_chain = {
    .name = "fuse-clip-chain",
    .summary = "makes one Clip or Relu of several in a row",
    .doc =
        "Relu and Clip with constant bounds in order (min <= max) on floating-point values; a "
        "second one that changes\n"
        "nothing is dropped.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
