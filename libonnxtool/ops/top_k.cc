// SPDX-License-Identifier: Apache-2.0
// TopK (k: an attribute before version 10) and ReverseSequence.
#include <algorithm>
#include <numeric>

#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/order_util.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

Error bad_k(std::string_view k, size_t axis, std::string_view shape) {
  return invalid(format("k is {}, axis {} of the input {} cannot give so many", k, axis, shape));
}

Status infer_top_k(InferContext& ctx) {
  Dim k;
  if (ctx.has_input(1)) {
    if (const PartialValue* p = ctx.partial(1)) {
      if (p->size() != 1) return ctx.error(format("K has {} elements, one expected", p->size()));
      k = (*p)[0];
    }
  } else if (ctx.version() < 10) {
    k = ctx.node().attr_int("k", -1);
  }
  const Shape* s = ctx.shape(0);
  if (k.is_const() && k.value() < 0) return ctx.error(format("k is {}", k.value()));
  std::optional<Shape> out;
  if (s != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, static_cast<int64_t>(s->size())));
    const size_t a = static_cast<size_t>(axis);
    out = *s;
    if (k.is_const() && (*s)[a].is_const() && k.value() > (*s)[a].value())
      return bad_k(k.text(), a, to_string(*s));
    (*out)[a] = or_fresh(ctx, k, 0, a);
  }
  TRY(ctx.set(0, ctx.dtype(0), out));
  return ctx.set(1, DType::kInt64, out);
}

Status eval_top_k(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -1, x.rank()));
  const size_t a = static_cast<size_t>(axis);
  if (ctx.has(1) && ctx.in(1).size() != 1) return ctx.error("K is not one element");
  const int64_t k = ctx.has(1) ? ctx.in(1).i64_at(0) : ctx.node().attr_int("k", -1);
  const int64_t size = x.dims()[a];
  if (k < 0 || k > size) return bad_k(std::to_string(k), a, to_string(x.dims()));
  const bool largest = ctx.node().attr_int("largest", 1) != 0;
  Dims dims = x.dims();
  dims[a] = k;
  TRY_ASSIGN(Tensor values, ctx.allocate(x.dtype(), dims));
  TRY_ASSIGN(Tensor indices, ctx.allocate(DType::kInt64, dims));
  if (values.size() > 0) {
    const std::vector<int64_t> keys = order_keys(x).keys;
    const std::span<int64_t> to = indices.mut<int64_t>();
    const int64_t inner = span_size(x.dims(), a + 1, x.dims().size());
    const int64_t lanes = x.size() / size;
    std::vector<int64_t> order(static_cast<size_t>(size));
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t from = lane / inner * size * inner + lane % inner;
      auto key = [&](int64_t i) { return keys[static_cast<size_t>(from + i * inner)]; };
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t i, int64_t j) {
        const int64_t p = key(i), q = key(j);
        return p != q ? (p > q) == largest : i < j;
      });
      const int64_t at = lane / inner * k * inner + lane % inner;
      for (int64_t i = 0; i < k; ++i) {
        const int64_t pick = order[static_cast<size_t>(i)];
        to[static_cast<size_t>(at + i * inner)] = pick;
        copy_element(values, at + i * inner, x, from + pick * inner);
      }
    }
  }
  ctx.set(0, std::move(values));
  ctx.set(1, std::move(indices));
  return ok();
}

// --------------------------------------------------------------------------- ReverseSequence
struct SequenceAxes {
  size_t batch, time;
};
Result<SequenceAxes> sequence_axes(const Node& node) {
  const int64_t batch = node.attr_int("batch_axis", 1), time = node.attr_int("time_axis", 0);
  if (batch < 0 || batch > 1 || time < 0 || time > 1 || batch == time)
    return invalid(
        format("attributes batch_axis {} and time_axis {}: 0 and 1 expected", batch, time));
  return SequenceAxes{static_cast<size_t>(batch), static_cast<size_t>(time)};
}

Status infer_reverse_sequence(InferContext& ctx) {
  TRY_ASSIGN(const SequenceAxes axes, sequence_axes(ctx.node()));
  TRY(expect_rank(ctx, 1, "sequence_lens", 1));
  const Shape *s = ctx.shape(0), *lens = ctx.shape(1);
  if (s != nullptr && s->size() < 2)
    return ctx.error(format("input {} has fewer than two axes", to_string(*s)));
  if (s != nullptr && lens != nullptr && Dim::differ((*lens)[0], (*s)[axes.batch]))
    return ctx.error(format("sequence_lens {} do not fit the batch axis of the input {}",
                            to_string(*lens), to_string(*s)));
  return ctx.set(0, ctx.dtype(0), s ? std::optional(*s) : std::nullopt);
}

Status eval_reverse_sequence(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  TRY_ASSIGN(const SequenceAxes axes, sequence_axes(ctx.node()));
  const std::vector<int64_t> lens = ctx.in(1).to_i64();
  if (x.rank() < 2 || static_cast<int64_t>(lens.size()) != x.dims()[axes.batch])
    return ctx.error(
        format("{} sequence lengths for the input {}", lens.size(), to_string(x.dims())));
  const int64_t times = x.dims()[axes.time];
  const int64_t block = span_size(x.dims(), 2, x.dims().size());
  TRY_ASSIGN(Tensor out, ctx.allocate(x.dtype(), x.dims()));
  for (size_t b = 0; b < lens.size(); ++b) {
    if (lens[b] < 0 || lens[b] > times)
      return ctx.error(format("sequence length {} is out of range for {} steps", lens[b], times));
    auto at = [&](int64_t t) {
      const int64_t n = static_cast<int64_t>(b);
      return (axes.batch == 0 ? n * times + t : t * static_cast<int64_t>(lens.size()) + n) * block;
    };
    for (int64_t t = 0; t < times; ++t)
      copy_elements(out, at(t), x, at(t < lens[b] ? lens[b] - 1 - t : t), block);
  }
  ctx.set(0, std::move(out));
  return ok();
}

constexpr VersionStep kTopKSteps[] = {
    {10,
     [](Model& m, NodeId n) -> Result<bool> {
       if (m.node(n).attr("k") == nullptr) return false;
       return int_to_input(m, n, "k", 1);
     },
     [](Model& m, NodeId n) { return input_to_int(m, n, 1, "k"); }},
};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(top_k, {.name = "TopK", .infer = infer_top_k, .eval = eval_top_k, .steps = kTopKSteps},
             {.name = "ReverseSequence",
              .infer = infer_reverse_sequence,
              .eval = eval_reverse_sequence,
              .flags = kDataMovement});
