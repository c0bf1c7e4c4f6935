// SPDX-License-Identifier: Apache-2.0
// fuse-scale: a multiplication by one number goes into weights before or behind it.
//
//     before: MatMul(x, W) -> Add(b) -> Reshape -> Transpose -> Mul(0.125) -> y
//     after:  MatMul(x, W * 0.125) -> Add(b * 0.125) -> Reshape -> Transpose -> y
#include <algorithm>
#include <cmath>

#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Mul", "Div", "Neg"};
constexpr int kMostSeen = 16;                  // nodes that one search looks at
constexpr size_t kLargest = size_t{16} << 20;  // bytes of a weight

// A node on the way and its constants that are scaled.
struct Change {
  NodeId node;
  std::vector<std::pair<size_t, Tensor>> constants;
  std::vector<Attribute> attrs;
};
using Way = std::vector<Change>;

bool is_any(const PassContext& ctx, NodeId id, std::initializer_list<std::string_view> ops) {
  const Node& n = ctx.node(id);
  return n.domain.view().empty() && n.version > 0 &&
         std::find(ops.begin(), ops.end(), n.op.view()) != ops.end();
}

// f(x * s) = f(x) * s in the first input.
bool keeps_scale(const PassContext& ctx, NodeId n, double s) {
  if (is_any(ctx, n,
             {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Expand",
              "GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceSum"}))
    return true;
  return s > 0 && is_any(ctx, n, {"Relu", "LeakyRelu", "MaxPool", "GlobalMaxPool"});
}

std::optional<Tensor> scaled(const PassContext& ctx, ValueId v, double s) {
  const Tensor* stored = v.valid() ? ctx.model().constant(v) : nullptr;
  if (!stored || stored->bytes() > kLargest) return std::nullopt;
  const Tensor t = stored->to_aligned();
  if (t.dtype() != DType::kFloat && t.dtype() != DType::kDouble) return std::nullopt;
  if (t.dtype() == DType::kFloat) {
    auto r = Tensor::allocate(DType::kFloat, t.dims());
    if (!r.ok()) return std::nullopt;
    const auto from = t.as<float>();
    const auto to = r->mut<float>();
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<float>(from[i] * s);
      // What gets too small loses bits.
      const bool lost = std::fabs(to[i]) < 1e-36F && from[i] != 0 && std::fabs(from[i]) > 1e-36F;
      if (!std::isfinite(to[i]) || lost) return std::nullopt;
    }
    return std::move(*r);
  }
  std::vector<double> values = t.to_f64();
  for (double& x : values) x *= s;
  auto r = new_weight(t.dtype(), t.dims(), values);
  return r.ok() ? std::optional(std::move(*r)) : std::nullopt;
}

// Scales constant inputs of the node, those that it has; false: one is no constant.
bool scale_inputs(const PassContext& ctx, Change& c, std::initializer_list<size_t> inputs,
                  double s) {
  for (size_t i : inputs) {
    if (!ctx.node(c.node).has_input(i)) continue;
    auto t = scaled(ctx, ctx.node(c.node).input(i), s);
    if (!t) return false;
    c.constants.emplace_back(i, std::move(*t));
  }
  return !c.constants.empty();
}

// Whether the operator at the end of the way takes the scale; `from`: input that carries it
// already, SIZE_MAX: its output shall carry it.
bool takes_scale(const PassContext& ctx, Change& c, size_t from, double s) {
  const Node& n = ctx.node(c.node);
  const auto one_of = [&](size_t a, size_t b) {
    for (size_t i : {a, b})
      if (i != from && scale_inputs(ctx, c, {i}, s)) return true;
    return false;
  };
  if (n.is("MatMul")) return one_of(1, 0);
  if (n.is("Mul") && n.version >= 7) return one_of(1, 0);
  if (n.is("Div") && n.version >= 7) {
    if (from != 1 && scale_inputs(ctx, c, {1}, 1 / s)) return true;
    return from == SIZE_MAX && scale_inputs(ctx, c, {0}, s);
  }
  if (n.is("Gemm") && n.version >= 7) {
    const float beta = n.attr_float("beta", 1);
    if (from == 2) return false;
    if (from == SIZE_MAX && n.has_input(2)) {
      auto t = scaled(ctx, n.input(2), s);
      if (!t && beta == 1) return false;
      if (t)
        c.constants.emplace_back(2, std::move(*t));
      else
        c.attrs.push_back(Attribute::of("beta", static_cast<float>(beta * s)));
    }
    if (one_of(1, 0)) return true;
    c.constants.clear();
    return false;
  }
  if (is_any(ctx, c.node, {"Conv", "ConvTranspose"}))
    return from == SIZE_MAX ? scale_inputs(ctx, c, {1, 2}, s)
                            : from == 0 && scale_inputs(ctx, c, {1}, s);
  if (from != SIZE_MAX) return false;
  if (n.is("BatchNormalization") && n.version >= 9 && n.attr_int("training_mode", 0) == 0)
    return scale_inputs(ctx, c, {1, 2}, s);
  return is_any(ctx, c.node, {"LayerNormalization", "InstanceNormalization"}) &&
         scale_inputs(ctx, c, {1, 2}, s);
}

