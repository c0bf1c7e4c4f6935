// SPDX-License-Identifier: Apache-2.0
// fold-constants: nodes whose results are known become initializers.
//
//     before: Shape(x) -> Gather -> Concat -> Reshape, x: float[N,3,8,8]
//     after:  Reshape by a constant, where the sizes needed are known
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/schema.h"
#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {
namespace {

constexpr uint32_t kFewUsers = 16;
constexpr int64_t kWidened = 64 << 10;  // what a Cast of a constant may add
// A result of more bytes, made of less than a thousandth of them: its node is the smaller form.
constexpr int64_t kGenerated = 64 << 10;

bool may_fold(const Node& n) {
  const OpDef* def = find_op(n);
  if (n.version == 0 || !def || !def->eval || (def->flags & (kRandom | kControlFlow)) ||
      n.has_subgraphs())
    return false;
  if (n.op.view() == "QuantizeLinear" || n.op.view() == "DequantizeLinear") return false;
  const Schema* s = find_schema(n.domain.view(), n.op.view(), n.version);
  return s && s->deterministic;
}

// A Constant that only gives a graph output its name stays as it is.
bool only_names_output(const Model& m, const Node& n) {
  for (ValueId o : n.outputs())
    if (o.valid() && m.value(o).use_count > 0) return false;
  return n.is("Constant") || n.is("Identity");
}

bool known(const PassContext& ctx, const Node& n) {
  bool some = false;
  for (ValueId o : n.outputs()) {
    if (!o.valid()) continue;
    const Tensor* t = ctx.inference().constant(o);
    if (!t || !t->defined()) return false;
    some = true;
  }
  return some;
}

bool after_quantization(const Model& m, const Node& n) {
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    if (!n.has_input(i)) continue;
    const NodeId p = m.value(n.input(i)).producer;
    if (p.valid() && m.node(p).op.view() == "DequantizeLinear") return true;
  }
  return false;
}

// Only nodes that will be constants themselves read the results: of a long chain the last node is
// folded, and what fed it is dead.
bool left_to_users(const PassContext& ctx, const Node& n) {
  const Model& m = ctx.model();
  bool used = false, all = true;
  for (ValueId o : n.outputs()) {
    if (!o.valid()) continue;
    const Value& v = m.value(o);
    if (v.graph_output || v.use_count > kFewUsers) return false;
    m.for_each_use(o, [&](Use u) {
      used = true;
      const Node& user = m.node(u.node);
      all = all && user.graph == n.graph && may_fold(user) && !only_names_output(m, user) &&
            !after_quantization(m, user) && known(ctx, user);
    });
    if (!all) return false;
  }
  return used;
}

// Every user reads it as weights, which other passes scale and merge.
bool only_weights(const Model& m, const Node& n) {
  bool all = true;
  for (ValueId o : n.outputs()) {
    if (!o.valid()) continue;
    m.for_each_use(o, [&](Use u) {
      const Node& user = m.node(u.node);
      all = all && u.index > 0 && (user.is("Conv") || user.is("ConvTranspose") || user.is("Gemm"));
    });
    all = all && !m.value(o).graph_output;
  }
  return all;
}

// Results that inference knows: small constants, and arithmetic on sizes.
Match fold_known(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  for (ValueId o : n.outputs()) {
    if (!o.valid()) continue;
    const Tensor* t = ctx.inference().constant(o);
    edit.replace_output(o, edit.constant(*t, ctx.model().value(o).name));
  }
  edit.note = "known by inference";
  return edit;
}

Match match(const PassContext& ctx, NodeId root) {
  const Model& m = ctx.model();
  const Node& n = m.node(root);
  if (!may_fold(n) || only_names_output(m, n)) return NoMatch{};
  bool constant = true;
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    if (!n.has_input(i)) continue;
    const Tensor* t = m.constant(n.input(i));
    constant = constant && t && !(m.value(n.input(i)).kind == ValueKind::kOutput);
  }
  if (!after_quantization(m, n) && known(ctx, n))
    return left_to_users(ctx, n) ? Match{} : fold_known(ctx, root);
  if (!constant) return NoMatch{};
  if (n.num_inputs() == 0 && !n.is("Constant")) return NoMatch{};
  int64_t bytes = 0;
  for (ValueId o : n.outputs()) {
    if (!o.valid()) continue;
    const auto dims = ctx.dims(o);
    const auto count = dims ? checked_product(*dims) : std::nullopt;
    const auto size = count ? raw_bytes(ctx.type(o).dtype, *count) : std::nullopt;
    if (size && (bytes += static_cast<int64_t>(*size)) > ctx.budget().max_constant_bytes)
      return refuse(format("the result of {} bytes is over the limit of one constant", bytes));
  }
  int64_t freed = 0;
  for (size_t i = 0; i < n.num_inputs(); ++i)
    if (n.has_input(i)) freed += static_cast<int64_t>(m.constant(n.input(i))->bytes());
  if (n.num_inputs() > 0 && bytes - freed > std::max<int64_t>(ctx.growth_left(), 8 << 10))
    return refuse(
        format("would add {} bytes to the model, over the limit of growth", bytes - freed));
  if (n.num_inputs() > 0 && bytes > kGenerated && bytes / 1000 > freed && !only_weights(m, n))
    return refuse(format("would add {} bytes: the node that makes them is smaller", bytes));
  if (n.is("Cast") && bytes - freed > kWidened)
    return refuse("the constant is stored in the narrower type");
  auto results = ctx.evaluate(root);
  if (!results.ok()) return refuse(results.error().text());
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  for (size_t i = 0; i < n.num_outputs(); ++i) {
    if (!n.has_output(i)) continue;
    if (i >= results->size() || !(*results)[i].is_tensor()) return NoMatch{};
    edit.replace_output(n.output(i),
                        edit.constant((*results)[i].tensor, m.value(n.output(i)).name));
  }
  edit.note = "all inputs are constants";
  return edit;
}

}  // namespace

extern const Pass pass_fold_constants;
const Pass pass_fold_constants = {
    .name = "fold-constants",
    .summary = "computes what depends on constants and known sizes only",
    .doc =
        "A node whose inputs are all initializers is evaluated, within the budgets, and its "
        "results become\n"
        "initializers; so does a node whose results inference knows (arithmetic on sizes). Random "
        "operators,\n"
        "QuantizeLinear, DequantizeLinear, nodes with bodies, casts of large constants to a "
        "wider type and nodes that make large results of next to nothing (ConstantOfShape, Expand) "
        "are not folded, but for weights.",
    .match = match,
};

}  // namespace onnxtool
