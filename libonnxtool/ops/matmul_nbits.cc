// SPDX-License-Identifier: Apache-2.0
// MatMulNBits (com.microsoft): product with weights of 2, 4 or 8 bits, quantized in blocks along K.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/eval_util.h"
#include "libonnxtool/ops/nn_util.h"

namespace onnxtool {
namespace {

struct Layout {
  int64_t k = 0, n = 0, bits = 4, block = 0;
  int64_t blocks = 0, blob = 0;  // blocks of a column, bytes of a block
  int64_t zero_bytes = 0;        // packed zero points of a column
};

Result<Layout> layout_of(const InShapes& in) {
  const Node& node = in.node();
  Layout l;
  l.k = node.attr_int("K", 0);
  l.n = node.attr_int("N", 0);
  l.bits = node.attr_int("bits", 4);
  l.block = node.attr_int("block_size", 0);
  if (l.k < 1 || l.n < 1)
    return invalid(
        format("attributes 'K' and 'N' are {} and {}, positive sizes expected", l.k, l.n));
  if (l.bits != 2 && l.bits != 4 && l.bits != 8)
    return unsupported(format("attribute 'bits' is {}, 2, 4 or 8 expected", l.bits));
  if (l.block < 16 || l.block > (1 << 30) || (l.block & (l.block - 1)) != 0)
    return invalid(
        format("attribute 'block_size' is {}, a power of two from 16 on expected", l.block));
  if (node.attr_int("weight_prepacked", 0) != 0)
    return unsupported("attribute 'weight_prepacked' asks for a layout of one device");
  l.blocks = (l.k - 1) / l.block + 1;
  l.blob = l.block * l.bits / 8;
  l.zero_bytes = (l.blocks * l.bits - 1) / 8 + 1;
  const std::optional<int64_t> groups = checked_mul(l.n, l.blocks);
  const std::optional<int64_t> bytes = groups ? checked_mul(*groups, l.blob) : std::nullopt;
  if (!bytes) return invalid("attributes 'K' and 'N' are too large");
  const auto expect = [&](size_t i, const char* what, int64_t count) -> Status {
    if (in[i] == nullptr) return ok();
    const Dim have = product(*in[i]);
    if (!Dim::differ(have, Dim(count))) return ok();
    return invalid(
        format("{} of shape {} has not the {} elements that 'K', 'N', 'bits' and "
               "'block_size' tell",
               what, to_string(*in[i]), count));
  };
  TRY(expect(1, "weight", *bytes));
  TRY(expect(2, "input 'scales'", *groups));
  TRY(expect_vector(in[5], "bias", Dim(l.n), "attribute 'N'"));
  TRY(expect_rank_at_least(in[0], "input 'A'", 1));
  if (in[0] != nullptr) TRY(agree("last dim of 'A'", in[0]->back(), "attribute 'K'", Dim(l.k)));
  return l;
}

Shape result_of(const Shape& a, const Layout& l) {
  Shape out = a;
  out.back() = Dim(l.n);
  return out;
}

Status infer(InferContext& ctx) {
  TRY_ASSIGN(const Layout l, layout_of(InShapes(ctx)));
  const Shape* a = ctx.shape(0);
  return ctx.set(0, ctx.dtype(0), a != nullptr ? std::optional(result_of(*a, l)) : std::nullopt);
}

Result<int64_t> macs(const InferContext& ctx) {
  TRY_ASSIGN(const Layout l, layout_of(InShapes(ctx)));
  if (ctx.shape(0) == nullptr) return unsupported("a shape is not known");
  Shape all = *ctx.shape(0);
  all.push_back(Dim(l.n));
  return known_product(all);
}

// Code i of a packed run of bytes, low bits first.
int64_t code_at(const uint8_t* bytes, int64_t bits, int64_t i) {
  const int64_t bit = i * bits;
  return (bytes[bit / 8] >> (bit % 8)) & ((1 << bits) - 1);
}

// The zero point of each block, [n, blocks].
Result<std::vector<double>> zero_points(const EvalContext& ctx, const Layout& l) {
  std::vector<double> zero(static_cast<size_t>(l.n * l.blocks),
                           static_cast<double>(int64_t{1} << (l.bits - 1)));
  if (!ctx.has(3)) return zero;
  const Tensor& t = ctx.in(3);
  const bool packed = t.dtype() == DType::kUint8;
  if (t.size() != l.n * (packed ? l.zero_bytes : l.blocks))
    return invalid(format("input 'zero_points' has shape {}, {} blocks in {} columns expected",
                          to_string(t.dims()), l.blocks, l.n));
  if (!packed) return t.to_f64();
  const std::span<const uint8_t> bytes = t.as<uint8_t>();
  for (int64_t n = 0; n < l.n; n++)
    for (int64_t b = 0; b < l.blocks; b++)
      zero[static_cast<size_t>(n * l.blocks + b)] =
          static_cast<double>(code_at(bytes.data() + n * l.zero_bytes, l.bits, b));
  return zero;
}

// Which block's scale each k takes: its own, or that of the (deprecated) input g_idx.
Result<std::vector<int64_t>> block_of(const EvalContext& ctx, const Layout& l) {
  std::vector<int64_t> r(static_cast<size_t>(l.k));
  for (int64_t k = 0; k < l.k; k++) r[static_cast<size_t>(k)] = k / l.block;
  if (!ctx.has(4)) return r;
  if (ctx.in(4).size() < l.k)
    return invalid(format("input 'g_idx' has {} elements, {} expected", ctx.in(4).size(), l.k));
  for (int64_t k = 0; k < l.k; k++) {
    const int64_t g = ctx.in(4).i64_at(k);
    if (g < 0 || g >= l.blocks) return invalid(format("input 'g_idx' has the value {}", g));
    r[static_cast<size_t>(k)] = g;
  }
  return r;
}

Status eval(EvalContext& ctx) {
  const InShapes in(ctx);
  TRY_ASSIGN(const Layout l, layout_of(in));
  const Tensor& a = ctx.in(0);
  TRY_ASSIGN(const Dims out, known_dims(result_of(*in[0], l)));
  TRY_ASSIGN(Tensor y, ctx.allocate(a.dtype(), out));
  TRY_ASSIGN(const auto zero, zero_points(ctx, l));
  TRY_ASSIGN(const auto block, block_of(ctx, l));
  TRY_ASSIGN(const auto scale, values_of(ctx, ctx.in(2)));
  TRY_ASSIGN(const auto left, values_of(ctx, a));
  const std::span<const uint8_t> codes = ctx.in(1).as<uint8_t>();
  const int64_t m = a.size() / l.k;
  constexpr int64_t kColumns = 64;
  TRY_ASSIGN(auto w, scratch(ctx, {l.k, kColumns}));
  TRY_ASSIGN(auto c, scratch(ctx, {m, kColumns}));
  for (int64_t n0 = 0; n0 < l.n; n0 += kColumns) {
    const int64_t count = std::min(kColumns, l.n - n0);
    for (int64_t j = 0; j < count; j++) {
      const uint8_t* column = codes.data() + (n0 + j) * l.blocks * l.blob;
      const size_t group = static_cast<size_t>((n0 + j) * l.blocks);
      for (int64_t k = 0; k < l.k; k++) {
        const size_t g = group + static_cast<size_t>(block[static_cast<size_t>(k)]);
        const double code =
            static_cast<double>(code_at(column + k / l.block * l.blob, l.bits, k % l.block));
        w[static_cast<size_t>(k * kColumns + j)] = (code - zero[g]) * scale[g];
      }
    }
    std::fill(c.begin(), c.end(), 0.0);
    gemm(m, count, l.k, left.data(), l.k, w.data(), kColumns, c.data(), kColumns);
    for (int64_t i = 0; i < m; i++) {
      const std::span<double> row(c.data() + i * kColumns, static_cast<size_t>(count));
      if (ctx.has(5))
        for (int64_t j = 0; j < count; j++) row[static_cast<size_t>(j)] += ctx.in(5).f64_at(n0 + j);
      store_f64(y, i * l.n + n0, row);
    }
  }
  ctx.set(0, std::move(y));
  return ok();
}

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(
    matmul_nbits,
    {.name = "MatMulNBits", .domain = "com.microsoft", .infer = infer, .eval = eval, .macs = macs})
