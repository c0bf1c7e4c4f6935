// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/body_util.h"

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/move_util.h"

namespace onnxtool {
namespace {

// Trips after which a type that still changes gives up its shape.
constexpr int kShapeTrips = 4;
constexpr int kMaxTrips = 8;

// What holds before and after a trip; error when element types contradict.
Result<Type> carried_join(const InferContext& ctx, const Type& in, const Type& out, size_t i) {
  if (!out.known()) return out;
  if (!in.known()) return in;
  // An optional may come back as what it holds: the body still takes an optional.
  if (in.kind == TypeKind::kOptional && out.kind != TypeKind::kOptional &&
      (!in.inner || in.inner->kind == out.kind))
    return in.inner ? Type::optional(join(*in.inner, out)) : in;
  const bool differ =
      in.kind != out.kind || (in.is_tensor() && in.dtype != out.dtype &&
                              in.dtype != DType::kUndefined && out.dtype != DType::kUndefined);
  if (differ)
    return ctx.error(
        format("carried value {} changes its type from {} to {}", i, in.text(), out.text()));
  if (in.is_tensor() && in.dtype == DType::kUndefined) return in;
  return join(in, out);
}

Type without_shape(const Type& t) {
  if (t.is_tensor()) return Type::tensor(t.dtype);
  return Type::unknown();
}

}  // namespace

Result<GraphId> body_of(const Model& m, const Node& node, size_t inputs, size_t outputs) {
  const GraphId g = node.attr_graph("body");
  if (!g.valid()) return invalid("attribute 'body' is missing");
  const Graph& graph = m.graph(g);
  if (graph.inputs.size() != inputs)
    return invalid(format("the body has {} inputs, {} expected", graph.inputs.size(), inputs));
  if (graph.outputs.size() < outputs)
    return invalid(
        format("the body has {} outputs, at least {} expected", graph.outputs.size(), outputs));
  return g;
}

Result<std::vector<Type>> infer_carried(InferContext& ctx, GraphId body,
                                        std::span<const Type> before, std::vector<Type>& carried,
                                        std::span<const Type> after, size_t skip) {
  for (int trip = 0;; ++trip) {
    std::vector<Type> inputs(before.begin(), before.end());
    inputs.insert(inputs.end(), carried.begin(), carried.end());
    inputs.insert(inputs.end(), after.begin(), after.end());
    TRY_ASSIGN(std::vector<Type> outputs, ctx.infer_graph(body, inputs));
    bool stable = true;
    for (size_t i = 0; i < carried.size() && skip + i < outputs.size(); ++i) {
      TRY_ASSIGN(Type next, carried_join(ctx, carried[i], outputs[skip + i], i));
      if (next.same(carried[i])) continue;
      stable = false;
      if (trip >= kShapeTrips) next = without_shape(next);
      carried[i] = std::move(next);
    }
    if (stable || trip >= kMaxTrips) return outputs;
  }
}

Type output_type(const Model& m, GraphId body, size_t i) {
  const Graph& g = m.graph(body);
  const Type& inferred = m.value(g.outputs[i]).type;
  if (i >= g.output_types.size()) return inferred;
  return merge(inferred, g.output_types[i]).value_or(inferred);
}

Type scalar_type(const Value& v, DType t) {
  const bool list = v.declared.is_tensor() && v.declared.shape && v.declared.shape->size() == 1;
  return Type::tensor(t, list ? Shape{1} : Shape{});
}

Tensor scalar_for(const Value& v, Tensor scalar) {
  const bool list = v.declared.is_tensor() && v.declared.shape && v.declared.shape->size() == 1;
  return scalar.reshaped(list ? Dims{1} : Dims{});
}

Type stacked_type(const Type& element, Dim count, int64_t axis) {
  if (!element.is_tensor()) return Type::unknown();
  if (!element.shape) return Type::tensor(element.dtype);
  Shape s = *element.shape;
  const auto at = axis < 0 ? axis + static_cast<int64_t>(s.size()) + 1 : axis;
  if (at < 0 || at > static_cast<int64_t>(s.size())) return Type::tensor(element.dtype);
  s.insert(s.begin() + at, count);
  return Type::tensor(element.dtype, std::move(s));
}

Result<Tensor> stacked(const EvalContext& ctx, std::span<const Tensor> parts, int64_t axis,
                       const Type& element) {
  auto position = [&](size_t rank) -> Result<size_t> {
    const int64_t r = static_cast<int64_t>(rank), at = axis < 0 ? axis + r + 1 : axis;
    if (at < 0 || at > r)
      return ctx.error(format("axis {} is out of range for rank {}", axis, r + 1));
    return static_cast<size_t>(at);
  };
  if (parts.empty()) {
    Dims dims;
    if (element.shape)
      for (const Dim& d : *element.shape) dims.push_back(d.is_const() ? d.value() : 0);
    TRY_ASSIGN(const size_t at, position(dims.size()));
    dims.insert(dims.begin() + static_cast<ptrdiff_t>(at), 0);
    const DType type = element.dtype == DType::kUndefined ? DType::kFloat : element.dtype;
    return ctx.allocate(type, std::move(dims));
  }
  std::vector<Tensor> rows;
  size_t at = 0;
  for (const Tensor& p : parts) {
    Dims dims = p.dims();
    TRY_ASSIGN(at, position(dims.size()));
    dims.insert(dims.begin() + static_cast<ptrdiff_t>(at), 1);
    rows.push_back(p.reshaped(std::move(dims)));
    if (rows.back().rank() != rows.front().rank())
      return ctx.error(format("results of different ranks cannot be stacked: {} and {}",
                              to_string(parts[0].dims()), to_string(p.dims())));
  }
  return concatenated(ctx, rows, static_cast<int64_t>(at));
}

Result<bool> truth(const EvalContext& ctx, const Datum& d, const char* what) {
  if (!d.is_tensor() || d.tensor.dtype() != DType::kBool || d.tensor.size() != 1)
    return ctx.error(format("{} is not one boolean", what));
  return d.tensor.i64_at(0) != 0;
}

}  // namespace onnxtool
