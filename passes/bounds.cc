// SPDX-License-Identifier: Apache-2.0
#include "passes/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/spread.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();
constexpr double kSquares = 1e15;  // whose squares can be summed
constexpr double kRounded = 1.01;  // more than what rounding adds to a sum of products

// What rounds to the largest number of a type, or the limits of an integer.
double limit_of(DType t) {
  switch (t) {
    case DType::kFloat: return 3.40282356e38;
    case DType::kDouble: return 1.79e308;
    case DType::kBfloat16: return 3.39e38;
    case DType::kFloat16: return 65504;
    case DType::kBool: return 1;
    default: return is_integer(t) ? static_cast<double>(int_max_of(t)) + 1 : 0;
  }
}

bool is_any(const Node& n, std::initializer_list<const char*> ops) {
  return std::any_of(ops.begin(), ops.end(), [&](const char* op) { return n.is(op); });
}

std::optional<double> last_dim(const PassContext& ctx, ValueId v) {
  const Shape* s = ctx.shape(v);
  if (!s || s->empty() || !s->back().is_const()) return std::nullopt;
  return static_cast<double>(s->back().value());
}

}  // namespace

Bounds::Bounds(const PassContext& ctx)
    : ctx_(ctx),
      bound_(ctx.model().num_values(), kUnknown),
      known_(ctx.model().num_values(), false) {
  const Model& m = ctx.model();
  for (NodeId id : m.graph(m.main()).nodes) {
    if (m.node(id).removed()) continue;
    const Node& n = m.node(id);
    const double bound =
        n.version > 0 && n.domain.view().empty() && !n.has_subgraphs() ? of_output(n) : kUnknown;
    for (ValueId v : n.outputs())
      if (v.valid() && bound <= limit_of(ctx.type(v).dtype)) bound_[v.v] = bound;
  }
}

bool Bounds::finite(ValueId v) { return std::isfinite(of(v)); }

double Bounds::of(ValueId v) {
  if (!v.valid()) return 0;
  const DType type = ctx_.type(v).dtype;
  if (!is_float_type(type)) return limit_of(type) > 0 ? limit_of(type) : kUnknown;
  const Tensor* t = ctx_.model().constant(v);
  if (t && !known_[v.v]) {
    known_[v.v] = true;
    bound_[v.v] = of_constant(*t);
  }
  return bound_[v.v];
}

double Bounds::of_constant(const Tensor& t) {
  if (t.bytes() > left_) return kUnknown;
  left_ -= t.bytes();
  double most = 0;
  const auto look = [&](double x) {
    most = std::isnan(x) ? kUnknown : std::max(most, std::fabs(x));
  };
  const Tensor aligned = t.to_aligned();
  if (t.dtype() == DType::kFloat)
    for (float x : aligned.as<float>()) look(x);
  else
    for (double x : aligned.to_f64()) look(x);
  return most;
}

// Sums of products over an axis of known size.
double Bounds::product(const Node& n, size_t a, size_t b) {
  const Shape* s = ctx_.shape(n.input(a));
  if (!s || s->empty()) return kUnknown;
  if (sums_to_one(n.input(a))) return of(n.input(b)) * kRounded;
  const Dim k = n.attr_int("transA", 0) ? s->front() : s->back();
  if (!k.is_const()) return kUnknown;
  return kRounded * static_cast<double>(k.value()) * of(n.input(a)) * of(n.input(b));
}

// Of LayerNormalization and RMSNormalization over the last axis.
double Bounds::normalized(const Node& n) {
  const auto count = last_dim(ctx_, n.input(0));
  const Shape* s = ctx_.shape(n.input(0));
  const int64_t axis = n.attr_int("axis", -1);
  if (!count || (axis != -1 && axis + 1 != static_cast<int64_t>(s->size())) ||
      of(n.input(0)) > kSquares || n.attr_float("epsilon", 1e-5F) < 1e-30F)
    return kUnknown;
  return std::sqrt(*count) * kRounded * of(n.input(1)) + of(n.input(2));
}

// x divided by the root of the mean of its squares over the last axis: `by` is that root, or where
// `inverse` 1 by it.
double Bounds::scaled_down(ValueId x, ValueId by, bool inverse) {
  const auto spread = spread_of(ctx_, by, !inverse);
  const auto count = last_dim(ctx_, x);
  if (!spread || !count || !(spread->epsilon > 1e-30) || of(x) > kSquares ||
      !square_of(ctx_, ctx_.node(spread->mean).input(0), x).valid())
    return kUnknown;
  const auto rank = static_cast<int64_t>(ctx_.shape(x)->size());
  return kept_axes(ctx_, spread->mean, rank) == std::vector<int64_t>{rank - 1}
             ? std::sqrt(*count) * kRounded
             : kUnknown;
}

// Rows of numbers that are not negative and add up to 1, or to less.
bool Bounds::sums_to_one(ValueId v) const {
  const NodeId where = ctx_.producer(v, "Where");
  if (where.valid() && number(ctx_, ctx_.node(where).input(1)) == 0.0)
    v = ctx_.node(where).input(2);
  const NodeId softmax = ctx_.producer(v, "Softmax", 13);
  const Shape* s = ctx_.shape(v);
  if (!softmax.valid() || !s) return false;
  const int64_t axis = ctx_.node(softmax).attr_int("axis", -1);
  return (axis == -1 || axis + 1 == static_cast<int64_t>(s->size())) && std::isfinite(bound_[v.v]);
}

double Bounds::of_output(const Node& n) {
  const auto in = [&](size_t i) { return of(n.input(i)); };
  if (is_any(n, {"Reshape", "Transpose", "Gather", "Slice", "Squeeze", "Unsqueeze", "Expand",
                 "Split", "Flatten", "Identity", "Tile", "GatherND", "GatherElements", "Cast",
                 "Neg", "Abs", "Relu", "Gelu"}))
    return in(0);
  if (is_any(n, {"Sigmoid", "Tanh", "Erf", "Softmax", "Sin", "Cos"}))
    return std::isfinite(in(0)) ? 1 : kUnknown;
  if (is_any(n, {"Concat", "Max", "Min"})) {
    double most = 0;
    for (size_t i = 0; i < n.num_inputs(); ++i) most = std::max(most, in(i));
    return most;
  }
  if (n.is("Where")) return std::max(in(1), in(2));
  if (n.is("Add") || n.is("Sub")) return in(0) + in(1);
  if (n.is("Div")) {
    const auto c = uniform(ctx_, n.input(1));
    return c && *c != 0 ? in(0) / std::fabs(*c) : scaled_down(n.input(0), n.input(1), false);
  }
  if (n.is("Mul")) {
    for (size_t i = 0; i < 2; ++i)
      if (const double bound = scaled_down(n.input(i), n.input(1 - i), true); bound < kUnknown)
        return bound;
    return in(0) * in(1);
  }
  if (n.is("MatMul")) return product(n, 0, 1);
  if (n.is("Gemm"))
    return std::fabs(n.attr_float("alpha", 1)) * product(n, 0, 1) +
           std::fabs(n.attr_float("beta", 1)) * in(2);
  if (n.is("LayerNormalization") || n.is("RMSNormalization")) return normalized(n);
  return kUnknown;
}

}  // namespace onnxtool
