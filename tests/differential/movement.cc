// SPDX-License-Identifier: Apache-2.0
// Operators that move elements: any element type, values exact.
#include <algorithm>

#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

DType any_type(Gen& g) {
  return g.pick({DType::kFloat, DType::kFloat, DType::kFloat, DType::kFloat16, DType::kDouble,
                 DType::kInt64, DType::kInt32, DType::kUint8, DType::kBool, DType::kBfloat16});
}
int64_t rank_of(const Tensor& t) { return t.rank(); }
int64_t some_axis(Gen& g, int64_t rank) { return g.below(rank) - (g.chance(0.3) ? rank : 0); }

Case transpose(Gen& g, std::string_view op) {
  Case c = case_of(op);
  c.add(g.tensor(any_type(g), g.dims(0, 6, 5)));
  std::vector<int64_t> perm(static_cast<size_t>(rank_of(*c.in[0].tensor)));
  for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
  for (size_t i = perm.size(); i > 1; --i)
    std::swap(perm[i - 1], perm[static_cast<size_t>(g.below(static_cast<int64_t>(i)))]);
  if (g.chance(0.85)) c.attr("perm", perm);
  return c;
}

Case slice(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 9);
  c.add(g.tensor(any_type(g), d));
  std::vector<int64_t> starts, ends, axes, steps;
  for (size_t i = 0; i < d.size(); ++i) {
    if (g.chance(0.4)) continue;
    axes.push_back(static_cast<int64_t>(i) - (g.chance(0.3) ? static_cast<int64_t>(d.size()) : 0));
    const bool back = g.chance(0.3);
    steps.push_back(g.between(1, 3) * (back ? -1 : 1));
    const int64_t a = g.between(-d[i] - 1, d[i] + 1), b = g.between(-d[i] - 1, d[i] + 1);
    starts.push_back(back ? std::max(a, b) : std::min(a, b));
    ends.push_back(g.chance(0.2) ? (back ? INT64_MIN : INT64_MAX)
                   : back        ? std::min(a, b)
                                 : std::max(a, b));
  }
  const bool constant = g.chance(0.7);
  for (const auto& v : {starts, ends, axes, steps}) c.add(Tensor::ints(v), constant);
  return c;
}

Case concat(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 6);
  const DType t = any_type(g);
  const int64_t axis = g.below(static_cast<int64_t>(d.size()));
  for (int64_t n = g.between(1, 4); n > 0; --n) {
    d[static_cast<size_t>(axis)] = g.extent(5);
    c.add(g.tensor(t, d), g.chance(0.2));
  }
  c.attr("axis", int64_t{axis - (g.chance(0.3) ? static_cast<int64_t>(d.size()) : 0)});
  return c;
}

Case split(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 6);
  const int64_t axis = g.below(static_cast<int64_t>(d.size()));
  c.outputs = static_cast<size_t>(g.between(1, 4));
  std::vector<int64_t> sizes;
  int64_t sum = 0;
  for (size_t i = 0; i < c.outputs; ++i) {
    sizes.push_back(g.extent(4));
    sum += sizes.back();
  }
  const bool equal = g.chance(0.4);
  d[static_cast<size_t>(axis)] = equal ? static_cast<int64_t>(c.outputs) * g.between(1, 3) : sum;
  c.add(g.tensor(any_type(g), d));
  if (equal)
    c.attr("num_outputs", static_cast<int64_t>(c.outputs));
  else
    c.add(Tensor::ints(sizes), g.chance(0.8));
  c.attr("axis", axis);
  return c;
}

Case expand(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 4, 6);
  c.add(g.tensor(any_type(g), g.broadcastable(d)));
  c.add(Tensor::ints(g.chance(0.8) ? d : g.broadcastable(d)), g.chance(0.7));
  return c;
}

Case tile(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 4, 5);
  c.add(g.tensor(any_type(g), d));
  c.add(g.ints({static_cast<int64_t>(d.size())}, g.chance(0.1) ? 0 : 1, 3), g.chance(0.7));
  return c;
}

