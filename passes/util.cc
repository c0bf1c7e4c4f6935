// SPDX-License-Identifier: Apache-2.0
#include "passes/util.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "libonnxtool/base/str.h"

namespace onnxtool {

bool same_shape(const Shape* a, const Shape* b) {
  return a && b && std::equal(a->begin(), a->end(), b->begin(), b->end());
}

bool same_type_and_shape(const PassContext& ctx, ValueId a, ValueId b) {
  return ctx.type(a).dtype == ctx.type(b).dtype && ctx.type(a).dtype != DType::kUndefined &&
         same_shape(ctx.shape(a), ctx.shape(b));
}

std::optional<std::vector<int64_t>> reshape_spec(const Shape& from, const Shape& to) {
  std::vector<int64_t> spec;
  int open = -1;
  bool others_nonzero = true;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].is_const() && to[i].value() > 0) {
      spec.push_back(to[i].value());
    } else if (i < from.size() && from[i] == to[i]) {
      spec.push_back(0);
      others_nonzero = others_nonzero && to[i].lower_bound().value_or(0) > 0;
    } else if (to[i].is_const() || open >= 0) {
      return std::nullopt;
    } else {
      open = static_cast<int>(i);
      spec.push_back(-1);
    }
  }
  // -1 is not defined next to a dim of 0.
  if (open >= 0 && !others_nonzero) return std::nullopt;
  return spec;
}

std::optional<double> uniform(const Tensor& t) {
  if (!t.defined() || t.is_string() || t.size() == 0) return std::nullopt;
  if (t.dtype() == DType::kComplex64 || t.dtype() == DType::kComplex128) return std::nullopt;
  double first = 0;
  const size_t each = t.bytes() / static_cast<size_t>(t.size());
  if (each * static_cast<size_t>(t.size()) == t.bytes()) {
    // All bytes are those one element before: no copy for alignment, and most ends at once.
    if (std::memcmp(t.raw(), t.raw() + each, t.bytes() - each) != 0) return std::nullopt;
    first = Tensor::view(t.dtype(), {}, t.raw(), each, t.owner()).to_aligned().f64_at(0);
  } else {  // several elements in a byte
    if (t.size() > (1 << 20)) return std::nullopt;
    first = t.f64_at(0);
    for (int64_t i = 1; i < t.size(); ++i)
      if (t.f64_at(i) != first) return std::nullopt;
  }
  if (std::isnan(first)) return std::nullopt;
  return first;
}

std::optional<double> uniform(const PassContext& ctx, ValueId v) {
  const Tensor* t = v.valid() ? ctx.model().constant(v) : nullptr;
  return t ? uniform(*t) : std::nullopt;
}

std::optional<double> number(const PassContext& ctx, ValueId v) {
  const Tensor* t = v.valid() ? ctx.model().constant(v) : nullptr;
  if (!t || t->size() != 1) return std::nullopt;
  return uniform(*t);
}

bool about(double a, double b) { return std::fabs(a - b) <= 1e-5 * std::fabs(a); }

std::optional<WithNumber> with_number(const PassContext& ctx, NodeId id) {
  if (!id.valid() || ctx.node(id).num_inputs() != 2) return std::nullopt;
  const Node& n = ctx.node(id);
  for (size_t i : {0U, 1U}) {
    const auto c = number(ctx, n.input(1 - i));
    if (c && same_shape(ctx.shape(n.input(i)), ctx.shape(n.output(0))))
      return WithNumber{n.input(i), *c, i};
  }
  return std::nullopt;
}

std::optional<std::vector<double>> per_channel(const Tensor& t, int64_t rank, int64_t axis,
                                               int64_t channels) {
  if (!t.defined() || t.is_string() || t.rank() > rank || channels <= 0) return std::nullopt;
  const int64_t skipped = rank - t.rank();
  for (int64_t i = 0; i < t.rank(); ++i) {
    const int64_t d = t.dims()[static_cast<size_t>(i)];
    if (i + skipped == axis ? d != 1 && d != channels : d != 1) return std::nullopt;
  }
  std::vector<double> r = t.to_f64();
  if (r.size() == 1) r.assign(static_cast<size_t>(channels), r[0]);
  if (static_cast<int64_t>(r.size()) != channels) return std::nullopt;
  return r;
}

