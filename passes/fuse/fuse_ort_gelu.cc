// SPDX-License-Identifier: Apache-2.0
// fuse-ort-gelu
//
//     before: x * 0.5 * (1 + Erf(x / sqrt(2))), and by Tanh, before opset 20
//     after:  com.microsoft.Gelu(x), com.microsoft.FastGelu(x)
//     before: Gelu(x + bias)
//     after:  com.microsoft.BiasGelu(x, bias), com.microsoft.FastGelu(x, bias)
//     before: x * Sigmoid(x * alpha)
//     after:  com.microsoft.QuickGelu(x; alpha)
#include "passes/gelu.h"
#include "passes/ort.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Mul", "Div", "Gelu", "FastGelu"};

// Gelu of any kind behind the addition of a row.
Match with_bias(const PassContext& ctx, NodeId root, bool tanh) {
  const Node& n = ctx.node(root);
  if (n.has_input(1)) return NoMatch{};
  const NodeId add = ctx.producer(n.input(0), "Add", 7);
  if (!add.valid()) return NoMatch{};
  const Node& a = ctx.node(add);
  for (size_t i = 0; i < 2; ++i) {
    const Shape *x = ctx.shape(a.input(i)), *bias = ctx.shape(a.input(1 - i));
    if (!x || !bias || bias->size() != 1 || x->empty() || (*bias)[0] != x->back() ||
        !ctx.model().constant(a.input(1 - i)))
      continue;
    Edit edit;
    edit.at = root;
    edit.exclusive = {add};
    edit.remove = {root, add};
    edit.replace_output(n.output(0), edit.add(tanh ? "FastGelu" : "BiasGelu",
                                              {a.input(i), a.input(1 - i)}, {}, "com.microsoft"));
    edit.note = "with the bias before it";
    return edit;
  }
  return NoMatch{};
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (n.version == 0 || !ort_computes(ctx.type(n.output(0)).dtype) ||
      !ctx.available(n.graph, "com.microsoft", "BiasGelu", 1))
    return NoMatch{};
  if (n.is("Gelu")) return with_bias(ctx, root, n.attr_str("approximate", "none") == "tanh");
  if (n.is("com.microsoft", "Gelu")) return with_bias(ctx, root, false);
  if (n.is("com.microsoft", "FastGelu")) return with_bias(ctx, root, true);
  if (!n.domain.view().empty() || n.version < 7) return NoMatch{};
  if (!ctx.available(n.graph, {}, "Gelu", 20))
    if (Match m = match_gelu(ctx, root, true); !std::holds_alternative<NoMatch>(m)) return m;
  if (n.is("Mul") && !ctx.available(n.graph, {}, "Swish", 24)) return match_swish(ctx, root, true);
  return NoMatch{};
}

}  // namespace

extern const Pass pass_fuse_ort_gelu;
const Pass pass_fuse_ort_gelu = {
    .name = "fuse-ort-gelu",
    .summary = "makes Gelu, FastGelu, BiasGelu and QuickGelu of their parts",
    .doc =
        "For float and half. Gelu and FastGelu by the patterns of fuse-gelu where the opset has "
        "none, the "
        "addition of a constant row\n"
        "before any of them, and QuickGelu of a product with its own Sigmoid before opset 24.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
