// SPDX-License-Identifier: Apache-2.0
#include "exec/plan/quantize.h"

#include <algorithm>

namespace onnxtool {
namespace {

std::pair<float, float> range_of(DType t) {
  return t == DType::kUint8 ? std::pair(0.0f, 255.0f) : std::pair(-128.0f, 127.0f);
}

}  // namespace

std::optional<IntegerWeights> integer_weights(const QuantizedConstant& c, int64_t axis) {
  const Dims& d = c.q.dims();
  if (axis < 0 || axis >= static_cast<int64_t>(d.size())) return std::nullopt;
  const int64_t n = d[static_cast<size_t>(axis)];
  const DType t = c.q.dtype();
  if ((t != DType::kInt8 && t != DType::kUint8) || c.scale.dtype() != DType::kFloat)
    return std::nullopt;
  const auto whole = [&](const Tensor& p) {
    return p.size() == 1 || (p.rank() == 1 && p.size() == n && c.axis == axis);
  };
  if (!whole(c.scale) || (c.zero.defined() && !whole(c.zero))) return std::nullopt;
  IntegerWeights r;
  std::vector<int32_t> zero;
  bool any = false;
  for (int64_t i = 0; i < n; ++i) {
    r.scale.push_back(static_cast<float>(c.scale.f64_at(c.scale.size() == 1 ? 0 : i)));
    const int64_t z = c.zero.defined() ? c.zero.i64_at(c.zero.size() == 1 ? 0 : i) : 0;
    zero.push_back(static_cast<int32_t>(z));
    any |= z != 0;
  }
  r.w = c.q;
  if (!any && t == DType::kInt8) return r;
  auto to = Tensor::allocate(DType::kInt8, d);
  if (!to.ok()) return std::nullopt;
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < d.size(); ++i) inner *= d[i];
  const std::byte* from = c.q.raw();
  auto w = to->mut<int8_t>();
  for (size_t i = 0; i < w.size(); ++i) {
    const int code = t == DType::kInt8 ? static_cast<int>(static_cast<int8_t>(from[i]))
                                       : static_cast<int>(static_cast<uint8_t>(from[i]));
    const int v = code - zero[i / static_cast<size_t>(inner) % static_cast<size_t>(n)];
    if (v < -128 || v > 127) {
      r.zero = std::move(zero);
      return r;
    }
    w[i] = static_cast<int8_t>(v);
  }
  r.w = std::move(*to);
  return r;
}

EltProgram quantize_program(float scale, int64_t zero, DType t) {
  EltProgram p;
  p.ops.push_back({Elt::kDiv, {EltRef::input(0), EltRef::immediate(scale)}});
  p.ops.push_back({Elt::kRound, {EltRef::op(0)}});
  if (zero != 0)
    p.ops.push_back({Elt::kAdd, {EltRef::op(1), EltRef::immediate(static_cast<float>(zero))}});
  const auto [low, high] = range_of(t);
  p.ops.push_back({Elt::kClip, {EltRef::op(p.ops.size() - 1)}, low, high});
  p.results = {static_cast<uint8_t>(p.ops.size() - 1)};
  return p;
}

EltProgram dequantize_program(float scale, int64_t zero) {
  EltProgram p;
  if (zero != 0)
    p.ops.push_back({Elt::kSub, {EltRef::input(0), EltRef::immediate(static_cast<float>(zero))}});
  p.ops.push_back(
      {Elt::kMul, {p.ops.empty() ? EltRef::input(0) : EltRef::op(0), EltRef::immediate(scale)}});
  p.results = {static_cast<uint8_t>(p.ops.size() - 1)};
  return p;
}

std::optional<QuantizeTail> quantize_tail(std::span<const PostOp> post, DType t) {
  QuantizeTail r;
  size_t n = post.size();
  const auto [low, high] = range_of(t);
  if (n < 2 || post[n - 1].op != Elt::kClip || post[n - 1].a != low || post[n - 1].b != high)
    return std::nullopt;
  --n;
  if (post[n - 1].op == Elt::kAdd && post[n - 1].has_imm) r.zero = post[--n].imm;
  if (n == 0 || post[n - 1].op != Elt::kRound) return std::nullopt;
  --n;
  if (n > 0 && post[n - 1].op == Elt::kDiv && post[n - 1].has_imm && !post[n - 1].swapped)
    r.scale = 1.0f / post[--n].imm;
  r.count = post.size() - n;
  return r;
}

}  // namespace onnxtool