bool all_finite(const Tensor& t) {
  if (t.dtype() == DType::kFloat) {
    const auto f = t.as<float>();
    return std::all_of(f.begin(), f.end(), [](float x) { return std::isfinite(x); });
  }
  const std::vector<double> v = t.to_f64();
  return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
}

Result<Tensor> new_weight(DType dtype, const Dims& dims, std::span<const double> values) {
  TRY_ASSIGN(Tensor t, Tensor::from_f64(dtype, dims, values));
  if (!all_finite(t)) return unsupported("a weight would leave the range of its type");
  if (dtype != DType::kFloat && dtype != DType::kDouble) {
    const std::vector<double> back = t.to_f64();
    if (!std::equal(back.begin(), back.end(), values.begin(), values.end()))
      return unsupported(format("a weight would be rounded to {}", dtype_name(dtype)));
  }
  return t;
}

Result<Tensor> scaled_weight(const Tensor& w, std::span<const double> factors, int64_t run) {
  const auto scale = [&](const auto* from, auto* to) {
    const auto n = static_cast<int64_t>(factors.size());
    for (int64_t base = 0; base < w.size(); base += n * run)
      for (int64_t f = 0; f < n; ++f)
        for (int64_t i = base + f * run; i < base + (f + 1) * run; ++i)
          to[i] = static_cast<std::remove_reference_t<decltype(*to)>>(
              from[i] * factors[static_cast<size_t>(f)]);
  };
  if (w.dtype() == DType::kFloat) {  // large ones take no memory for doubles
    TRY_ASSIGN(Tensor t, Tensor::allocate(DType::kFloat, w.dims()));
    scale(w.as<float>().data(), t.mut<float>().data());
    if (!all_finite(t)) return unsupported("a weight would leave the range of its type");
    return t;
  }
  std::vector<double> v = w.to_f64();
  scale(v.data(), v.data());
  return new_weight(w.dtype(), w.dims(), v);
}

std::optional<std::vector<int64_t>> kept_axes(const PassContext& ctx, NodeId id, int64_t rank) {
  const Node& n = ctx.node(id);
  if (n.attr_int("keepdims", 1) != 1) return std::nullopt;
  std::optional<std::vector<int64_t>> axes;
  if (const auto* a = n.attr_ints("axes")) axes = *a;
  if (n.has_input(1)) axes = ctx.ints(n.input(1));
  if (!axes || axes->empty()) return std::nullopt;
  for (int64_t& a : *axes) {
    if (a < 0) a += rank;
    if (a < 0 || a >= rank) return std::nullopt;
  }
  std::sort(axes->begin(), axes->end());
  return axes;
}

bool is_float_type(DType t) {
  return t == DType::kFloat || t == DType::kDouble || t == DType::kFloat16 || t == DType::kBfloat16;
}

bool is_unary_elementwise(const PassContext& ctx, NodeId n) {
  if (!n.valid()) return false;
  const Node& node = ctx.node(n);
  if (!node.domain.view().empty() || node.version == 0 || node.num_outputs() != 1) return false;
  static const char* const kOps[] = {
      "Relu", "Sigmoid",    "Tanh",     "Erf",      "Exp",         "Log",       "Sqrt",
      "Neg",  "Abs",        "Floor",    "Ceil",     "Round",       "Not",       "LeakyRelu",
      "Elu",  "Selu",       "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Gelu",
      "Mish", "Reciprocal", "Sign",     "Sin",      "Cos",         "Cast",      "Identity"};
  return std::any_of(std::begin(kOps), std::end(kOps),
                     [&](const char* op) { return node.op.view() == op; });
}

}  // namespace onnxtool
