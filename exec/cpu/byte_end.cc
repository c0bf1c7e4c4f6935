// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/byte_end.h"

#include <cmath>
#include <limits>

#include "exec/cpu/elementwise.h"
#include "exec/cpu/util.h"
#include "exec/plan/quantize.h"

namespace onnxtool::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

using Op = ByteForm::Op;
using simd::TileOp;

Op affine(float a, float b) {
  Op r;
  r.op.kind = TileOp::kAffine;
  r.op.a = a;
  r.op.b = b;
  return r;
}

bool is(const Op& o, TileOp::Kind kind) { return o.op.kind == kind && !o.scalar; }

std::optional<Op> unary(const PostOp& p) {
  Op r;
  switch (p.op) {
    case Elt::kCopy: return affine(1, 0);
    case Elt::kNeg: return affine(-1, 0);
    case Elt::kAffine: return affine(p.a, p.b);
    case Elt::kRelu:
    case Elt::kClip:
      r.op.kind = TileOp::kClamp;
      r.op.a = p.op == Elt::kRelu ? 0 : p.a;
      r.op.b = p.op == Elt::kRelu ? kInf : p.b;
      return r;
    default: break;
  }
  r.op.kind = TileOp::kUnary;
  r.op.fn = simd::unary_fn(to_unary(p.op));
  r.op.a = p.a;
  r.op.b = p.b;
  return r;
}

std::optional<Op> with_number(const PostOp& p) {
  switch (p.op) {
    case Elt::kAdd: return affine(1, p.imm);
    case Elt::kSub: return p.swapped ? affine(-1, p.imm) : affine(1, -p.imm);
    case Elt::kMul: return affine(p.imm, 0);
    case Elt::kDiv:
      if (p.swapped) return std::nullopt;
      return affine(1 / p.imm, 0);
    default: return std::nullopt;
  }
}

// `other` of each row (all of C), of one row for all (channels), or one number.
std::optional<Op> with_operand(const PostOp& p, const StepInfo& s, size_t axis) {
  const Operand &o = s.in[static_cast<size_t>(p.operand)], &out = s.out[0];
  Op r;
  r.operand = p.operand;
  const size_t rank = out.dims.size();
  if (o.rank() > out.rank()) return std::nullopt;
  const Dims d = extended(o, rank);
  if (o.size() == 1) {
    r.scalar = true;
  } else if (d == out.dims) {
    if (!same_order(o, out)) return std::nullopt;
    r.op.ld = out.dims[axis];
  } else {
    for (size_t i = 0; i < rank; ++i)
      if (d[i] != (i == axis ? out.dims[i] : 1)) return std::nullopt;
  }
  if (is_f32(o)) {
    if (p.op == Elt::kMul)
      r.op.kind = r.scalar ? TileOp::kAffine : TileOp::kMulF32;
    else if (p.op == Elt::kAdd || (p.op == Elt::kSub && !p.swapped))
      r.op.kind = r.scalar ? TileOp::kAffine : TileOp::kAddF32;
    else
      return std::nullopt;
    if (r.scalar && p.op != Elt::kMul) return std::nullopt;
    r.op.a = p.op == Elt::kSub ? -1.0f : 1.0f;
    return r;
  }
  if (p.op != Elt::kAdd || r.scalar) return std::nullopt;
  if (o.dtype != DType::kUint8 && o.dtype != DType::kInt8) return std::nullopt;
  r.op.kind = o.dtype == DType::kUint8 ? TileOp::kAddU8 : TileOp::kAddS8;
  r.op.a = p.a;
  r.op.b = p.b;
  return r;
}

