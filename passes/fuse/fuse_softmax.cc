// SPDX-License-Identifier: Apache-2.0
// fuse-softmax
//
//     before: d = x - ReduceMax(x); e = Exp(d); e / ReduceSum(e)
//     after:  Softmax(x)
//     before: d = x - ReduceMax(x); d - Log(ReduceSum(Exp(d)))
//     after:  LogSoftmax(x)
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Div", "Sub"};

// The sum of e over one axis; the axis.
std::optional<int64_t> sum_over(const PassContext& ctx, ValueId v, ValueId e, int64_t rank,
                                std::vector<NodeId>& inner) {
  const NodeId sum = ctx.producer(v, "ReduceSum");
  if (!sum.valid() || ctx.node(sum).input(0) != e) return std::nullopt;
  const auto axes = kept_axes(ctx, sum, rank);
  inner.push_back(sum);
  return axes && axes->size() == 1 ? std::optional(axes->front()) : std::nullopt;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7) return NoMatch{};
  const bool log = n.is("Sub");
  const Shape* shape = ctx.shape(n.output(0));
  if (!shape || !is_float_type(ctx.type(n.output(0)).dtype)) return NoMatch{};
  const auto rank = static_cast<int64_t>(shape->size());
  Edit edit;
  edit.at = root;
  ValueId d = n.input(0), total = n.input(1);
  NodeId exp;
  if (log) {
    const NodeId l = ctx.producer(total, "Log");
    const NodeId sum = l.valid() ? ctx.producer(ctx.node(l).input(0), "ReduceSum") : NodeId();
    exp = sum.valid() ? ctx.producer(ctx.node(sum).input(0), "Exp") : NodeId();
    if (!exp.valid() || ctx.node(exp).input(0) != d) return NoMatch{};
    edit.exclusive.push_back(l);
    total = ctx.node(l).input(0);
  } else {
    exp = ctx.producer(d, "Exp");
    if (!exp.valid()) return NoMatch{};
    d = ctx.node(exp).input(0);
  }
  const auto axis = sum_over(ctx, total, ctx.node(exp).output(0), rank, edit.exclusive);
  if (!axis) return NoMatch{};
  const NodeId sub = ctx.producer(d, "Sub", 7);
  const NodeId max = sub.valid() ? ctx.producer(ctx.node(sub).input(1), "ReduceMax") : NodeId();
  if (!max.valid())
    return refuse("without the maximum taken off, it overflows where this does not");
  const ValueId x = ctx.node(sub).input(0);
  const auto max_axes = kept_axes(ctx, max, rank);
  if (ctx.node(max).input(0) != x || !max_axes || *max_axes != std::vector<int64_t>{*axis})
    return refuse("maximum and sum are over different axes");
  if (!same_type_and_shape(ctx, x, n.output(0))) return NoMatch{};
  const char* op = log ? "LogSoftmax" : "Softmax";
  if (!ctx.available(n.graph, {}, op, 13)) return refuse("it is over one axis from opset 13 on");
  edit.exclusive.insert(edit.exclusive.end(), {exp, sub, max});
  edit.remove = edit.exclusive;
  edit.remove.push_back(root);
  edit.replace_output(n.output(0), edit.add(op, {x}, {Attribute::of("axis", *axis)}));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_softmax;
const Pass pass_fuse_softmax = {
    .name = "fuse-softmax",
    .summary = "makes Softmax and LogSoftmax of their parts",
    .doc =
        "From opset 13 on: with the maximum taken off, maximum and sum over the same known axis, "
        "and nobody reads what is\n"
        "between.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
