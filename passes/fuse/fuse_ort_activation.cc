// SPDX-License-Identifier: Apache-2.0
// fuse-ort-activation
//
//     before: Relu(Conv(x, w, b)), Relu(Gemm(a, b, c))
//     after:  com.microsoft.FusedConv(x, w, b; Relu), com.microsoft.FusedGemm(a, b, c; Relu)
#include "passes/ort.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip"};

// Parameters in the order in which FusedConv takes them; nullopt: not known.
std::optional<std::vector<float>> parameters(const PassContext& ctx, const Node& n) {
  if (n.is("LeakyRelu")) return std::vector{n.attr_float("alpha", 0.01F)};
  if (n.is("HardSigmoid"))
    return std::vector{n.attr_float("alpha", 0.2F), n.attr_float("beta", 0.5F)};
  if (!n.is("Clip")) return std::vector<float>();
  const auto low = n.has_input(1) ? number(ctx, n.input(1)) : -3.402823466e38;
  const auto high = n.has_input(2) ? number(ctx, n.input(2)) : 3.402823466e38;
  if (n.version < 11 || !low || !high) return std::nullopt;
  return std::vector{static_cast<float>(*low), static_cast<float>(*high)};
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0 ||
      !ctx.available(n.graph, "com.microsoft", "FusedConv", 1))
    return NoMatch{};
  const NodeId conv = ctx.producer(n.input(0), "Conv"), gemm = ctx.producer(n.input(0), "Gemm", 7);
  const NodeId before = conv.valid() ? conv : gemm;
  if (!before.valid() || !ort_computes(ctx.type(n.output(0)).dtype)) return NoMatch{};
  const auto p = parameters(ctx, n);
  if (!p) return refuse("the limits are no constants");
  if (gemm.valid() && n.is("Clip")) return refuse("FusedGemm has no Clip");
  const Node& b = ctx.node(before);
  std::vector<EditValue> inputs;
  for (size_t i = 0; i < b.num_inputs(); ++i) inputs.emplace_back(b.input(i));
  std::vector<Attribute> attrs = b.attrs;
  attrs.push_back(Attribute::of("activation", std::string(n.op.view())));
  if (conv.valid() && !p->empty()) attrs.push_back(Attribute::of("activation_params", *p));
  if (gemm.valid() && !p->empty()) attrs.push_back(Attribute::of("activation_alpha", (*p)[0]));
  if (gemm.valid() && p->size() > 1) attrs.push_back(Attribute::of("activation_beta", (*p)[1]));
  Edit edit;
  edit.at = root;
  edit.exclusive = {before};
  edit.remove = {root, before};
  edit.replace_output(n.output(0), edit.add(conv.valid() ? "FusedConv" : "FusedGemm",
                                            std::move(inputs), std::move(attrs), "com.microsoft"));
  edit.nodes.back().like = before;
  return edit;
}

}  // namespace

extern const Pass pass_fuse_ort_activation;
const Pass pass_fuse_ort_activation = {
    .name = "fuse-ort-activation",
    .summary = "puts an activation into the Conv or Gemm before it",
    .doc =
        "For float and half: Relu, Sigmoid, Tanh, LeakyRelu, HardSigmoid, and behind a Conv a Clip "
        "with "
        "constant limits, where nobody\n"
        "else reads what the Conv or Gemm gives.",
    .roots = kRoots,
    .match = match,
    .target = "ort",
};

}  // namespace onnxtool
