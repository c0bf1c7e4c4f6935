// SPDX-License-Identifier: Apache-2.0
// Operators on integers that stand for real numbers.
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

Case linear(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const Dims d = g.dims(1, 4, 7);
  const int64_t axis = g.below(static_cast<int64_t>(d.size()));
  const DType code = g.pick({DType::kUint8, DType::kInt8}),
              real = g.pick({DType::kFloat, DType::kFloat, DType::kFloat16});
  const bool per_axis = g.chance(0.5), constant = g.chance(0.8);
  const Dims p = per_axis ? Dims{d[static_cast<size_t>(axis)]} : Dims{};
  if (c.op == "QuantizeLinear") {
    // Away from halves, where the error of a quotient would decide.
    c.add(g.floats(d, -3, 3, real));
    c.add(Tensor::from_f64(real, p,
                           std::vector<double>(static_cast<size_t>(per_axis ? p[0] : 1),
                                               g.pick({0.5, 0.03125, 0.25})))
              .value(),
          constant);
  } else {
    c.add(g.tensor(code, d));
    c.add(g.floats(p, 0.01, 0.1, real), constant);
  }
  if (g.chance(0.8)) c.add(g.tensor(code, p), constant);
  if (per_axis) c.attr("axis", axis);
  return c;
}

}  // namespace

void add_quantized(std::vector<Recipe>& to) {
  for (const char* op : {"QuantizeLinear", "DequantizeLinear"}) to.push_back({op, linear});
}

}  // namespace onnxtool::differential
