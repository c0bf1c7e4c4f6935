// SPDX-License-Identifier: Apache-2.0
// Matrix products and convolutions.
#include "tests/differential/gen.h"

namespace onnxtool::differential {
namespace {

DType product_type(Gen& g) {
  return g.pick({DType::kFloat, DType::kFloat, DType::kFloat, DType::kFloat16});
}
int64_t side(Gen& g) {
  return g.chance(0.1) ? g.pick<int64_t>({1, 32, 63, 96, 130}) : g.extent(17);
}

Case matmul(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t m = side(g), k = side(g), n = side(g);
  const Dims batch = g.dims(0, 3, 3);
  Dims a = g.chance(0.6) ? batch : g.broadcastable(batch),
       b = g.chance(0.4) ? Dims() : g.broadcastable(batch);
  if (g.chance(0.9))
    a.push_back(m);
  else
    a.clear();
  a.push_back(k);
  b.push_back(k);
  if (g.chance(0.9))
    b.push_back(n);
  else
    b = {k};
  const DType t = product_type(g);
  c.add(g.floats(a, -2, 2, t), g.chance(0.1));
  c.add(g.floats(b, -2, 2, t), g.chance(0.6));
  c.of_scale = 1e-5;
  return c;
}

Case gemm(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t m = side(g), k = side(g), n = side(g), ta = g.below(2), tb = g.below(2);
  const DType t = product_type(g);
  c.add(g.floats(ta ? Dims{k, m} : Dims{m, k}, -2, 2, t));
  c.add(g.floats(tb ? Dims{n, k} : Dims{k, n}, -2, 2, t), g.chance(0.7));
  if (g.chance(0.7)) c.add(g.floats(g.broadcastable({m, n}), -2, 2, t), g.chance(0.7));
  c.attr("transA", ta);
  c.attr("transB", tb);
  if (g.chance(0.3)) c.attr("alpha", static_cast<float>(g.uniform(-2, 2)));
  if (g.chance(0.3)) c.attr("beta", static_cast<float>(g.uniform(-2, 2)));
  c.of_scale = 1e-5;
  return c;
}

Case conv(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const bool transposed = c.op == "ConvTranspose";
  const int64_t spatial = g.pick<int64_t>({1, 2, 2, 2, 3}),
                group = g.pick<int64_t>({1, 1, 1, 2, 4});
  const bool depthwise = g.chance(0.15);
  const int64_t groups = depthwise ? g.between(2, 20) : group;
  const int64_t ci = depthwise ? 1 : g.pick<int64_t>({1, 2, 3, 5, 8, 16, 24}),
                co = depthwise ? g.pick<int64_t>({1, 1, 2}) : g.pick<int64_t>({1, 3, 4, 8, 17, 70});
  Dims x = {g.extent(3), ci * groups},
       w = transposed ? Dims{ci * groups, co} : Dims{co * groups, ci};
  std::vector<int64_t> kernel, strides, dilations, pads(static_cast<size_t>(2 * spatial)), extra;
  for (int64_t i = 0; i < spatial; ++i) {
    kernel.push_back(g.between(1, spatial == 3 ? 3 : 5));
    strides.push_back(g.between(1, 3));
    dilations.push_back(g.chance(0.7) ? 1 : 2);
    x.push_back(transposed ? g.between(3, 9)
                           : g.between((kernel.back() - 1) * dilations.back() + 1,
                                       spatial < 3 && g.chance(0.2) ? 60 : 14));
    w.push_back(kernel.back());
    extra.push_back(g.below(strides.back()));
  }
  for (int64_t& p : pads) p = g.chance(0.5) ? 0 : g.between(0, transposed ? 1 : 2);
  const DType t = g.chance(0.85) ? DType::kFloat : DType::kFloat16;
  c.add(g.floats(x, -2, 2, t));
  c.add(g.floats(w, -2, 2, t), g.chance(0.85));
  if (g.chance(0.5)) c.add(g.floats({co * groups}, -2, 2, t), g.chance(0.8));
  c.attr("group", groups);
  if (g.chance(0.8)) c.attr("strides", strides);
  if (g.chance(0.8)) c.attr("dilations", dilations);
  if (g.chance(0.2)) c.attr("kernel_shape", kernel);
  if (g.chance(0.2) && !transposed)
    c.attr("auto_pad", g.pick({"SAME_UPPER", "SAME_LOWER", "VALID"}));
  else if (g.chance(0.7))
    c.attr("pads", pads);
  if (transposed && g.chance(0.3) && c.attrs.size() > 1 && c.attrs[1].name == "strides")
    c.attr("output_padding", extra);
  c.of_scale = 2e-5;
  c.same_bits = !transposed;  // oneDNN splits some sums by threads
  return c;
}

// Images and channels for which the engine's 3x3 convolution goes by Winograd.
Case conv_3x3(Gen& g, std::string_view op) {
  Case c = case_of(op);
  const int64_t ci = g.between(12, 40), co = g.between(12, 70);
  c.add(g.floats({g.between(1, 2), ci, g.between(9, 30), g.between(9, 30)}, -2, 2));
  c.add(g.floats({co, ci, 3, 3}, -2, 2), true);
  if (g.chance(0.5)) c.add(g.floats({co}, -2, 2), g.chance(0.8));
  std::vector<int64_t> pads(4);
  for (int64_t& p : pads) p = g.below(3);
  c.attr("pads", pads);
  c.of_scale = 1e-5;
  return c;
}

}  // namespace

void add_products(std::vector<Recipe>& to) {
  to.push_back({"MatMul", matmul});
  to.push_back({"Gemm", gemm});
  to.push_back({"Conv", conv});
  to.push_back({"Conv", conv_3x3});
  to.push_back({"ConvTranspose", conv});
}

}  // namespace onnxtool::differential
