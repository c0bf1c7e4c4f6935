// SPDX-License-Identifier: Apache-2.0
// Scatter, ScatterElements, ScatterND, TensorScatter: a copy of the data with some elements
// replaced or reduced.
#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/complex_parts.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/gather_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/version_util.h"

namespace onnxtool {
namespace {

enum class Reduction : uint8_t { kNone, kAdd, kMul, kMax, kMin };

Result<Reduction> reduction_of(const Node& node) {
  TRY_ASSIGN(const size_t i,
             choice(node, "reduction", "none", {"none", "add", "mul", "max", "min"}));
  if (i > 2 && node.version < 18)
    return invalid(format("reduction {} needs opset 18", quoted(node.attr_str("reduction", ""))));
  return static_cast<Reduction>(i);
}

// One update into the result, in the element type's own arithmetic.
class Updater {
 public:
  Updater(Reduction r, Tensor& out, const Tensor& updates) : r_(r), out_(out), updates_(updates) {
    const DType t = out.dtype();
    float_ = is_float(t);
    unsigned_ = t == DType::kUint64;
    complex_ = is_complex(t);
  }
  static bool supports(Reduction r, DType t) {
    return r == Reduction::kNone || is_float(t) || is_integer(t) || t == DType::kBool ||
           (is_complex(t) && (r == Reduction::kAdd || r == Reduction::kMul));
  }
  void apply(int64_t to, int64_t from) {
    if (r_ == Reduction::kNone) return copy_element(out_, to, updates_, from);
    if (complex_) {
      const auto a = load_complex(out_, to), b = load_complex(updates_, from);
      return store_complex(out_, to, r_ == Reduction::kAdd ? a + b : a * b);
    }
    if (float_) {
      double a, b;
      load_f64(out_, to, {&a, 1});
      load_f64(updates_, from, {&b, 1});
      a = combine_f(a, b);
      store_f64(out_, to, {&a, 1});
      return;
    }
    int64_t a, b;
    load_i64(out_, to, {&a, 1});
    load_i64(updates_, from, {&b, 1});
    a = combine_i(a, b);
    store_i64(out_, to, {&a, 1});
  }

 private:
  double combine_f(double a, double b) const {
    switch (r_) {
      case Reduction::kAdd: return a + b;
      case Reduction::kMul: return a * b;
      default: break;
    }
    if (std::isnan(a) || std::isnan(b)) return a + b;
    return r_ == Reduction::kMax ? std::max(a, b) : std::min(a, b);
  }
  int64_t combine_i(int64_t a, int64_t b) const {
    const uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    switch (r_) {
      case Reduction::kAdd: return static_cast<int64_t>(x + y);
      case Reduction::kMul: return static_cast<int64_t>(x * y);
      default: break;
    }
    const bool less = unsigned_ ? x < y : a < b;
    return (r_ == Reduction::kMax) == less ? b : a;
  }
  Reduction r_;
  Tensor& out_;
  const Tensor& updates_;
  bool float_ = false, unsigned_ = false, complex_ = false;
};

Error no_reduction(const EvalContext& ctx) {
  return ctx.error(format("reduction {} has no meaning for {}",
                          quoted(ctx.node().attr_str("reduction", "none")),
                          dtype_name(ctx.in(0).dtype())));
}

// data[i] = updates[k] where known; the indices of the 1-D data are constants.
void scatter_values(InferContext& ctx) {
  const PartialValue *data = ctx.partial(0), *updates = ctx.partial(2);
  const auto at = constant_values(ctx, 1);
  if (data == nullptr) return;
  PartialValue r = *data;
  if (!at) return;
  const auto reduction = reduction_of(ctx.node());
  const bool replace = reduction.ok() && *reduction == Reduction::kNone;
  for (size_t i = 0; i < at->size(); ++i) {
    const auto to = normalize_axis((*at)[i], static_cast<int64_t>(r.size()));
    if (!to) return;
    const bool known = replace && updates != nullptr && i < updates->size();
    r[static_cast<size_t>(*to)] = known ? (*updates)[i] : Dim();
  }
  ctx.set_partial(0, std::move(r));
}

Status infer_scatter_elements(InferContext& ctx) {
  TRY(reduction_of(ctx.node()));
  const Shape *data = ctx.shape(0), *indices = ctx.shape(1), *updates = ctx.shape(2);
  if (indices != nullptr && updates != nullptr) {
    bool same = indices->size() == updates->size();
    for (size_t i = 0; same && i < indices->size(); ++i)
      same = unify((*indices)[i], (*updates)[i]).has_value();
    if (!same)
      return ctx.error(format("indices {} and updates {} differ in shape", to_string(*indices),
                              to_string(*updates)));
  }
  if (data != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, static_cast<int64_t>(data->size())));
    if (indices != nullptr)
      TRY(check_elementwise_indices(*data, *indices, static_cast<size_t>(axis)));
  }
  const bool list = data != nullptr && data->size() == 1;
  TRY(ctx.set(0, ctx.dtype(0), data ? std::optional(*data) : std::nullopt));
  if (list) scatter_values(ctx);
  return ok();
}