// Neighbours that are one, what does nothing left out.
void merge(std::vector<Op>& ops) {
  for (size_t i = 0; i < ops.size();) {
    const bool next = i + 1 < ops.size();
    if (is(ops[i], TileOp::kAffine) && ops[i].op.a == 1 && ops[i].op.b == 0) {
      ops.erase(ops.begin() + static_cast<std::ptrdiff_t>(i));
      i = i > 0 ? i - 1 : 0;
    } else if (next && is(ops[i], TileOp::kAffine) && is(ops[i + 1], TileOp::kAffine)) {
      const simd::TileOp x = ops[i].op, y = ops[i + 1].op;
      ops[i] = affine(x.a * y.a, x.b * y.a + y.b);
      ops.erase(ops.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    } else if (next && is(ops[i], TileOp::kAffine) && ops[i].op.a == 1 &&
               is(ops[i + 1], TileOp::kClamp)) {  // moved by a number: clamp before
      const float by = ops[i].op.b;
      ops[i] = ops[i + 1];
      ops[i].op.a -= by;
      ops[i].op.b -= by;
      ops[i + 1] = affine(1, by);
      ++i;
    } else {
      ++i;
    }
  }
}

// Rounding and clamping in a row are one.
void merge_rounding(std::vector<Op>& ops) {
  for (size_t i = 0; i + 1 < ops.size(); ++i) {
    if (!is(ops[i], TileOp::kUnary) || ops[i].op.fn != simd::unary_fn(simd::Unary::kRound) ||
        !is(ops[i + 1], TileOp::kClamp))
      continue;
    ops[i] = ops[i + 1];
    ops[i].op.kind = TileOp::kRound;
    ops.erase(ops.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
}

// The result times a number as part of the operation; false: it has no such part.
bool scale_result(Op& o, float by) {
  switch (o.op.kind) {
    case TileOp::kAddU8:
    case TileOp::kAddS8: o.op.b *= by; [[fallthrough]];
    case TileOp::kAddF32: o.op.c *= by; [[fallthrough]];
    case TileOp::kMulF32: o.op.a *= by; return true;
    case TileOp::kRound: o.op.c *= by; return true;
    default: return false;
  }
}
void merge_scales(std::vector<Op>& ops) {
  for (size_t i = 1; i < ops.size();) {
    if (is(ops[i], TileOp::kAffine) && ops[i].op.b == 0 && scale_result(ops[i - 1], ops[i].op.a))
      ops.erase(ops.begin() + static_cast<std::ptrdiff_t>(i));
    else
      ++i;
  }
}

std::vector<float> floats(const Operand& o) {
  const Tensor t = o.constant->to_aligned();
  const auto f = t.as<float>();
  return {f.begin(), f.end()};
}

}  // namespace

std::optional<ByteForm> byte_form(const StepInfo& s, size_t channel_axis) {
  ByteForm f;
  f.scale = floats(s.in[3]);
  f.bias = s.has(2) ? floats(s.in[2]) : std::vector<float>(f.scale.size(), 0.0f);
  std::span<const PostOp> post = s.post;
  const DType t = s.out[0].dtype;
  if (t == DType::kUint8 || t == DType::kInt8) {
    const auto tail = quantize_tail(post, t);
    if (!tail) return std::nullopt;
    post = post.first(post.size() - tail->count);
    f.out = t == DType::kUint8 ? simd::ByteOut::kU8 : simd::ByteOut::kS8;
    f.out_scale = tail->scale;
    f.zero = static_cast<int32_t>(tail->zero);
    f.low = (t == DType::kUint8 ? 0.0f : -128.0f) - tail->zero;
    f.high = f.low + 255;
  } else if (t != DType::kFloat) {
    return std::nullopt;
  }
  for (const PostOp& p : post) {
    const auto op = p.operand >= 0 ? with_operand(p, s, channel_axis)
                    : p.has_imm    ? with_number(p)
                                   : unary(p);
    if (!op) return std::nullopt;
    f.ops.push_back(*op);
  }
  merge(f.ops);
  merge_rounding(f.ops);
  merge_scales(f.ops);
  if (f.ops.size() > kByteOps) return std::nullopt;
  const auto by = [&](double a, double b) {
    for (float& x : f.scale) x = static_cast<float>(x * a);
    for (float& x : f.bias) x = static_cast<float>(x * a + b);
  };
  if (!f.ops.empty() && is(f.ops[0], TileOp::kAffine)) {
    by(static_cast<double>(f.ops[0].op.a), static_cast<double>(f.ops[0].op.b));
    f.ops.erase(f.ops.begin());
  }
  for (auto* row : {&f.scale, &f.bias}) row->resize(row->size() + simd::kByteSlack, 0.0f);
  if (f.out == simd::ByteOut::kF32) return f;
  // Bounds right before the rounding are bounds of the codes.
  while (!f.ops.empty() && is(f.ops.back(), TileOp::kClamp)) {
    const float low = f.ops.back().op.a * f.out_scale, high = f.ops.back().op.b * f.out_scale;
    f.low = std::min(std::max(f.low, low), f.high);
    f.high = std::max(std::min(f.high, high), f.low);
    f.ops.pop_back();
  }
  if (f.ops.empty()) by(static_cast<double>(f.out_scale), 0);
  if (f.ops.empty() || scale_result(f.ops.back(), f.out_scale)) f.out_scale = 1;
  return f;
}

simd::ByteEnd bind_end(const ByteForm& f, const RunArgs& args, simd::TileOp* ops) {
  simd::ByteEnd e;
  e.scale = f.scale.data();
  e.bias = f.bias.data();
  e.ops = ops;
  e.count = static_cast<int>(f.ops.size());
  for (const Op& o : f.ops) {
    simd::TileOp op = o.op;
    if (o.scalar)
      op.a *= *in<float>(args, static_cast<size_t>(o.operand));
    else if (o.operand >= 0)
      op.data = args.in[o.operand];
    *ops++ = op;
  }
  e.out = f.out;
  e.out_scale = f.out_scale;
  e.low = f.low;
  e.high = f.high;
  e.zero = f.zero;
  return e;
}

ByteWeights byte_weights(const StepInfo& s, size_t zero_at, int64_t k, int64_t n, int64_t k_stride,
                         int64_t n_stride) {
  ByteWeights w;
  w.flip = s.in[1].dtype == DType::kUint8 ? 0x80 : 0;
  const Tensor t = s.in[1].constant->to_aligned();
  const auto* b = reinterpret_cast<const uint8_t*>(t.raw());
  w.sums.resize(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    int32_t sum = 0;
    for (int64_t i = 0; i < k; ++i)
      sum += static_cast<int8_t>(b[i * k_stride + j * n_stride] ^ w.flip);
    w.sums[static_cast<size_t>(j)] = sum;
  }
  if (!s.has(zero_at)) return w;
  const Tensor z = s.in[zero_at].constant->to_aligned();
  const auto v = z.as<int32_t>();
  for (int32_t x : v) w.zero.push_back(x - w.flip);
  w.zero.resize(w.zero.size() + simd::kByteSlack, 0);
  return w;
}

void ByteWeights::offsets(int32_t a_zero, int64_t k, int32_t* to) const {
  for (size_t n = 0; n < sums.size(); ++n)
    to[n] = a_zero * ((zero.empty() ? 0 : static_cast<int32_t>(k) * zero[n]) - sums[n]);
}
std::vector<int32_t> ByteWeights::offsets(int32_t a_zero, int64_t k) const {
  std::vector<int32_t> r(sums.size() + simd::kByteSlack, 0);
  offsets(a_zero, k, r.data());
  return r;
}

const char* check_byte_operands(const StepInfo& s, size_t zero_at, int64_t k, int64_t n) {
  const auto byte = [](DType t) { return t == DType::kUint8 || t == DType::kInt8; };
  if (!byte(s.in[0].dtype)) return "not 8-bit integers";
  if (!s.in[1].constant || !byte(s.in[1].dtype)) return "weights are not constant bytes";
  if (k < 1 || k > 32768) return "sums beyond 32 bits";
  const auto row = [&](size_t i, DType t) {
    return s.in[i].constant && s.in[i].dtype == t && s.in[i].size() == n;
  };
  if (s.has(2) && !row(2, DType::kFloat)) return "the bias";
  if (!s.has(3) || !row(3, DType::kFloat)) return "the scales";
  if (s.has(zero_at) ? !row(zero_at, DType::kInt32) : s.in[1].dtype == DType::kUint8)
    return "the weights' zero points";
  return nullptr;
}

}  // namespace onnxtool::cpu
