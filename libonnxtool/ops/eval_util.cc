// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/eval_util.h"

#include <algorithm>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// Strides of an operand seen through the output's dims: 0 where it is broadcast.
std::vector<int64_t> broadcast_strides(std::span<const int64_t> out, const Dims& dims) {
  ONNXTOOL_CHECK(dims.size() <= out.size());
  std::vector<int64_t> r(out.size(), 0);
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    const size_t o = i + out.size() - dims.size();
    ONNXTOOL_CHECK(dims[i] == 1 || dims[i] == out[o]);
    if (dims[i] != 1) r[o] = stride;
    stride *= dims[i];
  }
  return r;
}

}  // namespace

BroadcastWalk::BroadcastWalk(std::span<const int64_t> out_dims,
                             const std::vector<Dims>& operand_dims)
    : dims_(out_dims.begin(), out_dims.end()),
      index_(out_dims.size(), 0),
      offsets_(operand_dims.size(), 0) {
  if (std::find(dims_.begin(), dims_.end(), 0) != dims_.end()) {  // empty: products may overflow
    dims_.clear();
    return;
  }
  for (const Dims& d : operand_dims) strides_.push_back(broadcast_strides(dims_, d));
}

void BroadcastWalk::next() {
  for (size_t d = dims_.size(); d-- > 0;) {
    const bool carry = ++index_[d] == dims_[d];
    for (size_t k = 0; k < offsets_.size(); ++k)
      offsets_[k] += carry ? -strides_[k][d] * (dims_[d] - 1) : strides_[k][d];
    if (!carry) return;
    index_[d] = 0;
  }
}

BroadcastRuns::BroadcastRuns(std::span<const int64_t> out_dims,
                             const std::vector<Dims>& operand_dims)
    : offsets_(operand_dims.size(), 0) {
  if (std::find(out_dims.begin(), out_dims.end(), 0) != out_dims.end()) {
    total_ = 0;  // empty: products of the other dims may overflow
    return;
  }
  std::vector<std::vector<int64_t>> full;
  for (const Dims& d : operand_dims) full.push_back(broadcast_strides(out_dims, d));
  strides_.resize(full.size());
  for (size_t i = 0; i < out_dims.size(); ++i) {
    const int64_t n = out_dims[i];
    total_ *= n;
    if (n == 1) continue;
    // Joins the dim before when every operand goes on in one step across both.
    bool join = !dims_.empty();
    for (size_t k = 0; join && k < full.size(); ++k) join = strides_[k].back() == full[k][i] * n;
    if (join)
      dims_.back() *= n;
    else
      dims_.push_back(n);
    for (size_t k = 0; k < full.size(); ++k) {
      if (join)
        strides_[k].back() = full[k][i];
      else
        strides_[k].push_back(full[k][i]);
    }
  }
  if (dims_.empty()) {
    dims_.push_back(1);
    for (auto& s : strides_) s.push_back(0);
  }
  index_.assign(dims_.size(), 0);
}

bool BroadcastRuns::next() {
  // Steps over the run just given, then carries into the outer dims.
  out_ += count_;
  if (out_ >= total_) return false;
  const size_t last = dims_.size() - 1;
  for (size_t k = 0; k < offsets_.size(); ++k) offsets_[k] += strides_[k][last] * count_;
  index_[last] += count_;
  for (size_t d = last; d > 0 && index_[d] == dims_[d]; --d) {
    for (size_t k = 0; k < offsets_.size(); ++k)
      offsets_[k] += strides_[k][d - 1] - strides_[k][d] * dims_[d];
    index_[d] = 0;
    ++index_[d - 1];
  }
  count_ = std::min<int64_t>(dims_[last] - index_[last], kMax);
  return true;
}

Result<Dims> broadcast_all(const std::vector<Dims>& operands) {
  Dims r;
  for (const Dims& d : operands) {
    auto next = broadcast_dims(r, d);
    if (!next)
      return invalid(format("shapes {} and {} do not broadcast", to_string(r), to_string(d)));
    r = std::move(*next);
  }
  return r;
}

namespace {

bool is_unsigned(DType t) { return t == DType::kBool || (is_integer(t) && !is_signed_integer(t)); }

Error no_type(const EvalContext& ctx, DType t) {
  return unsupported(format("{} of {} is not supported", ctx.node().op.view(), dtype_name(t)));
}

}  // namespace

