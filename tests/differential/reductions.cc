// SPDX-License-Identifier: Apache-2.0
// Reductions, softmax, normalizations.
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

DType narrow_or_float(Gen& g) {
  return g.pick({DType::kFloat, DType::kFloat, DType::kFloat, DType::kFloat16});
}

Case reduce(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(0, 5, 7);
  const bool product = c.op == "ReduceProd", logs = c.op == "ReduceLogSum";
  const DType t = c.op == "ReduceMean" || logs || c.op == "ReduceLogSumExp" || g.chance(0.85)
                      ? narrow_or_float(g)
                      : g.pick({DType::kInt32, DType::kInt64});
  if (!is_float(t))
    c.add(g.ints(d, logs ? 1 : -5, 5, t));
  else if (product || logs)
    c.add(g.floats(d, logs ? 0.1 : 0.8, logs ? 5 : 1.2, t));
  else
    c.add(g.tensor(t, d, g.chance(0.3), true));
  std::vector<int64_t> axes;
  for (size_t i = 0; i < d.size(); ++i)
    if (g.chance(0.5))
      axes.push_back(static_cast<int64_t>(i) -
                     (g.chance(0.3) ? static_cast<int64_t>(d.size()) : 0));
  if (!axes.empty() || g.chance(0.5)) c.add(Tensor::ints(axes), g.chance(0.8));
  if (g.chance(0.6)) c.attr("keepdims", g.below(2));
  if (g.chance(0.2)) c.attr("noop_with_empty_axes", g.below(2));
  c.of_scale = c.op == "ReduceSum" || c.op == "ReduceMean" ? 2e-5 : 1e-5;
  if (c.op == "ReduceSum" || c.op == "ReduceMean") c.absolute = 1e-6;  // numbers that cancel
  return c;
}

Case global_pool(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(3, 5, 7);
  for (size_t i = 2; i < d.size(); ++i)
    if (d[i] == 0) d[i] = 1;
  c.add(g.tensor(narrow_or_float(g), d, g.chance(0.3), true));
  c.of_scale = 1e-5;
  return c;
}

Case softmax(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 9);
  c.add(g.tensor(narrow_or_float(g), d, g.chance(0.3)));
  if (g.chance(0.8))
    c.attr("axis",
           int64_t{g.below(static_cast<int64_t>(2 * d.size())) - static_cast<int64_t>(d.size())});
  if (g.chance(0.2) && d.size() > 1) c.opset = 11;
  c.of_scale = 1e-6;
  return c;
}

Case arg(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 9);
  for (int64_t& x : d)
    if (x == 0) x = 1;
  c.add(g.chance(0.5) ? g.tensor(DType::kFloat, d)
                      : g.ints(d, 0, 5, g.pick({DType::kFloat, DType::kInt32, DType::kInt64})));
  c.attr("axis", int64_t{g.below(static_cast<int64_t>(d.size()))});
  c.attr("keepdims", g.below(2));
  c.attr("select_last_index", g.below(2));
  return c;
}

Case layer_norm(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool contrib = !c.domain.empty() || c.op == "SimplifiedLayerNormalization";
  const bool skip = c.op.starts_with("Skip"),
             simplified = c.op.find("Simplified") != std::string::npos;
  Dims d = skip ? Dims{g.extent(3), g.extent(5), g.extent(9)} : g.dims(1, 4, 9);
  if (g.chance(0.3)) d.back() = g.pick<int64_t>({32, 48, 65, 130});
  const DType t = skip ? DType::kFloat : narrow_or_float(g);
  const bool constant = g.chance(0.7);
  c.add(g.floats(d, -3, 3, t));
  if (skip) c.add(g.floats(d, -3, 3, t));
  int64_t axis = contrib ? -1 : g.below(static_cast<int64_t>(d.size()));
  const Dims w(d.begin() + (contrib ? static_cast<int64_t>(d.size()) - 1 : axis), d.end());
  c.add(g.floats(w, -2, 2, t), constant);
  if (!simplified && c.op != "RMSNormalization" && g.chance(0.7))
    c.add(g.floats(w, -2, 2, t), constant);
  if (skip) {
    if (!simplified && c.in.size() == 3) c.skip();
    if (g.chance(0.4)) c.add(g.floats(w, -2, 2, t), constant);
  } else {
    c.attr("axis", axis);
  }
  if (g.chance(0.5)) c.attr("epsilon", static_cast<float>(g.uniform(1e-6, 1e-3)));
  // The spread of few numbers may be small against them.
  c.of_scale = d.back() < 8 ? 5e-4 : 1e-5;
  return c;
}

