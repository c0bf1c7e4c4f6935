// SPDX-License-Identifier: Apache-2.0
// fuse-normalization
//
//     before: d = x - ReduceMean(x); d / Sqrt(ReduceMean(d * d) + epsilon)
//     after:  LayerNormalization(x, 1), over the spatial axes InstanceNormalization(x, 1, 0)
//     before: x / Sqrt(ReduceMean(x * x) + epsilon)
//     after:  RMSNormalization(x, 1)
//
// What scales and shifts behind it goes into these by fuse-norm-affine.
#include <algorithm>

#include "passes/ort.h"
#include "passes/spread.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Div", "Mul"};

Tensor filled(DType t, int64_t count, double value) {
  const std::vector<double> v(static_cast<size_t>(count), value);
  auto r = Tensor::from_f64(t, {count}, v);
  return r.ok() ? std::move(*r) : Tensor();
}

}  // namespace

Match match_normalization(const PassContext& ctx, NodeId root, bool foreign) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version < 7 || n.num_inputs() != 2) return NoMatch{};
  ValueId d;
  std::optional<Spread> spread;
  for (size_t i = 0; i < (n.is("Div") ? 1U : 2U) && !spread; ++i) {
    d = n.input(i);
    spread = spread_of(ctx, n.input(1 - i), n.is("Div"));
  }
  if (!spread) return NoMatch{};
  const ValueId squared = ctx.node(spread->mean).input(0);
  const NodeId square = square_of(ctx, squared, d);
  const Shape* shape = ctx.shape(d);
  const DType type = ctx.type(d).dtype;
  if (!square.valid() || !shape || !is_float_type(type) ||
      !same_shape(shape, ctx.shape(n.output(0))))
    return NoMatch{};
  const auto rank = static_cast<int64_t>(shape->size());
  const auto axes = kept_axes(ctx, spread->mean, rank);
  if (!axes) return refuse("the mean is not over known axes that stay");
  if (!(spread->epsilon >= 0 && spread->epsilon < 1))
    return refuse("epsilon is out of the ordinary");
  Edit edit;
  edit.at = root;
  edit.exclusive = spread->nodes;
  edit.exclusive.insert(edit.exclusive.end(), {spread->mean, square});
  const bool last = axes->size() == 1 && axes->front() == rank - 1;
  bool spatial = rank >= 4 && static_cast<int64_t>(axes->size()) == rank - 2;
  for (size_t i = 0; spatial && i < axes->size(); ++i)
    spatial = (*axes)[i] == static_cast<int64_t>(i) + 2;
  const Dim channels = last ? shape->back() : spatial ? (*shape)[1] : Dim();
  // Centered: d is x less its mean over the same axes.
  ValueId x = d;
  if (const NodeId sub = ctx.producer(d, "Sub", 7); sub.valid()) {
    const NodeId mean = ctx.producer(ctx.node(sub).input(1), "ReduceMean");
    if (mean.valid() && ctx.node(mean).input(0) == ctx.node(sub).input(0)) {
      if (kept_axes(ctx, mean, rank) != axes) return refuse("the means are over different axes");
      x = ctx.node(sub).input(0);
      edit.exclusive.insert(edit.exclusive.end(), {sub, mean});
    }
  }
  const bool centered = x != d;
  const bool layer = centered && last && ctx.available(n.graph, {}, "LayerNormalization", 17);
  // ONNX Runtime has no InstanceNormalization of double precision.
  const bool instance = centered && spatial && type != DType::kDouble &&
                        ctx.available(n.graph, {}, "InstanceNormalization", 6);
  const bool rms = !centered && last && ctx.available(n.graph, {}, "RMSNormalization", 23);
  const bool own = foreign && last && !layer && !rms && ort_computes(type);
  if (own && centered) {
    // What scales and shifts it is behind: that it fuses by itself.
    if (const NodeId user = ctx.sole_user(n.output(0)); user.valid() && ctx.is(user, "Mul"))
      return refuse("ONNX Runtime makes LayerNormalization of it");
    x = d;
  }
  if (!layer && !instance && !rms && !own)
    return refuse("no operator of the opset does it over these axes");
  if (!channels.is_const() || channels.value() < 1 || channels.value() > (1 << 20))
    return refuse("the number of scales is not known");
  edit.remove = edit.exclusive;
  edit.remove.push_back(root);
  const std::string& name = ctx.model().value(n.output(0)).name;
  std::vector<EditValue> inputs{x,
                                edit.constant(filled(type, channels.value(), 1), name + "_scale")};
  if (instance) inputs.push_back(edit.constant(filled(type, channels.value(), 0), name + "_bias"));
  std::vector<Attribute> attrs{Attribute::of("epsilon", static_cast<float>(spread->epsilon))};
  if (!instance) attrs.push_back(Attribute::of("axis", int64_t{-1}));
  if (!instance && type == DType::kDouble)
    attrs.push_back(Attribute::of("stash_type", int64_t{11}));
  edit.replace_output(n.output(0), edit.add(layer      ? "LayerNormalization"
                                            : instance ? "InstanceNormalization"
                                            : rms      ? "RMSNormalization"
                                                       : "SimplifiedLayerNormalization",
                                            std::move(inputs), std::move(attrs)));
  edit.note = "by means and squares";
  return edit;
}

namespace {

Match match(const PassContext& ctx, NodeId root) { return match_normalization(ctx, root, false); }

}  // namespace

extern const Pass pass_fuse_normalization;
const Pass pass_fuse_normalization = {
    .name = "fuse-normalization",
    .summary =
        "makes LayerNormalization, RMSNormalization and InstanceNormalization of their parts",
    .doc =
        "Means that keep their dims over the last axis (LayerNormalization from opset 17, "
        "RMSNormalization from opset 23\n"
        "on) or over all axes behind the second of four or more (InstanceNormalization), the same "
        "for both, a constant\n"
        "epsilon, division by Sqrt or Pow 0.5 or a product with its reciprocal. Nobody reads what "
        "is between.",
    .roots = kRoots,
    .match = match,
};

}  // namespace onnxtool