// A way from v back to a node that takes the scale: those of its nodes whose constants are scaled.
// Nobody else reads what is on the way. `left`: nodes that may still be looked at.
bool back(const PassContext& ctx, ValueId v, GraphId g, double s, int& left, Way& way) {
  const Value& value = ctx.model().value(v);
  if (left-- <= 0 || value.kind != ValueKind::kOutput || !ctx.model().sole_use(v)) return false;
  const Node& n = ctx.node(value.producer);
  if (n.graph != g || n.num_outputs() != 1 || n.version == 0 || !n.domain.view().empty())
    return false;
  Change c{value.producer, {}, {}};
  if (takes_scale(ctx, c, SIZE_MAX, s)) {
    way.push_back(std::move(c));
    return true;
  }
  const auto further = [&](size_t input) {
    return n.has_input(input) && back(ctx, n.input(input), g, s, left, way);
  };
  if (keeps_scale(ctx, value.producer, s)) return further(0);
  if ((n.is("Add") || n.is("Sub")) && n.version >= 7) {
    for (size_t i : {1U, 0U}) {
      Change sum{value.producer, {}, {}};
      if (!scale_inputs(ctx, sum, {i}, s)) continue;
      if (!further(1 - i)) return false;
      way.push_back(std::move(sum));
      return true;
    }
    return false;
  }
  if (n.is("MatMul") || (n.is("Mul") && n.version >= 7)) return further(0) || further(1);
  return n.is("Div") && n.version >= 7 && further(0);
}

// A way from v on to a node that takes the scale.
bool ahead(const PassContext& ctx, ValueId v, GraphId g, double s, Way& way) {
  for (int left = kMostSeen; left > 0; --left) {
    const Use* u = ctx.model().sole_use(v);
    if (!u) return false;
    const Node& n = ctx.node(u->node);
    if (n.graph != g || n.num_outputs() != 1 || n.version == 0 || !n.domain.view().empty())
      return false;
    Change c{u->node, {}, {}};
    if (takes_scale(ctx, c, u->index, s)) {
      way.push_back(std::move(c));
      return true;
    }
    c = {u->node, {}, {}};
    // x * s + t = (x + t / s) * s
    if ((n.is("Add") || n.is("Sub")) && n.version >= 7 &&
        scale_inputs(ctx, c, {1 - u->index}, 1 / s))
      way.push_back(std::move(c));
    else if (!(u->index == 0 && keeps_scale(ctx, u->node, s)) && !n.is("MatMul") &&
             !(n.is("Mul") && n.version >= 7) && !(n.is("Div") && n.version >= 7 && u->index == 0))
      return false;
    v = n.output(0);
  }
  return false;
}

// v is made of the result of Erf or Tanh by sums and products.
bool has_erf(const PassContext& ctx, ValueId v, int depth) {
  const NodeId p = v.valid() ? ctx.model().value(v).producer : NodeId();
  if (!p.valid() || depth == 0) return false;
  if (is_any(ctx, p, {"Erf", "Tanh"})) return true;
  return is_any(ctx, p, {"Mul", "Add"}) && (has_erf(ctx, ctx.node(p).input(0), depth - 1) ||
                                            has_erf(ctx, ctx.node(p).input(1), depth - 1));
}

// The 0.5 of x * 0.5 * (1 + erf(x / sqrt(2))). Runtimes know this form and compute it in one sweep.
bool of_gelu(const PassContext& ctx, const Node& n, ValueId x, double s) {
  if (s != 0.5) return false;
  if (has_erf(ctx, x, 3)) return true;
  const NodeId user = ctx.sole_user(n.output(0));
  return ctx.is(user, "Mul") &&
         (has_erf(ctx, ctx.node(user).input(0), 2) || has_erf(ctx, ctx.node(user).input(1), 2));
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0 || n.num_outputs() != 1) return NoMatch{};
  double s = -1;
  size_t side = 0;
  if (!n.is("Neg")) {
    if (n.version < 7) return NoMatch{};
    const bool div = n.is("Div");
    std::optional<double> u;
    for (side = 0; side < (div ? 1U : 2U); ++side) {
      const Tensor* t = ctx.model().constant(n.input(1 - side));
      if (t && t->size() <= 64 && (u = uniform(*t))) break;
    }
    if (!u) return NoMatch{};
    s = div ? 1 / *u : *u;
  }
  const ValueId x = n.input(side);
  const DType t = ctx.type(x).dtype;
  if (t != DType::kFloat && t != DType::kDouble) return NoMatch{};
  if (!(std::fabs(s) > 1e-6 && std::fabs(s) < 1e6))
    return refuse("the scale is out of the ordinary");
  if (!same_shape(ctx.shape(x), ctx.shape(n.output(0))))
    return refuse("the scale may broadcast the result to another shape");
  if (of_gelu(ctx, n, x, s)) return refuse("it is part of a Gelu");
  Way way;
  int left = kMostSeen;
  const bool before = back(ctx, x, n.graph, s, left, way);
  if (!before && !ahead(ctx, n.output(0), n.graph, s, way))
    return refuse("no constant to take the scale is near");
  Edit edit;
  edit.remove = {root};
  for (Change& c : way) {
    for (auto& [i, t] : c.constants)
      edit.set_input(
          c.node, i,
          edit.constant(std::move(t), ctx.model().value(ctx.node(c.node).input(i)).name));
    for (Attribute& a : c.attrs) edit.set_attr(c.node, std::move(a));
  }
  edit.replace_output(n.output(0), x);
  edit.note = before ? "into what comes before" : "into what comes behind";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_scale;
const Pass pass_fuse_scale = {
    .name = "fuse-scale",
    .summary = "puts a multiplication by one number, or a negation, into weights near it",
    .doc =
        "Mul, Div by a number and Neg, in single or double precision. The scale moves back or on, "
        "through operators that\n"
        "keep it (Transpose, Reshape, Slice, averages, MatMul; Relu where it is positive; Add of a "
        "constant going back),\n"
        "to constants of MatMul, Gemm, Conv, ConvTranspose, Mul, Div or a normalization. Nobody "
        "else reads what is on\n"
        "the way. Weights over 16 MiB are left alone, and so is the 0.5 of a Gelu.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
