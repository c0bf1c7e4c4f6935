// SPDX-License-Identifier: Apache-2.0
// Convolutions and matrix products of 8-bit integers with exact 32-bit sums on our own GEMM
// (plan/quantize.h): any signs and zero points of both operands. A convolution gathers the windows
// of a block of pixels as rows (im2col), a block that stays in cache while all weights pass.
#include <cstring>

#include "exec/cpu/byte_end.h"
#include "exec/cpu/util.h"
#include "exec/cpu/windows.h"
#include "exec/plan/quantize.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t ceil_div(int64_t n, int64_t by) { return (n + by - 1) / by; }

// What both kinds hold once prepared.
struct Product {
  int64_t m = 0, k = 0, n = 0;
  ByteForm form;
  ByteWeights weights;
  std::vector<int32_t> offset;
  std::shared_ptr<const std::byte> packed;
  uint8_t a_flip = 0;
  int32_t a_zero = 0;
  int64_t lda() const { return simd::byte_gemm_k(k); }
  const int8_t* b() const { return reinterpret_cast<const int8_t*>(packed.get()); }
};

void set_zero(Product& p, const StepInfo& s) {
  p.a_flip = s.in[0].dtype == DType::kInt8 ? 0x80 : 0;
  p.a_zero = static_cast<int32_t>(s.attr_int("x_zero", 0)) + p.a_flip;
  p.offset = p.weights.offsets(p.a_zero, p.k);
}

// How many rows and panels a chunk has, so that threads share the work.
struct Split {
  int64_t rows = 1, parts = 1;  // rows of a block; parts of the panels
  int64_t blocks = 1;
};
Split split_of(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t mr = simd::byte_gemm_mr(), panels = ceil_div(n, simd::byte_gemm_nr());
  constexpr int64_t kBlockBytes = 256 * 1024, kBlockRows = 192;
  Split s;
  s.rows = std::clamp(round_up(kBlockBytes / k, mr), mr, round_up(kBlockRows, mr));
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const auto want =
      std::min<int64_t>(threads > 1 ? threads * 4 : 1, static_cast<int64_t>(work / 2e6) + 1);
  s.rows = std::min(s.rows, round_up(ceil_div(m, std::min(want, ceil_div(m, 4 * mr))), mr));
  s.blocks = ceil_div(m, s.rows);
  s.parts = std::clamp<int64_t>(ceil_div(want, s.blocks), 1, panels);
  return s;
}

// ---------------------------------------------------------------------------------------- matmul
struct MatMul : Product {
  bool direct = false;  // A as it lies
  bool runtime_zero = false;
  Split split;
};

bool matmul_shape(const StepInfo& s, Product* p) {
  if (s.main_inputs < 4 || s.main_inputs > 6 || s.in[0].rank() < 2 || s.in[1].rank() != 2)
    return false;
  p->k = s.in[1].dims[0];
  p->n = s.in[1].dims[1];
  p->m = s.in[0].size() / std::max<int64_t>(p->k, 1);
  return s.in[0].dims.back() == p->k && s.out[0].dims.back() == p->n;
}

const char* accept_matmul(const StepInfo& s) {
  Product p;
  if (!matmul_shape(s, &p)) return "inputs or shapes";
  if (!all_plain(s)) return "layouts";
  if (auto* why = check_byte_operands(s, 5, p.k, p.n)) return why;
  if (s.has(4) && (s.in[4].size() != 1 || s.in[4].dtype != s.in[0].dtype)) return "the zero point";
  return byte_form(s, s.out[0].dims.size() - 1) ? nullptr : "post operations";
}

int64_t offset_bytes(const Product& p) {
  return round_up((p.n + simd::kByteSlack) * static_cast<int64_t>(sizeof(int32_t)), 64);
}

// One pass over the weights for few rows; with more, oneDNN's kernels come before.
const char* accept_few_rows(const StepInfo& s) {
  if (auto* why = accept_matmul(s)) return why;
  return s.in[0].size() <= 4 * s.in[0].dims.back() ? nullptr : "many rows";
}

void run_matmul(const MatMul& p, const RunArgs& args) {
  std::byte* scratch = args.scratch;
  const auto* a = in<uint8_t>(args, 0);
  int64_t lda = p.k;
  if (!p.direct) {
    lda = p.lda();
    auto* to = reinterpret_cast<uint8_t*>(scratch);
    scratch += round_up(p.m * lda, 64);
    parallel_for(p.m, grain_for(static_cast<double>(lda) * 0.05), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (p.a_flip)
          simd::flip_bytes(a + i * p.k, to + i * lda, p.k);
        else
          std::memcpy(to + i * lda, a + i * p.k, static_cast<size_t>(p.k));
        std::memset(to + i * lda + p.k, 0, static_cast<size_t>(lda - p.k));
      }
    });
    a = to;
  }
  simd::TileOp ops[kByteOps];
  simd::ByteEnd e = bind_end(p.form, args, ops);
  e.offset = p.offset.data();
  if (p.runtime_zero) {
    const auto* z = in<uint8_t>(args, 4);
    auto* offset = reinterpret_cast<int32_t*>(scratch);
    scratch += offset_bytes(p);
    p.weights.offsets(*z ^ p.a_flip, p.k, offset);
    e.offset = offset;
  }
  if (!p.weights.zero.empty()) {
    auto* sums = reinterpret_cast<int32_t*>(scratch);
    simd::byte_row_sums(a, lda, p.k, 0, p.m, sums);
    e.row_sum = sums;
    e.weight_zero = p.weights.zero.data();
  }
  const int64_t panels = ceil_div(p.n, simd::byte_gemm_nr());
  parallel_for(p.split.blocks * p.split.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t m0 = t % p.split.blocks * p.split.rows, part = t / p.split.blocks;
      simd::byte_gemm(a, lda, p.b(), args.out[0], p.n, p.k, p.n, m0,
                      std::min(p.m, m0 + p.split.rows), panels * part / p.split.parts,
                      panels * (part + 1) / p.split.parts, e);
    }
  });
}

