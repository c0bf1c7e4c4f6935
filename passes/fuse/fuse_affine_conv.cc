// SPDX-License-Identifier: Apache-2.0
// fuse-affine-conv: what scales and shifts the channels before a convolution goes into its weights.
//
//     before: BatchNormalization / Mul by s[C,1,1] / Add of t[C,1,1] -> Conv(W, b) -> y
//     after:  Conv(W * s, b + W * t) -> y
#include "libonnxtool/base/str.h"
#include "passes/affine.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Conv", "Gemm", "MatMul"};
constexpr size_t kLargest = size_t{16} << 20;  // bytes of a weight

// Where the weight has its input channels: element (o, i, k) of [outputs, inputs, inner], or of
// [inputs, outputs] where turned; outputs of group g read channels from g * inputs on.
struct Layout {
  int64_t outputs = 0, inputs = 0, inner = 1, groups = 1;
  bool turned = false;
  int64_t at(int64_t o, int64_t i, int64_t k) const {
    return turned ? i * outputs + o : (o * inputs + i) * inner + k;
  }
  int64_t channel(int64_t o, int64_t i) const { return o / (outputs / groups) * inputs + i; }
};

std::optional<Layout> layout_of(const Node& n, const Tensor& w) {
  Layout l;
  if (n.is("Conv")) {
    l.outputs = w.dims()[0];
    l.inputs = w.dims()[1];
    for (size_t i = 2; i < w.dims().size(); ++i) l.inner *= w.dims()[i];
    l.groups = n.attr_int("group", 1);
    if (l.groups < 1 || l.outputs % l.groups != 0) return std::nullopt;
    return l;
  }
  if (w.rank() != 2 || n.attr_int("transA", 0) != 0) return std::nullopt;
  l.turned = n.attr_int("transB", 0) == 0;
  l.inputs = w.dims()[l.turned ? 0 : 1];
  l.outputs = w.dims()[l.turned ? 1 : 0];
  return l;
}

bool pads(const Node& n) {
  const std::string_view automatic = n.attr_str("auto_pad", "NOTSET");
  if (automatic == "VALID") return false;
  if (automatic != "NOTSET") return true;
  const auto* p = n.attr_ints("pads");
  return p && std::any_of(p->begin(), p->end(), [](int64_t v) { return v != 0; });
}

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = ctx.node(root);
  if (!n.domain.view().empty() || n.version == 0 || !n.has_input(1)) return NoMatch{};
  const bool conv = n.is("Conv"), gemm = n.is("Gemm");
  if (gemm && n.version < 7) return NoMatch{};
  const ValueId x = n.input(0);
  if (m.value(x).kind != ValueKind::kOutput) return NoMatch{};
  const NodeId before = m.value(x).producer;
  bool wanted = false;
  for (const char* op : {"BatchNormalization", "Mul", "Div", "Add", "Sub"})
    wanted = wanted || ctx.is(before, op);
  const Tensor* stored = m.constant(n.input(1));
  const Shape* shape = ctx.shape(x);
  if (!wanted || !stored || !shape || stored->size() == 0 || stored->rank() < (conv ? 3 : 2))
    return NoMatch{};
  const auto rank = static_cast<int64_t>(shape->size());
  const auto layout = layout_of(n, *stored);
  if (!layout) return NoMatch{};
  const int64_t channels = layout->inputs * layout->groups;
  const auto a = affine_of(ctx, before, rank, conv ? 1 : rank - 1, channels);
  if (!a) return NoMatch{};
  const Node& p = ctx.node(before);
  const Shape* from = ctx.shape(p.input(a->input));
  if (!same_shape(from, shape)) return refuse("it may broadcast to another shape");
  if (stored->bytes() > kLargest) return refuse("the weight is large");
  if (!m.sole_use(x)) return refuse(format("{} has other users", m.describe(x)));
  const Tensor w = stored->to_aligned();
  if (w.dtype() != DType::kFloat && w.dtype() != DType::kDouble)
    return refuse("the weight is not of single or double precision");
  bool shifts = false;
  for (double t : a->shift) shifts = shifts || t != 0;
  if (shifts && conv && pads(n)) return refuse("padding by zeros comes behind the shift");
  const bool has_bias = n.num_inputs() > 2 && n.has_input(2);
  const Tensor bias = has_bias ? ctx.constant(n.input(2)) : Tensor();
  if (shifts && n.is("MatMul")) return refuse("it has no bias");
  if (shifts && has_bias &&
      (!bias.defined() || bias.size() != layout->outputs ||
       (bias.rank() > 0 && bias.dims().back() != layout->outputs)))
    return refuse("the bias is no constant");
  std::vector<double> b = bias.defined() && shifts
                              ? bias.to_f64()
                              : std::vector<double>(static_cast<size_t>(layout->outputs), 0.0);
  if (shifts) {
    const std::vector<double> v = w.to_f64();
    const double alpha = gemm ? n.attr_float("alpha", 1) : 1,
                 beta = gemm ? n.attr_float("beta", 1) : 1;
    for (int64_t o = 0; o < layout->outputs; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < layout->inputs; ++i)
        for (int64_t k = 0; k < layout->inner; ++k)
          sum += v[static_cast<size_t>(layout->at(o, i, k))] *
                 a->shift[static_cast<size_t>(layout->channel(o, i))];
      double& to = b[static_cast<size_t>(o)];
      to = to * beta + sum * alpha;
    }
  }
  Edit edit;
  edit.remove = {before};
  edit.set_input(root, 0, p.input(a->input));
  if (!a->scale.empty()) {
    std::vector<double> factors = a->scale;
    if (layout->groups > 1) {
      factors.clear();
      for (int64_t o = 0; o < layout->outputs; ++o)
        for (int64_t i = 0; i < layout->inputs; ++i)
          factors.push_back(a->scale[static_cast<size_t>(layout->channel(o, i))]);
    }
    auto t = scaled_weight(w, factors, layout->turned ? layout->outputs : layout->inner);
    if (!t.ok()) return refuse(t.error().text());
    edit.set_input(root, 1, edit.constant(std::move(*t), m.value(n.input(1)).name));
  }
  if (shifts) {
    auto t = new_weight(w.dtype(), {layout->outputs}, b);
    if (!t.ok()) return refuse(t.error().text());
    edit.set_input(root, 2,
                   edit.constant(std::move(*t), has_bias ? m.value(n.input(2)).name
                                                         : m.value(n.input(1)).name + "_bias"));
    if (n.attr_float("beta", 1) != 1) edit.set_attr(root, Attribute::of("beta", 1.0F));
  }
  edit.note = m.describe(before) + " into the weights";
  return edit;
}

}  // namespace

extern const Pass pass_fuse_affine_conv;
const Pass pass_fuse_affine_conv = {
    .name = "fuse-affine-conv",
    .summary = "puts scales and shifts of channels into the Conv, Gemm or MatMul behind them",
    .doc =
        "BatchNormalization (not training), Mul, Div, Add or Sub by a constant for each channel, "
        "whose result only a\n"
        "Conv, Gemm or MatMul with a constant weight reads. A shift goes only where nothing is "
        "padded and the bias is a\n"
        "constant, and not into a MatMul.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