Status eval_scatter_elements(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1), &updates = ctx.in(2);
  TRY_ASSIGN(const Reduction reduction, reduction_of(ctx.node()));
  if (!Updater::supports(reduction, x.dtype())) return no_reduction(ctx);
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", 0, x.rank()));
  if (indices.dims() != updates.dims())
    return ctx.error(format("indices {} and updates {} differ in shape", to_string(indices.dims()),
                            to_string(updates.dims())));
  TRY(check_elementwise_indices(to_shape(x.dims()), to_shape(indices.dims()),
                                static_cast<size_t>(axis)));
  TRY_ASSIGN(Tensor out, copied(ctx, x));
  Updater u(reduction, out, updates);
  TRY(for_each_element(indices, x.dims(), static_cast<size_t>(axis),
                       [&](int64_t i, int64_t at) { u.apply(at, i); }));
  ctx.set(0, std::move(out));
  return ok();
}

Status infer_scatter_nd(InferContext& ctx) {
  TRY(reduction_of(ctx.node()));
  const Shape *data = ctx.shape(0), *indices = ctx.shape(1), *updates = ctx.shape(2);
  if (indices != nullptr && indices->empty()) return ctx.error("indices are a scalar");
  if (data != nullptr && indices != nullptr && indices->back().is_const()) {
    const int64_t depth = indices->back().value();
    if (depth < 0 || depth > static_cast<int64_t>(data->size()))
      return ctx.error(
          format("indices {} do not address the input {}", to_string(*indices), to_string(*data)));
    Shape want(indices->begin(), indices->end() - 1);
    want.insert(want.end(), data->begin() + depth, data->end());
    bool fits = updates == nullptr || updates->size() == want.size();
    for (size_t i = 0; updates != nullptr && fits && i < want.size(); ++i)
      fits = unify(want[i], (*updates)[i]).has_value();
    if (!fits)
      return ctx.error(
          format("updates have the shape {}, {} expected", to_string(*updates), to_string(want)));
  }
  // Empty tuples write to all of the list.
  const bool list =
      data != nullptr && data->size() == 1 && indices != nullptr && indices->back().is_const(1);
  TRY(ctx.set(0, ctx.dtype(0), data ? std::optional(*data) : std::nullopt));
  if (list) scatter_values(ctx);
  return ok();
}

Status eval_scatter_nd(EvalContext& ctx) {
  const Tensor &x = ctx.in(0), &indices = ctx.in(1), &updates = ctx.in(2);
  TRY_ASSIGN(const Reduction reduction, reduction_of(ctx.node()));
  if (!Updater::supports(reduction, x.dtype())) return no_reduction(ctx);
  if (indices.rank() == 0 || indices.dims().back() > x.rank())
    return ctx.error(format("indices {} do not address the input {}", to_string(indices.dims()),
                            to_string(x.dims())));
  Dims want(indices.dims().begin(), indices.dims().end() - 1);
  want.insert(want.end(), x.dims().begin() + indices.dims().back(), x.dims().end());
  if (updates.dims() != want)
    return ctx.error(format("updates have the shape {}, {} expected", to_string(updates.dims()),
                            to_string(want)));
  NdIndex nd;
  if (indices.dims().back() > 0) {
    TRY_ASSIGN(nd, nd_index(x.dims(), indices, 0));
  } else if (x.size() > 0) {  // empty tuples: each row of updates is the whole tensor
    nd.block = x.size();
    nd.offsets.assign(static_cast<size_t>(updates.size() / x.size()), 0);
  }
  TRY_ASSIGN(Tensor out, copied(ctx, x));
  Updater u(reduction, out, updates);
  for (size_t i = 0; i < nd.offsets.size() && nd.block > 0; ++i) {
    const int64_t from = static_cast<int64_t>(i) * nd.block;
    if (reduction == Reduction::kNone)
      copy_elements(out, nd.offsets[i], updates, from, nd.block);
    else
      for (int64_t k = 0; k < nd.block; ++k) u.apply(nd.offsets[i] + k, from + k);
  }
  ctx.set(0, std::move(out));
  return ok();
}

