// SPDX-License-Identifier: Apache-2.0
// fuse-columns
//
//     before: Concat(Gather(x, [0]), Gather(x, [2]), ...)
//     after:  Gather(x, [0, 2])
//     before: Concat(ReduceProd(Gather(x, [0, 1])), ReduceProd(Gather(x, [0, 2])), ...)
//     after:  Gather(x, [0, 0]) * Gather(x, [1, 2])
//
// Columns of a matrix are taken as rows of the transposed one: whole rows are copied at once.
#include "passes/axes.h"
#include "passes/util.h"

namespace onnxtool {
namespace {

const char* const kRoots[] = {"Concat"};

constexpr size_t kMostFactors = 8;

// Some entries of x along the axis of the Concat, as they are or multiplied to one.
struct Part {
  std::vector<NodeId> nodes;
  ValueId x;
  std::vector<int64_t> picks;
  size_t factors = 1;
};

std::optional<Part> part_of(const PassContext& ctx, NodeId root, ValueId v, int64_t axis,
                            int64_t rank) {
  if (ctx.sole_user(v) != root) return std::nullopt;
  Part p;
  const NodeId product = ctx.producer(v, "ReduceProd");
  if (product.valid()) {
    v = ctx.node(product).input(0);
    if (kept_axes(ctx, product, rank) != Axes{axis} || ctx.sole_user(v) != product)
      return std::nullopt;
    p.nodes.push_back(product);
  }
  p.nodes.push_back(ctx.model().value(v).producer);
  if (!p.nodes.back().valid()) return std::nullopt;
  const Node& n = ctx.node(p.nodes.back());
  if (n.is("Gather")) {
    const int64_t a = n.attr_int("axis", 0);
    if ((a < 0 ? a + rank : a) != axis) return std::nullopt;
  } else if (!n.is("ai.onnx.ml", "ArrayFeatureExtractor") || axis != rank - 1) {
    return std::nullopt;
  }
  p.x = n.input(0);
  const Shape* from = ctx.shape(p.x);
  const Tensor t = ctx.constant(n.input(1));
  if (!from || static_cast<int64_t>(from->size()) != rank || !t.defined()) return std::nullopt;
  if (n.is("Gather") && t.rank() != 1) return std::nullopt;
  p.picks = t.to_i64();
  if (product.valid()) p.factors = p.picks.size();
  return p;
}

// All parts side by side.
EditValue together(Edit& edit, const std::vector<Part>& run, int64_t axis, int64_t rank) {
  const size_t factors = run[0].factors;
  const bool turn = factors > 1 && rank == 2 && axis == 1;
  const EditValue x = turn ? make_transpose(edit, run[0].x, {1, 0}) : EditValue(run[0].x);
  EditValue y;
  for (size_t f = 0; f < factors; ++f) {
    std::vector<int64_t> picks;
    for (const Part& p : run)
      for (size_t i = f; i < p.picks.size(); i += factors) picks.push_back(p.picks[i]);
    const EditValue g = edit.add("Gather", {x, edit.constant(Tensor::ints(picks))},
                                 {Attribute::of("axis", turn ? int64_t{0} : axis)});
    y = f == 0 ? g : edit.add("Mul", {y, g});
  }
  return turn ? make_transpose(edit, y, {1, 0}) : y;
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  const Shape* shape = ctx.is(root, "Concat", 4) ? ctx.shape(n.output(0)) : nullptr;
  if (!shape) return NoMatch{};
  const auto rank = static_cast<int64_t>(shape->size());
  int64_t axis = n.attr_int("axis", 0);
  if (axis < 0) axis += rank;
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  std::vector<EditValue> inputs;
  for (size_t i = 0; i < n.num_inputs();) {
    std::vector<Part> run;
    for (size_t k = i; k < n.num_inputs(); ++k) {
      auto p = part_of(ctx, root, n.input(k), axis, rank);
      if (!p || p->factors < 1 || p->factors > kMostFactors) break;
      if (!run.empty() && (p->x != run[0].x || p->factors != run[0].factors)) break;
      run.push_back(std::move(*p));
    }
    if (run.size() < 2) {
      inputs.emplace_back(n.input(i++));
      continue;
    }
    i += run.size();
    for (const Part& p : run) edit.remove.insert(edit.remove.end(), p.nodes.begin(), p.nodes.end());
    inputs.push_back(together(edit, run, axis, rank));
  }
  if (edit.nodes.empty()) return NoMatch{};
  edit.replace_output(
      n.output(0), inputs.size() == 1 ? inputs[0] : edit.add("Concat", std::move(inputs), n.attrs));
  return edit;
}

}  // namespace

extern const Pass pass_fuse_columns;
const Pass pass_fuse_columns = {
    .name = "fuse-columns",
    .summary = "makes one Gather of several whose results Concat puts together",
    .doc =
        "Neighbours in a Concat that take constant entries of one value along its axis (Gather, "
        "ArrayFeatureExtractor), as they\n"
        "are or all of them multiplied by ReduceProd (at most 8), and that nobody else reads. "
        "Polynomial features are such.",
    .roots = kRoots,
    .match = match,
    .reorders = true,
};

}  // namespace onnxtool