Case group_norm(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(3, 5, 7);
  const int64_t groups = g.between(1, 3);
  const bool instance = c.op == "InstanceNormalization";
  if (!instance) d[1] = groups * g.between(1, 4);
  for (size_t i = 2; i < d.size(); ++i)
    if (d[i] == 0) d[i] = 2;
  const DType t = narrow_or_float(g);
  const bool constant = g.chance(0.7);
  c.add(g.floats(d, -3, 3, t));
  c.add(g.floats({d[1]}, -2, 2, t), constant);
  c.add(g.floats({d[1]}, -2, 2, t), constant);
  if (!instance) c.attr("num_groups", groups);
  c.attr("epsilon", 1e-3f);
  c.relative = 1e-4;
  c.of_scale = 3e-5;
  return c;
}

Case top_k(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 3, 9);
  for (int64_t& x : d) x = std::max<int64_t>(x, 1);
  const auto axis = static_cast<size_t>(g.below(static_cast<int64_t>(d.size())));
  if (g.chance(0.2)) d[axis] = g.between(100, 700);
  c.add(g.chance(0.5) ? g.tensor(g.pick({DType::kFloat, DType::kFloat16}), d)
                      : g.ints(d, -3, 5, g.pick({DType::kFloat, DType::kInt32, DType::kInt64})));
  c.add(Tensor::from_i64(DType::kInt64, {1}, std::vector<int64_t>{g.between(1, d[axis])}).value(),
        g.chance(0.8));
  c.attr("axis", static_cast<int64_t>(axis));
  c.attr("largest", g.below(2));
  c.outputs = 2;
  return c;
}

Case cumsum(Gen& g, std::string_view op) {
  Case c = case_of(op);
  Dims d = g.dims(1, 4, 9);
  const DType t = g.pick({DType::kFloat, DType::kInt32, DType::kInt64});
  c.add(t == DType::kFloat ? g.floats(d, -2, 2) : g.ints(d, -9, 9, t));
  c.add(Tensor::scalar<int64_t>(g.below(static_cast<int64_t>(d.size()))), g.chance(0.8));
  c.attr("exclusive", g.below(2));
  c.attr("reverse", g.below(2));
  c.of_scale = 1e-6;
  return c;
}

}  // namespace

void add_reductions(std::vector<Recipe>& to) {
  for (const char* op :
       {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"})
    to.push_back({op, reduce});
  for (const char* op : {"GlobalAveragePool", "GlobalMaxPool"}) to.push_back({op, global_pool});
  for (const char* op : {"Softmax", "LogSoftmax"}) to.push_back({op, softmax});
  for (const char* op : {"ArgMax", "ArgMin"}) to.push_back({op, arg});
  to.push_back({"TopK", top_k, true});
  to.push_back({"CumSum", cumsum, true});
  for (const char* op :
       {"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
        "com.microsoft.SkipLayerNormalization", "com.microsoft.SkipSimplifiedLayerNormalization"})
    to.push_back({op, layer_norm});
  for (const char* op : {"GroupNormalization", "InstanceNormalization"})
    to.push_back({op, group_norm});
}

}  // namespace onnxtool::differential
