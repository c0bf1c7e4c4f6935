// SPDX-License-Identifier: Apache-2.0
// eliminate-nop-movement: reshapes, transposes, slices, pads and casts that change nothing.
//
//     before: x: float[N,4] -> Reshape([0,4]) -> y
//     after:  x
#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {
    "Reshape",      "Flatten",      "Squeeze",   "Unsqueeze",   "Expand",  "Tile",
    "Slice",        "Pad",          "Transpose", "Cast",        "Concat",  "Split",
    "Dropout",      "Sum",          "Max",       "Min",         "Mean",    "ReduceSum",
    "ReduceMean",   "ReduceMax",    "ReduceMin", "ReduceProd",  "Gather",  "CastLike",
    "DepthToSpace", "SpaceToDepth", "Resize",    "AveragePool", "MaxPool", "GlobalAveragePool",
    "GlobalMaxPool"};

bool all_are(const std::optional<std::vector<int64_t>>& v, int64_t value) {
  return v && std::all_of(v->begin(), v->end(), [&](int64_t x) { return x == value; });
}

// The reduction is over dims of 1 that stay.
bool over_ones(const PassContext& ctx, NodeId n) {
  const Shape& shape = *ctx.shape(ctx.node(n).input(0));
  const auto axes = kept_axes(ctx, n, static_cast<int64_t>(shape.size()));
  return axes && std::all_of(axes->begin(), axes->end(),
                             [&](int64_t a) { return shape[static_cast<size_t>(a)].is_const(1); });
}

// Takes each element of the axis once, in order.
bool takes_all(const PassContext& ctx, const Node& n) {
  const Shape& shape = *ctx.shape(n.input(0));
  const auto index = ctx.ints(n.input(1));
  int64_t axis = n.attr_int("axis", 0);
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  if (!index || axis < 0 || axis >= static_cast<int64_t>(shape.size()) ||
      !shape[static_cast<size_t>(axis)].is_const(static_cast<int64_t>(index->size())))
    return false;
  for (size_t i = 0; i < index->size(); ++i)
    if ((*index)[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// A pool whose windows are of one element each.
bool pools_ones(const PassContext& ctx, const Node& n) {
  const Shape& shape = *ctx.shape(n.input(0));
  if (n.op.view().starts_with("Global"))
    return shape.size() > 2 &&
           std::all_of(shape.begin() + 2, shape.end(), [](Dim d) { return d.is_const(1); });
  const auto* kernel = n.attr_ints("kernel_shape");
  const auto* pads = n.attr_ints("pads");
  return kernel && all_are(*kernel, 1) && (!pads || all_are(*pads, 0));
}

// Every scale is 1: given so, or as sizes that are those before.
bool resizes_nothing(const PassContext& ctx, const Node& n) {
  if (n.version < 11 || n.attr_str("mode", "nearest") == "cubic" ||
      n.attr_str("coordinate_transformation_mode", "") == "tf_crop_and_resize" ||
      n.attr("keep_aspect_ratio_policy"))
    return false;
  if (n.has_input(3)) return true;
  return n.has_input(2) && uniform(ctx, n.input(2)) == 1.0;
}

// Why the node gives back its first input, or nothing.
const char* nothing_done(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const std::string_view op = n.op.view();
  const bool same = same_type_and_shape(ctx, n.input(0), n.output(0));
  if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze" || op == "Expand")
    return same ? "the shape stays" : nullptr;
  if (op == "Tile")
    return n.num_inputs() == 2 && all_are(ctx.ints(n.input(1)), 1) ? "one copy" : nullptr;
  if (op == "Slice" && n.version >= 10) {
    const auto steps = n.has_input(4) ? ctx.ints(n.input(4)) : std::vector<int64_t>{};
    return same && all_are(steps, 1) ? "takes all" : nullptr;
  }
  if (op == "Pad" && n.version >= 11)
    return all_are(ctx.ints(n.input(1)), 0) ? "pads by nothing" : nullptr;
  if (op == "Transpose") {
    const auto* perm = n.attr_ints("perm");
    if (!perm) {
      const Shape* s = ctx.shape(n.input(0));
      return s && s->size() <= 1 ? "keeps the order" : nullptr;
    }
    for (size_t i = 0; i < perm->size(); ++i)
      if ((*perm)[i] != static_cast<int64_t>(i)) return nullptr;
    return "keeps the order";
  }
  if (op == "Cast" || op == "CastLike") {
    const DType a = ctx.type(n.input(0)).dtype;
    return a != DType::kUndefined && a == ctx.type(n.output(0)).dtype ? "the type stays" : nullptr;
  }
  if (op == "Concat" || op == "Sum" || op == "Max" || op == "Min" || op == "Mean")
    return n.num_inputs() == 1 ? "one input" : nullptr;
  if (op == "Split") return n.num_outputs() == 1 && same ? "one part" : nullptr;
  if (op == "Dropout") {
    if (n.version < 7) return nullptr;
    const Tensor training = n.has_input(2) ? ctx.constant(n.input(2)) : Tensor();
    if (n.has_input(2) && (!training.defined() || training.size() != 1 || training.i64_at(0) != 0))
      return nullptr;
    return "drops nothing outside of training";
  }
  if (op.starts_with("Reduce")) {
    if (same && over_ones(ctx, root)) return "one element each";
    if (n.attr_int("noop_with_empty_axes", 0) != 1 || n.attr_ints("axes")) return nullptr;
    const auto axes = n.has_input(1) ? ctx.ints(n.input(1)) : std::vector<int64_t>{};
    return axes && axes->empty() && n.version >= 13 ? "no axes" : nullptr;
  }
  if (op == "Gather") return same && takes_all(ctx, n) ? "takes all" : nullptr;
  if (op.ends_with("AveragePool") || op.ends_with("MaxPool"))
    return same && pools_ones(ctx, n) ? "windows of one element" : nullptr;
  if (op == "Resize") return same && resizes_nothing(ctx, n) ? "the size stays" : nullptr;
  if (op == "DepthToSpace" || op == "SpaceToDepth")
    return n.attr_int("blocksize", 0) == 1 ? "blocks of one" : nullptr;
  return nullptr;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0 || !n.has_input(0) || !n.has_output(0))
    return NoMatch{};
  const char* why = nothing_done(ctx, root);
  if (!why) return NoMatch{};
  for (size_t i = 1; i < n.num_outputs(); ++i)
    if (n.has_output(i) && (ctx.model().value(n.output(i)).use_count > 0 ||
                            ctx.model().value(n.output(i)).graph_output))
      return refuse("its second output is used");
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  edit.replace_output(n.output(0), n.input(0));
  edit.note = why;
  return edit;
}

}  // namespace

extern const Pass pass_eliminate_nop_movement;
const Pass pass_eliminate_nop_movement = {
    .name = "eliminate-nop-movement",
    .summary = "removes reshapes, transposes, slices, pads, casts and the like that change nothing",
    .doc =
        "Reshape, Flatten, Squeeze, Unsqueeze, Expand to the same shape (proven for all sizes), "
        "Tile by 1, Slice of\n"
        "everything by steps of 1, Pad by 0, Transpose that keeps the order, Cast to the same "
        "type, Concat, Sum,\n"
        "Max, Min, Mean of one input, Split into one, Dropout outside of training whose mask is "
        "not used, reductions\n"
        "over no axes or over dims of 1, Gather of all in order, pools of single elements, Resize "
        "(not cubic) to the same size.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