Case blocks(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t b = g.between(1, 3), k = g.between(1, 5);
  const bool to_space = c.op == "DepthToSpace";
  Dims d = {g.extent(3), to_space ? k * b * b : g.extent(9),
            to_space ? g.extent(5) : b * g.between(1, 4),
            to_space ? g.extent(5) : b * g.between(1, 4)};
  c.add(g.tensor(any_type(g), d));
  c.attr("blocksize", b);
  if (to_space && g.chance(0.5)) c.attr("mode", "CRD");
  return c;
}

Case gather(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 9);
  const int64_t axis = g.below(static_cast<int64_t>(d.size()));
  int64_t& n = d[static_cast<size_t>(axis)];
  if (n == 0) n = 1;
  c.add(g.tensor(any_type(g), d), g.chance(0.2));
  c.add(g.ints(g.dims(0, 3, 5), -n, n - 1, g.chance(0.7) ? DType::kInt64 : DType::kInt32),
        g.chance(0.2));
  c.attr("axis", int64_t{axis - (g.chance(0.3) ? static_cast<int64_t>(d.size()) : 0)});
  return c;
}

Case pad(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 8);
  const char* mode = g.pick({"constant", "constant", "edge", "reflect", "wrap"});
  const DType t = any_type(g);
  std::vector<int64_t> axes, pads;
  for (size_t i = 0; i < d.size(); ++i)
    if (g.chance(0.7)) axes.push_back(static_cast<int64_t>(i));
  for (int side = 0; side < 2; ++side)
    for (int64_t a : axes) {
      const int64_t n = d[static_cast<size_t>(a)];
      const int64_t most = *mode == 'c'   ? 3
                           : *mode == 'r' ? std::min<int64_t>(3, n - 1)
                           : n > 0        ? 2
                                          : 0;
      pads.push_back(g.between(n > 4 && g.chance(0.3) ? -1 : 0, std::max<int64_t>(most, 0)));
    }
  const bool constant = g.chance(0.7);
  c.add(g.tensor(t, d));
  c.add(Tensor::ints(pads), constant);
  if (g.chance(0.5))
    c.add(g.tensor(t, {}, false), g.chance(0.7));
  else
    c.skip();
  c.add(Tensor::ints(axes), constant);
  c.attr("mode", mode);
  return c;
}

Case reshape(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 5, 6);
  c.add(g.tensor(any_type(g), d));
  Dims to = d;
  for (int64_t n = g.below(3); n > 0 && to.size() > 1; --n) {  // merge neighbours
    const auto at = static_cast<size_t>(g.below(static_cast<int64_t>(to.size()) - 1));
    to[at] *= to[at + 1];
    to.erase(to.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  const bool zero = std::find(d.begin(), d.end(), 0) != d.end();
  if (zero) c.attr("allowzero", int64_t{1});
  if (!zero && !to.empty() && g.chance(0.4))
    to[static_cast<size_t>(g.below(static_cast<int64_t>(to.size())))] = -1;
  c.add(Tensor::ints(to), g.chance(0.8));
  return c;
}

Case space(Gen& g, std::string_view op) {  // Squeeze, Unsqueeze, Flatten, Identity
  Case c = case_of(op);
  Dims d = g.dims(c.op == "Squeeze" || c.op == "Flatten" ? 1 : 0, 4, 5);
  if (c.op == "Squeeze") d[0] = 1;
  c.add(g.tensor(any_type(g), d));
  if (c.op == "Squeeze" || c.op == "Unsqueeze") c.add(Tensor::ints({0}), g.chance(0.8));
  if (c.op == "Flatten" && !d.empty()) c.attr("axis", some_axis(g, static_cast<int64_t>(d.size())));
  return c;
}

Case scatter(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 7);
  const auto rank = static_cast<int64_t>(d.size());
  const bool none = g.chance(0.5);
  const DType t = c.op == "Scatter" ? DType::kFloat
                  : none            ? any_type(g)
                         : g.pick({DType::kFloat, DType::kFloat, DType::kFloat16, DType::kDouble,
                                   DType::kInt32, DType::kInt64});
  const DType it = g.pick({DType::kInt64, DType::kInt64, DType::kInt32});
  // Half precision is computed in float, which does not overflow on the way.
  const auto values = [&](const Dims& shape) {
    return t == DType::kFloat16 && !none ? g.floats(shape, -2, 2, t)
                                         : g.tensor(t, shape, true, true);
  };
  c.add(values(d));
  for (int64_t e : d)
    if (e == 0) return c.op.clear(), c;  // asked again below
  if (c.op == "ScatterND") {
    const int64_t depth = g.between(1, rank), count = g.extent(6);
    std::vector<int64_t> index;
    for (int64_t i = 0; i < count; ++i)
      for (int64_t k = 0; k < depth; ++k) {
        const int64_t e = d[static_cast<size_t>(k)];
        index.push_back(g.between(g.chance(0.2) ? -e : 0, e - 1));
      }
    Dims u = {count};
    u.insert(u.end(), d.begin() + depth, d.end());
    c.add(Tensor::from_i64(DType::kInt64, {count, depth}, index).value(), g.chance(0.2));
    c.add(values(u), g.chance(0.1));
  } else {
    const int64_t axis = g.below(rank), extent = d[static_cast<size_t>(axis)];
    Dims u = d;
    u[static_cast<size_t>(axis)] = g.between(1, 9);
    if (g.chance(0.2))
      for (int64_t& e : u) e = g.between(1, e);
    c.add(g.ints(u, g.chance(0.2) ? -extent : 0, extent - 1, it), g.chance(0.2));
    c.add(values(u), g.chance(0.1));
    c.attr("axis", axis);
  }
  if (!none && c.op != "Scatter") c.attr("reduction", g.pick({"add", "mul", "max", "min"}));
  if (c.op == "Scatter") c.opset = 9;
  c.of_scale = t == DType::kFloat16 ? 4e-3 : 1e-6;
  return c;
}

