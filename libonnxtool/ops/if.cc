// SPDX-License-Identifier: Apache-2.0
// If: runs one of two graphs.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/body_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/partial.h"

namespace onnxtool {
namespace {

Result<GraphId> branch(const Model& m, const Node& node, bool taken) {
  const char* name = taken ? "then_branch" : "else_branch";
  const GraphId g = node.attr_graph(name);
  if (!g.valid()) return invalid(format("attribute '{}' is missing", name));
  const Graph& graph = m.graph(g);
  if (!graph.inputs.empty()) return invalid(format("attribute '{}' has inputs", name));
  if (graph.outputs.size() < node.num_outputs())
    return invalid(format("attribute '{}' has {} outputs, the node has {}", name,
                          graph.outputs.size(), node.num_outputs()));
  return g;
}

std::optional<bool> known_condition(const InferContext& ctx) {
  const auto p = partial_of(ctx, 0);
  if (!p || p->size() != 1 || !(*p)[0].is_const()) return std::nullopt;
  return (*p)[0].value() != 0;
}

Status infer_if(InferContext& ctx) {
  if (const Shape* s = ctx.shape(0)) {
    for (const Dim& d : *s)
      if (Dim::differ(d, 1))
        return ctx.error(format("the condition {} is not one element", to_string(*s)));
  }
  TRY_ASSIGN(const GraphId then_graph, branch(ctx.model(), ctx.node(), true));
  TRY_ASSIGN(const GraphId else_graph, branch(ctx.model(), ctx.node(), false));
  const size_t n = ctx.model().graph(then_graph).outputs.size(),
               m = ctx.model().graph(else_graph).outputs.size();
  if (n != m) return ctx.error(format("the branches have {} and {} outputs", n, m));
  if (const auto taken = known_condition(ctx)) {
    // The other branch never runs: what is wrong in it does not matter, but its types may help.
    (void)ctx.infer_graph(*taken ? else_graph : then_graph, {});
    TRY_ASSIGN(const std::vector<Type> types,
               ctx.infer_graph(*taken ? then_graph : else_graph, {}));
    for (size_t i = 0; i < ctx.num_outputs() && i < types.size(); ++i) TRY(ctx.set(i, types[i]));
    return ok();
  }
  TRY_ASSIGN(const std::vector<Type> a, ctx.infer_graph(then_graph, {}));
  TRY_ASSIGN(const std::vector<Type> b, ctx.infer_graph(else_graph, {}));
  for (size_t i = 0; i < ctx.num_outputs() && i < a.size() && i < b.size(); ++i) {
    if (!a[i].known() || !b[i].known()) continue;
    const bool kinds = a[i].kind != b[i].kind;
    const bool types = a[i].dtype != b[i].dtype && a[i].dtype != DType::kUndefined &&
                       b[i].dtype != DType::kUndefined;
    if (kinds || types)
      return ctx.error(
          format("the branches give output {} the types {} and {}", i, a[i].text(), b[i].text()));
    TRY(ctx.set(i, join(a[i], b[i])));
  }
  return ok();
}

Status eval_if(EvalContext& ctx) {
  TRY_ASSIGN(const bool taken, truth(ctx, ctx.datum(0), "the condition"));
  TRY_ASSIGN(const GraphId g, branch(ctx.model(), ctx.node(), taken));
  TRY(ctx.host().step());
  TRY_ASSIGN(std::vector<Datum> results, ctx.host().run_graph(g, {}));
  for (size_t i = 0; i < results.size(); ++i) ctx.set(i, std::move(results[i]));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(if, {.name = "If", .infer = infer_if, .eval = eval_if, .flags = kControlFlow});