Result<std::unique_ptr<Prepared>> prepare_matmul(const StepInfo& s, PrepareContext& ctx) {
  MatMul p;
  matmul_shape(s, &p);
  p.form = *byte_form(s, s.out[0].dims.size() - 1);
  p.weights = byte_weights(s, 5, p.k, p.n, p.n, 1);
  p.runtime_zero = s.has(4);
  set_zero(p, s);
  p.direct = p.a_flip == 0 && p.k % 4 == 0;
  p.split = split_of(p.m, p.n, p.k, ctx.threads);
  const auto fill = [&](std::byte* to) -> Status {
    const Tensor w = s.in[1].constant->to_aligned();
    parallel_for(ceil_div(p.n, simd::byte_gemm_nr()), 1, [&](int64_t begin, int64_t end) {
      simd::pack_bytes(reinterpret_cast<const int8_t*>(w.raw()), p.n, 1, p.weights.flip, p.k, p.n,
                       reinterpret_cast<int8_t*>(to), begin, end);
    });
    return ok();
  };
  TRY_ASSIGN(p.packed, ctx.packs.get(*s.in[1].constant, format("bytes:{}:{}", p.k, p.n),
                                     simd::packed_bytes(p.k, p.n), fill));
  constexpr int64_t kInt = sizeof(int32_t);
  const int64_t scratch = (p.direct ? 0 : round_up(p.m * p.lda(), 64)) +
                          (p.runtime_zero ? offset_bytes(p) : 0) +
                          (p.weights.zero.empty() ? 0 : p.m * kInt);
  auto r = prepared([p = std::move(p)](const RunArgs& args) { run_matmul(p, args); });
  r->scratch_bytes = scratch;
  r->unread_inputs = packed_inputs(s) & ~uint64_t{0b10000};  // the zero point of A is read
  return r;
}

// ------------------------------------------------------------------------------------------ conv
// k and n are those of one group.
struct Conv : Product, Windows {
  bool direct = false;  // a pixel is a row as it lies
  Split split;
};

std::optional<Conv> conv_of(const StepInfo& s) {
  const auto windows = windows_of(s);
  if (!windows) return std::nullopt;
  Conv c;
  static_cast<Windows&>(c) = *windows;
  c.direct = c.point && s.in[0].dtype == DType::kUint8 && c.group == 1 && s.in[0].dims[1] % 4 == 0;
  c.m = c.pixels();
  c.k = c.taps() * c.channels;
  c.n = c.outputs / c.group;
  return c;
}

const char* accept_conv(const StepInfo& s) {
  if (s.main_inputs < 4 || s.main_inputs > 5) return "inputs";
  const auto c = conv_of(s);
  if (!c) return "shapes or attributes";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  if (auto* why = check_byte_operands(s, 4, c->k, c->outputs)) return why;
  return byte_form(s, 1) ? nullptr : "post operations";
}

// Without gathering, and with enough to do for each pixel, it is faster than oneDNN's kernels.
const char* accept_pixels(const StepInfo& s) {
  if (auto* why = accept_conv(s)) return why;
  const Conv c = *conv_of(s);
  return c.direct && c.k >= 64 && c.n >= 64 ? nullptr : "not large and 1x1";
}

// The windows of pixels [m0, m1) as rows of one group's channels, moved to unsigned; what lies in
// the padding is the zero point.
void gather(const Conv& c, const std::byte* x, int64_t g, int64_t m0, int64_t m1, uint8_t* to) {
  const int64_t lda = c.lda();
  const auto zero = static_cast<int>(c.a_zero ^ c.a_flip);  // as the bytes lie in x
  gather_windows(c, x, 1, zero, g, m0, m1, reinterpret_cast<std::byte*>(to), lda);
  for (int64_t m = m0; m < m1; ++m, to += lda) {
    if (c.a_flip) simd::flip_bytes(to, to, c.k);
    std::memset(to + c.k, 0, static_cast<size_t>(lda - c.k));
  }
}

int64_t gathered_bytes(const Conv& c) {
  return c.direct ? 0 : round_up(c.split.rows * c.lda() + kWindowSlack, 64);
}

