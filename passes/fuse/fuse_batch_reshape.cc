// SPDX-License-Identifier: Apache-2.0
// fuse-batch-reshape
//
//     before: Reshape(MatMul(Softmax(MatMul(Reshape(q), Reshape(k))), Reshape(v))), where the inner
//             ones put batch and heads in one dim, and the outer one takes them apart again
//     after:  MatMul(Softmax(MatMul(q, k)), v)
#include <algorithm>

#include "passes/util.h"

namespace onnxtool {
namespace {

constexpr size_t kMostNodes = 32;

const char* const kRoots[] = {"Reshape"};

// Does work of three dims in four: the first one as two.
class Lifter {
 public:
  Lifter(const PassContext& ctx, const Shape& result, Edit& edit)
      : ctx_(ctx), first_(result[0]), second_(result[1]), edit_(edit) {}

  std::optional<EditValue> lift(ValueId v) {
    const Shape* shape = ctx_.shape(v);
    const NodeId id = ctx_.model().value(v).producer;
    if (!shape || shape->size() != 3 || !id.valid() || ++nodes_ > kMostNodes) return std::nullopt;
    const Node& n = ctx_.node(id);
    if (!n.domain.view().empty() || n.version == 0) return std::nullopt;
    if (n.is("Reshape")) return merged(n, *shape);
    edit_.exclusive.push_back(id);
    edit_.remove.push_back(id);
    std::vector<EditValue> inputs;
    std::vector<Attribute> attrs = n.attrs;
    if (n.is("MatMul")) {
      for (size_t i = 0; i < 2; ++i) {
        const auto x = lift(n.input(i));
        if (!x) return std::nullopt;
        inputs.push_back(*x);
      }
    } else if (n.is("Transpose")) {
      const auto* perm = n.attr_ints("perm");
      const auto x = lift(n.input(0));
      if (!x || !perm || *perm != std::vector<int64_t>{0, 2, 1}) return std::nullopt;
      inputs = {*x};
      attrs = {Attribute::of("perm", std::vector<int64_t>{0, 1, 3, 2})};
    } else if (n.is("Softmax") && n.version >= 13) {
      const int64_t axis = n.attr_int("axis", -1);
      const auto x = lift(n.input(0));
      if (!x || (axis != -1 && axis != 2)) return std::nullopt;
      inputs = {*x};
      attrs = {Attribute::of("axis", int64_t{-1})};
    } else if ((n.is("Mul") || n.is("Div")) && n.version >= 7) {
      const auto c = with_number(ctx_, id);
      const auto x = c ? lift(c->x) : std::nullopt;
      if (!x || ctx_.shape(n.input(1 - c->index))->size() > 3) return std::nullopt;
      inputs = {*x, n.input(1 - c->index)};
      if (c->index == 1) std::swap(inputs[0], inputs[1]);
    } else if (is_unary_elementwise(ctx_, id) && n.version >= 6) {
      const auto x = lift(n.input(0));
      if (!x) return std::nullopt;
      inputs = {*x};
    } else {
      return std::nullopt;
    }
    const EditValue y = edit_.add(n.op, std::move(inputs), std::move(attrs));
    edit_.nodes.back().like = id;
    return y;
  }

 private:
  // What a Reshape put together.
  std::optional<EditValue> merged(const Node& n, const Shape& to) {
    const Shape* from = ctx_.shape(n.input(0));
    if (!from || from->size() != 4 || (*from)[0] != first_ || (*from)[1] != second_ ||
        (*from)[2] != to[1] || (*from)[3] != to[2])
      return std::nullopt;
    return n.input(0);
  }

  const PassContext& ctx_;
  Dim first_, second_;
  Edit& edit_;
  size_t nodes_ = 0;
};

// Adds to `gone` what reads v besides `root`, where all of that is shape arithmetic for `root`
// only.
void forget_shapes(const PassContext& ctx, ValueId v, NodeId root, std::vector<NodeId>& gone) {
  std::vector<NodeId> work, seen;
  const auto readers = [&](ValueId of) {
    ctx.model().for_each_use(of, [&](Use u) {
      if (u.node != root && std::find(seen.begin(), seen.end(), u.node) == seen.end()) {
        seen.push_back(u.node);
        work.push_back(u.node);
      }
    });
  };
  ctx.model().for_each_use(v, [&](Use u) {
    if (ctx.is(u.node, "Shape")) {
      seen.push_back(u.node);
      work.push_back(u.node);
    }
  });
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    const Node& n = ctx.node(id);
    if (seen.size() > kMostNodes || n.graph != ctx.node(root).graph) return;
    for (ValueId o : n.outputs()) {
      if (!o.valid() || ctx.model().value(o).graph_output) return;
      readers(o);
    }
  }
  gone.insert(gone.end(), seen.begin(), seen.end());
}

Match match(const PassContext& ctx, NodeId root) {
  const Node& n = ctx.node(root);
  if (!ctx.is(root, "Reshape", 5)) return NoMatch{};
  const Shape *to = ctx.shape(n.output(0)), *from = ctx.shape(n.input(0));
  if (!to || !from || to->size() != 4 || from->size() != 3 || (*to)[2] != (*from)[1] ||
      (*to)[3] != (*from)[2] || !ctx.producer(n.input(0), "MatMul").valid())
    return NoMatch{};
  Edit edit;
  edit.at = root;
  edit.remove = {root};
  Lifter lifter(ctx, *to, edit);
  const auto y = lifter.lift(n.input(0));
  if (!y) return NoMatch{};
  forget_shapes(ctx, n.input(0), root, edit.remove);
  edit.replace_output(n.output(0), *y);
  return edit;
}

}  // namespace

extern const Pass pass_fuse_batch_reshape;
const Pass pass_fuse_batch_reshape = {
    .name = "fuse-batch-reshape",
    .summary =
        "multiplies batches of matrices in two dims of batch, instead of in one that holds both",
    .doc =
        "MatMul, Softmax over the last axis, products with a number, work on single elements and "
        "transposes of the last\\n"
        "two dims, between Reshape nodes that put the first two dims together and one that takes "
        "them apart; nobody reads\\n"
        "what is between.",
    .roots = kRoots,
    .match = match,
    .level = 1,
};

}  // namespace onnxtool
