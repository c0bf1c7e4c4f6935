// SPDX-License-Identifier: Apache-2.0
// The shape rule of the recurrent layers.
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/rnn_util.h"

namespace onnxtool {
namespace {

int64_t gates_of(RnnKind kind) {
  return kind == RnnKind::kLstm ? 4 : kind == RnnKind::kGru ? 3 : 1;
}

Result<int64_t> directions_of(const Node& node) {
  const std::string_view d = node.attr_str("direction", "forward");
  if (d == "bidirectional") return int64_t{2};
  // "foward" is the default that the first schema of GRU states.
  if (d == "forward" || d == "reverse" || d == "foward") return int64_t{1};
  return invalid(format("attribute 'direction' has the unknown value {}", quoted(d)));
}

// Unifies the dims of one input with those it must have.
struct Checker {
  const InShapes& in;
  Status input(size_t i, const char* name, std::initializer_list<Dim> want) const {
    const Shape* s = in[i];
    TRY(expect_rank(s, name, want.size()));
    if (s == nullptr) return ok();
    size_t k = 0;
    for (Dim d : want) {
      if (Dim::differ((*s)[k], d))
        return invalid(
            format("{} has shape {}, {} expected", name, to_string(*s), to_string(Shape(want))));
      k++;
    }
    return ok();
  }
};

Status learn(Dim& known, const Shape* s, size_t i, const char* what, const char* of) {
  if (s == nullptr || i >= s->size()) return ok();
  TRY_ASSIGN(known, unify(what, known, of, (*s)[i]));
  return ok();
}

}  // namespace

Result<RnnShape> rnn_rule(const InShapes& in, RnnKind kind, bool transposed) {
  const Node& node = in.node();
  RnnShape r;
  TRY_ASSIGN(r.directions, directions_of(node));
  const int64_t layout = node.attr_int("layout", 0);
  if (layout != 0 && layout != 1)
    return invalid(format("attribute 'layout' is {}, 0 or 1 expected", layout));
  r.batch_first = layout == 1;
  if (const Attribute* a = node.attr("hidden_size"); a != nullptr && a->ref.empty()) {
    const int64_t hidden = node.attr_int("hidden_size", 0);
    if (hidden < 1) return invalid(format("attribute 'hidden_size' is {}", hidden));
    r.hidden = Dim(hidden);
  }
  const Shape *x = in[0], *w = in[1], *rw = in[2];
  TRY(expect_rank(x, "input 'X'", 3));
  TRY(expect_rank(w, "input 'W'", 3));
  TRY(expect_rank(rw, "input 'R'", 3));
  TRY(learn(r.hidden, rw, transposed ? 1 : 2, "attribute 'hidden_size'", "hidden size of 'R'"));
  TRY(learn(r.steps, x, r.batch_first ? 1 : 0, "length", "length of 'X'"));
  TRY(learn(r.batch, x, r.batch_first ? 0 : 1, "batch size", "batch size of 'X'"));
  TRY(learn(r.input, w, transposed ? 1 : 2, "input size", "input size of 'W'"));
  TRY(learn(r.input, x, 2, "input size of 'W'", "that of 'X'"));
  TRY(learn(r.batch, in[4], 0, "batch size", "length of 'sequence_lens'"));
  const Dim d(r.directions), h = r.hidden, gates = Dim(gates_of(kind)) * h;
  const Checker check{in};
  if (transposed) {
    TRY(check.input(1, "input 'W'", {d, r.input, gates}));
    TRY(check.input(2, "input 'R'", {d, h, gates}));
  } else {
    TRY(check.input(1, "input 'W'", {d, gates, r.input}));
    TRY(check.input(2, "input 'R'", {d, gates, h}));
  }
  TRY(check.input(3, "input 'B'", {d, Dim(2) * gates}));
  TRY(check.input(4, "input 'sequence_lens'", {r.batch}));
  for (size_t i : {5, 6}) {
    if (i == 6 && kind != RnnKind::kLstm) continue;
    const char* name = i == 5 ? "input 'initial_h'" : "input 'initial_c'";
    if (r.batch_first)
      TRY(check.input(i, name, {r.batch, d, h}));
    else
      TRY(check.input(i, name, {d, r.batch, h}));
  }
  if (kind == RnnKind::kLstm) TRY(check.input(7, "input 'P'", {d, Dim(3) * h}));
  return r;
}

Status infer_rnn(InferContext& ctx, RnnKind kind, bool transposed) {
  TRY_ASSIGN(const RnnShape r, rnn_rule(InShapes(ctx), kind, transposed));
  const Dim d(r.directions);
  const Shape all =
      r.batch_first ? Shape{r.batch, r.steps, d, r.hidden} : Shape{r.steps, d, r.batch, r.hidden};
  const Shape last = r.batch_first ? Shape{r.batch, d, r.hidden} : Shape{d, r.batch, r.hidden};
  for (size_t i = 1; i < ctx.num_outputs(); i++) TRY(ctx.set(i, ctx.dtype(0), last));
  return ctx.set(0, ctx.dtype(0), all);
}

Result<int64_t> rnn_macs(const InferContext& ctx, RnnKind kind, bool transposed) {
  TRY_ASSIGN(const RnnShape r, rnn_rule(InShapes(ctx), kind, transposed));
  return known_product(Shape{r.steps, r.batch, Dim(r.directions), Dim(gates_of(kind)) * r.hidden,
                             r.input + r.hidden});
}

}  // namespace onnxtool