// ------------------------------------------------------------------------------ TensorScatter
Status infer_tensor_scatter(InferContext& ctx) {
  TRY(choice(ctx.node(), "mode", "linear", {"linear", "circular"}));
  const Shape *past = ctx.shape(0), *update = ctx.shape(1);
  TRY(expect_rank(ctx, 2, "write_indices", 1));
  if (past != nullptr) {
    TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -2, static_cast<int64_t>(past->size())));
    if (axis == 0) return ctx.error("attribute 'axis' names the batch axis");
    bool fits = update == nullptr || update->size() == past->size();
    for (size_t i = 0; update != nullptr && fits && i < past->size(); ++i) {
      const Dim p = (*past)[i], u = (*update)[i];
      if (i != static_cast<size_t>(axis))
        fits = unify(p, u).has_value();
      else if (p.is_const() && u.is_const())
        fits = u.value() <= p.value();
    }
    if (!fits)
      return ctx.error(
          format("update {} does not fit the cache {}", to_string(*update), to_string(*past)));
    const Shape* at = ctx.has_input(2) ? ctx.shape(2) : nullptr;
    if (at != nullptr && Dim::differ((*at)[0], (*past)[0]))
      return ctx.error(format("write_indices {} and the cache {} differ in batch size",
                              to_string(*at), to_string(*past)));
  }
  return ctx.set(0, ctx.dtype(0), past ? std::optional(*past) : std::nullopt);
}

Status eval_tensor_scatter(EvalContext& ctx) {
  const Tensor &past = ctx.in(0), &update = ctx.in(1);
  TRY_ASSIGN(const size_t mode, choice(ctx.node(), "mode", "linear", {"linear", "circular"}));
  TRY_ASSIGN(const int64_t axis, ctx.axis("axis", -2, past.rank()));
  const size_t a = static_cast<size_t>(axis);
  Dims want = past.dims();
  if (a == 0 || update.rank() != past.rank()) return ctx.error("update and cache differ in rank");
  want[a] = update.dims()[a];
  const int64_t batch = past.dims()[0], length = past.dims()[a], count = want[a];
  if (update.dims() != want || count > length)
    return ctx.error(format("update {} does not fit the cache {}", to_string(update.dims()),
                            to_string(past.dims())));
  std::vector<int64_t> at(static_cast<size_t>(batch), 0);
  if (ctx.has(2)) at = ctx.in(2).to_i64();
  if (static_cast<int64_t>(at.size()) != batch)
    return ctx.error("write_indices do not fit the batch");
  for (int64_t& i : at) {
    if (mode == 1 && length > 0) i = floor_mod(i, length);
    if (i < 0 || i > length || (mode == 0 && i > length - count))
      return ctx.error(
          format("write index {} is out of range for {} of {} rows", i, count, length));
  }
  TRY_ASSIGN(Tensor out, copied(ctx, past));
  const int64_t block = span_size(past.dims(), a + 1, past.dims().size());
  const int64_t rows = span_size(past.dims(), 1, a);  // prefixes of one sample
  for (int64_t p = 0; p < batch * rows && block > 0; ++p)
    for (int64_t s = 0; s < count; ++s) {
      const int64_t row = (at[static_cast<size_t>(p / rows)] + s) % length;
      copy_elements(out, (p * length + row) * block, update, (p * count + s) * block, block);
    }
  ctx.set(0, std::move(out));
  return ok();
}

// max and min came with version 18, reduction as such with 16.
bool is_late(const Node& n) {
  const std::string_view r = n.attr_str("reduction", "none");
  return r == "max" || r == "min";
}
Result<bool> lift_reduction(Model& m, NodeId n) { return !is_late(m.node(n)); }
Status lower_reduction(Model& m, NodeId n) {
  const std::string_view r = m.node(n).attr_str("reduction", "none");
  if (is_late(m.node(n)))
    return unsupported(
        format("{} with reduction {} has no form before opset 18", m.node(n).op.view(), quoted(r)));
  return ok();
}
Status lower_no_reduction(Model& m, NodeId n) {
  return lower_fixed(m, n, "reduction", "none", "none");
}

constexpr VersionStep kSteps[] = {{16, step_same_up, lower_no_reduction},
                                  {18, lift_reduction, lower_reduction}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    scatter, {.name = "Scatter", .infer = infer_scatter_elements, .eval = eval_scatter_elements},
    {.name = "ScatterElements",
     .infer = infer_scatter_elements,
     .eval = eval_scatter_elements,
     .steps = kSteps},
    {.name = "ScatterND", .infer = infer_scatter_nd, .eval = eval_scatter_nd, .steps = kSteps},
    {.name = "TensorScatter", .infer = infer_tensor_scatter, .eval = eval_tensor_scatter});