// Rows [m0, m1) by a part of the panels of one group.
void conv_block(const Conv& c, const RunArgs& args, simd::ByteEnd e, int64_t g, int64_t m0,
                int64_t m1, int64_t part, std::byte* scratch) {
  const uint8_t* a = in<uint8_t>(args, 0) + m0 * c.k;
  if (!c.direct) {
    auto* to = reinterpret_cast<uint8_t*>(scratch);
    gather(c, in<std::byte>(args, 0), g, m0, m1, to);
    a = to;
  }
  const int64_t lda = c.direct ? c.k : c.lda(), from = g * c.n;
  if (!c.weights.zero.empty()) {
    auto* sums = reinterpret_cast<int32_t*>(scratch + gathered_bytes(c));
    simd::byte_row_sums(a, lda, c.k, 0, m1 - m0, sums);
    e.row_sum = sums;
    e.weight_zero = c.weights.zero.data() + from;
  }
  e.offset = c.offset.data() + from;
  e.scale += from;
  e.bias += from;
  // The block's own rows and columns of whatever lies as the output does.
  simd::TileOp ops[kByteOps];
  for (int i = 0; i < e.count; ++i) {
    ops[i] = e.ops[i];
    const int64_t size = ops[i].kind == simd::TileOp::kAddU8 || ops[i].kind == simd::TileOp::kAddS8
                             ? 1
                             : static_cast<int64_t>(sizeof(float));
    if (ops[i].data != nullptr)
      ops[i].data = static_cast<const std::byte*>(ops[i].data) + (m0 * ops[i].ld + from) * size;
  }
  e.ops = ops;
  const int64_t size = e.out == simd::ByteOut::kF32 ? static_cast<int64_t>(sizeof(float)) : 1;
  const int64_t panels = ceil_div(c.n, simd::byte_gemm_nr());
  simd::byte_gemm(a, lda, c.b() + g * simd::packed_bytes(c.k, c.n),
                  out<std::byte>(args) + (m0 * c.outputs + from) * size, c.outputs, c.k, c.n, 0,
                  m1 - m0, panels * part / c.split.parts, panels * (part + 1) / c.split.parts, e);
}

int64_t block_scratch(const Conv& c) {
  const int64_t sums =
      c.weights.zero.empty() ? 0 : c.split.rows * static_cast<int64_t>(sizeof(int32_t));
  return round_up(gathered_bytes(c) + sums, 64);
}

void run_conv(const Conv& c, const RunArgs& args) {
  simd::TileOp ops[kByteOps];
  const simd::ByteEnd e = bind_end(c.form, args, ops);
  const int64_t each = block_scratch(c), per_group = c.split.blocks * c.split.parts;
  parallel_for(c.group * per_group, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t m0 = t % c.split.blocks * c.split.rows;
      conv_block(c, args, e, t / per_group, m0, std::min(c.m, m0 + c.split.rows),
                 t / c.split.blocks % c.split.parts, args.scratch + parallel_index() * each);
    }
  });
}

Result<std::unique_ptr<Prepared>> prepare_conv(const StepInfo& s, PrepareContext& ctx) {
  Conv c = *conv_of(s);
  c.form = *byte_form(s, 1);
  c.weights = byte_weights(s, 4, c.k, c.outputs, 1, c.k);
  set_zero(c, s);
  c.split = split_of(c.m, c.n, c.k, ctx.threads);
  const int64_t each = simd::packed_bytes(c.k, c.n);
  const auto fill = [&](std::byte* to) -> Status {
    const Tensor w = s.in[1].constant->to_aligned();
    TRY_ASSIGN(Tensor moved, Tensor::allocate(DType::kInt8, {c.outputs, c.k}));
    std::byte* turned = moved.mutable_raw();
    turn_weights(c, w.raw(), 1, 0, c.outputs, turned);
    for (int64_t g = 0; g < c.group; ++g)
      parallel_for(ceil_div(c.n, simd::byte_gemm_nr()), 1, [&](int64_t begin, int64_t end) {
        simd::pack_bytes(reinterpret_cast<const int8_t*>(turned) + g * c.n * c.k, 1, c.k,
                         c.weights.flip, c.k, c.n, reinterpret_cast<int8_t*>(to) + g * each, begin,
                         end);
      });
    return ok();
  };
  TRY_ASSIGN(c.packed, ctx.packs.get(*s.in[1].constant, format("bytes:{}:{}:{}", c.group, c.k, c.n),
                                     c.group * each, fill));
  const int64_t scratch = block_scratch(c) * ctx.threads;
  auto r = prepared([c = std::move(c)](const RunArgs& args) { run_conv(c, args); });
  r->scratch_bytes = scratch;
  r->unread_inputs = packed_inputs(s);
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(
    byte_product, {"byte_conv", step_kind::kQConv, 20, cpu::accept_pixels, cpu::prepare_conv},
    {"byte_conv", step_kind::kQConv, 40, cpu::accept_conv, cpu::prepare_conv},
    {"byte_gemm", step_kind::kQMatMul, 20, cpu::accept_few_rows, cpu::prepare_matmul},
    {"byte_gemm", step_kind::kQMatMul, 40, cpu::accept_matmul, cpu::prepare_matmul})