Case scattered(Gen& g, std::string_view op) {
  for (;;)
    if (Case c = scatter(g, op); !c.op.empty()) return c;
}

Case gather_elements(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 7);
  for (int64_t& e : d) e = std::max<int64_t>(e, 1);
  const auto rank = static_cast<int64_t>(d.size());
  const int64_t axis = g.below(rank), extent = d[static_cast<size_t>(axis)];
  c.add(g.tensor(any_type(g), d), g.chance(0.2));
  for (int64_t& e : d) e = g.chance(0.3) ? g.between(1, e) : e;
  d[static_cast<size_t>(axis)] = g.between(1, 9);
  c.add(g.ints(d, -extent, extent - 1, g.pick({DType::kInt64, DType::kInt32})), g.chance(0.2));
  c.attr("axis", int64_t{axis - (g.chance(0.3) ? rank : 0)});
  return c;
}

Case gather_nd(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 5, 6);
  for (int64_t& e : d) e = std::max<int64_t>(e, 1);
  const auto rank = static_cast<int64_t>(d.size());
  const int64_t batch = g.below(std::min<int64_t>(rank, 3)), depth = g.between(1, rank - batch);
  c.add(g.tensor(any_type(g), d), g.chance(0.2));
  Dims of(d.begin(), d.begin() + batch);
  for (int64_t more = g.between(batch > 0 ? 0 : 1, 2); more > 0; --more)
    of.push_back(g.between(1, 4));
  int64_t least = d[static_cast<size_t>(batch)];  // in range along each axis of a tuple
  for (int64_t k = 1; k < depth; ++k) least = std::min(least, d[static_cast<size_t>(batch + k)]);
  of.push_back(depth);
  c.add(g.ints(of, -least, least - 1), g.chance(0.2));
  c.attr("batch_dims", batch);
  return c;
}

}  // namespace

void add_movement(std::vector<Recipe>& to) {
  to.push_back({"Transpose", transpose});
  to.push_back({"Slice", slice});
  to.push_back({"Concat", concat});
  to.push_back({"Split", split});
  to.push_back({"Expand", expand});
  to.push_back({"Tile", tile});
  to.push_back({"DepthToSpace", blocks});
  to.push_back({"SpaceToDepth", blocks});
  to.push_back({"Gather", gather});
  to.push_back({"GatherElements", gather_elements, true});
  to.push_back({"GatherND", gather_nd, true});
  to.push_back({"Pad", pad});
  for (const char* op : {"Scatter", "ScatterElements", "ScatterND"}) to.push_back({op, scattered});
  to.push_back({"Reshape", reshape});
  for (const char* op : {"Squeeze", "Unsqueeze", "Flatten", "Identity"}) to.push_back({op, space});
}

}  // namespace onnxtool::differential
