// SPDX-License-Identifier: Apache-2.0
// RotaryEmbedding of ai.onnx (23) and of com.microsoft.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/attention_util.h"
#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

// Which input is which; the standard operator may leave the positions out.
struct Inputs {
  size_t cos, sin, ids;
};
bool is_standard(const Node& node) { return node.domain.view().empty(); }
Inputs inputs_of(const Node& node) { return is_standard(node) ? Inputs{1, 2, 3} : Inputs{2, 3, 1}; }

struct Sizes {
  Dim heads, head, rotated;  // rotated: how many elements of each head turn
};

Result<Sizes> rule(const InShapes& in) {
  const Node& node = in.node();
  const Inputs at = inputs_of(node);
  const Shape *x = in[0], *cos = in[at.cos];
  if (!is_standard(node) &&
      (node.attr_float("scale", 1) != 1 || node.attr_int("is_packed_batching", 0) != 0))
    return unsupported("attributes 'scale' and 'is_packed_batching' other than the defaults");
  const int64_t asked = node.attr_int("rotary_embedding_dim", 0);
  int64_t heads = node.attr_int("num_heads", 0);
  if (asked < 0 || heads < 0) return invalid("a size attribute is negative");
  if (x != nullptr && x->size() != 3 && x->size() != 4)
    return invalid(format("input has rank {}, 3 or 4 expected", x->size()));
  const Dim angles = cos != nullptr && !cos->empty() ? cos->back() : Dim();
  Sizes s;
  if (x != nullptr && x->size() == 4) {
    s.heads = (*x)[1];
    s.head = (*x)[3];
  } else if (heads > 0) {
    s.heads = Dim(heads);
    if (x != nullptr) {
      if (x->back().is_const() && x->back().value() % heads != 0)
        return invalid(
            format("hidden size {} is no multiple of {} heads", x->back().text(), heads));
      s.head = floor_div(x->back(), s.heads);
    }
  } else if (x != nullptr) {
    if (is_standard(node)) return invalid("attribute 'num_heads' is needed");
    // The runtime's own operator then takes the head size from the tables.
    s.head = angles * Dim(2);
    if (s.head.is_const() && s.head.value() < 1) return invalid("input 'cos_cache' is empty");
    if (s.head.is_const()) s.heads = floor_div(x->back(), s.head);
    if (s.head.is_const() && x->back().is_const() && x->back().value() % s.head.value() != 0)
      return invalid(format("hidden size {} is no multiple of the head size {}", x->back().text(),
                            s.head.text()));
  }
  s.rotated = asked > 0 ? Dim(asked) : s.head;
  if (s.rotated.is_const() && s.rotated.value() % 2 != 0)
    return invalid(format("the {} rotated elements are no pairs", s.rotated.text()));
  if (s.rotated.is_const() && s.head.is_const() && s.rotated.value() > s.head.value())
    return invalid(format("attribute 'rotary_embedding_dim' is {}, head size {}", s.rotated.text(),
                          s.head.text()));
  const bool by_id = in.has(at.ids);
  for (size_t i : {at.cos, at.sin}) {
    const char* name = i == at.cos ? "input 'cos_cache'" : "input 'sin_cache'";
    TRY(expect_rank(in[i], name, by_id ? 2 : 3));
    if (in[i] == nullptr) continue;
    TRY(agree(format("last dim of {}", name), in[i]->back(), "half the rotated size",
              floor_div(s.rotated, Dim(2))));
    TRY(agree("rows of the tables", cos != nullptr ? (*cos)[0] : Dim(), "rows", (*in[i])[0]));
  }
  const Shape* ids = in[at.ids];
  if (ids != nullptr && x != nullptr) {
    if (!(ids->size() == 1 && !is_standard(node))) {
      TRY(expect_rank(ids, "input 'position_ids'", 2));
      TRY(agree("batch size", (*x)[0], "that of 'position_ids'", (*ids)[0]));
      TRY(agree("length", (*x)[x->size() - 2], "that of 'position_ids'", (*ids)[1]));
    }
  }
  return s;
}

Status infer(InferContext& ctx) {
  TRY(rule(InShapes(ctx)));
  return infer_same(ctx);
}

Status eval(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(const Sizes s, rule(in));
  const Inputs at = inputs_of(ctx.node());
  TRY_ASSIGN(Heads x, load_heads(ctx, ctx.in(0), s.heads.value()));
  const bool interleaved = ctx.node().attr_int("interleaved", 0) != 0;
  const Tensor &cos = ctx.in(at.cos), &sin = ctx.in(at.sin);
  const int64_t half = s.rotated.value() / 2;
  const bool by_id = ctx.has(at.ids);
  const int64_t rows = half > 0 ? cos.size() / half : 0;
  if (!by_id && (cos.dims()[0] != x.batch || cos.dims()[1] != x.length))
    return ctx.error(format("input 'cos_cache' has shape {}, batch and length are {} and {}",
                            to_string(cos.dims()), x.batch, x.length));
  if (sin.size() != cos.size()) return ctx.error("the tables differ in size");
  std::vector<double> c(static_cast<size_t>(half)), n(c);
  for (int64_t b = 0; b < x.batch && half > 0; b++)
    for (int64_t l = 0; l < x.length; l++) {
      int64_t row = b * x.length + l;
      if (by_id) {
        const Tensor& ids = ctx.in(at.ids);
        row = ids.size() == 1 && ids.rank() < 2 ? ids.i64_at(0) : ids.i64_at(row);
        if (ids.rank() < 2 && row >= 0 && row < rows) row += l;
      }
      if (row < 0 || row >= rows)
        return ctx.error(format("position {} is outside of the tables of {} rows", row, rows));
      load_f64(cos, row * half, c);
      load_f64(sin, row * half, n);
      for (int64_t h = 0; h < x.heads; h++)
        rotate(std::span(x.at(b, h) + l * x.size, static_cast<size_t>(x.size)), c, n, interleaved);
    }
  return set_heads(ctx, 0, ctx.in(0).dtype(), x, ctx.in(0).rank() == 3);
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(rotary_embedding, {.name = "RotaryEmbedding", .infer = infer, .eval = eval},
             {.name = "RotaryEmbedding", .domain = "com.microsoft", .infer = infer, .eval = eval})