Status eval_unary(EvalContext& ctx, const UnaryF& f, const UnaryI& i, const UnaryU& u, DType out) {
  const Tensor& x = ctx.in(0);
  const bool floats = is_float(x.dtype());
  const bool ints = is_integer(x.dtype()) || x.dtype() == DType::kBool;
  if (!(floats && f) && !(ints && (i || u))) return no_type(ctx, x.dtype());
  TRY_ASSIGN(Tensor r, ctx.allocate(out == DType::kUndefined ? x.dtype() : out, x.dims()));
  double fbuf[BroadcastRuns::kMax];
  int64_t ibuf[BroadcastRuns::kMax];
  const bool as_unsigned = u && is_unsigned(x.dtype());
  for (int64_t at = 0; at < x.size(); at += static_cast<int64_t>(BroadcastRuns::kMax)) {
    const size_t n = std::min<size_t>(BroadcastRuns::kMax, static_cast<size_t>(x.size() - at));
    if (floats) {
      load_f64(x, at, {fbuf, n});
      for (size_t k = 0; k < n; ++k) fbuf[k] = f(fbuf[k]);
      store_f64(r, at, {fbuf, n});
    } else {
      load_i64(x, at, {ibuf, n});
      for (size_t k = 0; k < n; ++k)
        ibuf[k] =
            as_unsigned ? static_cast<int64_t>(u(static_cast<uint64_t>(ibuf[k]))) : i(ibuf[k]);
      store_i64(r, at, {ibuf, n});
    }
  }
  ctx.set(0, std::move(r));
  return ok();
}

Result<Tensor> map_binary(EvalContext& ctx, const Tensor& a, const Tensor& b, const BinaryF& f,
                          const BinaryI& i, const BinaryU& u, DType out) {
  const bool floats = is_float(a.dtype());
  const bool ints = is_integer(a.dtype()) || a.dtype() == DType::kBool;
  if (!(floats && f) && !(ints && (i || u))) return no_type(ctx, a.dtype());
  TRY_ASSIGN(Dims dims, broadcast_all({a.dims(), b.dims()}));
  TRY_ASSIGN(Tensor r, ctx.allocate(out == DType::kUndefined ? a.dtype() : out, dims));
  BroadcastRuns runs(dims, {a.dims(), b.dims()});
  double fa[BroadcastRuns::kMax], fb[BroadcastRuns::kMax];
  int64_t ia[BroadcastRuns::kMax], ib[BroadcastRuns::kMax];
  const bool as_unsigned = u && is_unsigned(a.dtype());
  while (runs.next()) {
    const size_t n = runs.count();
    if (floats) {
      load_f64(a, runs.offset(0), {fa, n}, runs.stride(0));
      load_f64(b, runs.offset(1), {fb, n}, runs.stride(1));
      for (size_t k = 0; k < n; ++k) fa[k] = f(fa[k], fb[k]);
      store_f64(r, runs.out(), {fa, n});
    } else {
      load_i64(a, runs.offset(0), {ia, n}, runs.stride(0));
      load_i64(b, runs.offset(1), {ib, n}, runs.stride(1));
      if (as_unsigned) {
        for (size_t k = 0; k < n; ++k)
          ia[k] =
              static_cast<int64_t>(u(static_cast<uint64_t>(ia[k]), static_cast<uint64_t>(ib[k])));
      } else {
        for (size_t k = 0; k < n; ++k) ia[k] = i(ia[k], ib[k]);
      }
      store_i64(r, runs.out(), {ia, n});
    }
  }
  return r;
}

Status eval_binary(EvalContext& ctx, const BinaryF& f, const BinaryI& i, const BinaryU& u,
                   DType out) {
  TRY_ASSIGN(Tensor r, map_binary(ctx, ctx.in(0), ctx.in(1), f, i, u, out));
  ctx.set(0, std::move(r));
  return ok();
}

bool advance(std::span<int64_t> idx, std::span<const int64_t> dims) {
  for (size_t d = idx.size(); d-- > 0;) {
    if (++idx[d] < dims[d]) return true;
    idx[d] = 0;
  }
  return false;
}

}  // namespace onnxtool
