// SPDX-License-Identifier: Apache-2.0
// Products with constant weights of 4 or 8 bits quantized in blocks (plan/block_product.h): for few
// rows directly from the codes, which are most of what is read from memory; for many they are
// dequantized for a product of the library.
#include "exec/cuda/product.h"
#include "exec/cuda/warp.h"
#include "exec/plan/block_product.h"

namespace onnxtool {
namespace cuda {
namespace {

constexpr int kCodes = 8;               // of a lane in one round
constexpr int kColumns = 4, kRows = 4;  // of a warp
constexpr int64_t kFewRows = 16;        // more are left to the library
constexpr int64_t kPartBytes = int64_t{64} << 20;

struct Block {
  int64_t m = 0, k = 0, n = 0, block = 0, groups = 0;
  int bits = 4;
  DType type = DType::kFloat, bias_type = DType::kFloat;
  Post post;
  __host__ __device__ int64_t padded() const { return groups * block; }
  __host__ __device__ int64_t column_bytes() const { return padded() * bits / 8; }
  int64_t code_bytes() const { return (n * column_bytes() + 15) / 16 * 16; }
};
// scale, and scale times zero point: [n, groups].
struct Weights {
  const uint8_t* codes;
  const float *scale, *shift;
};

// Eight codes from k on (a multiple of eight) of a column, which is aligned to as many.
__device__ void codes_at(const uint8_t* column, int64_t k, int bits, float (&to)[kCodes]) {
  if (bits == 4) {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(column + k / 2);
    UNROLL for (int i = 0; i < kCodes; ++i) to[i] = static_cast<float>(word >> (4 * i) & 15);
  } else {
    const uint64_t word = *reinterpret_cast<const uint64_t*>(column + k);
    UNROLL for (int i = 0; i < kCodes; ++i) to[i] = static_cast<float>(word >> (8 * i) & 255);
  }
}

// A warp makes kColumns of kRows rows.
__global__ void multiply_codes(Block b, Weights w, const void* x, const void* bias,
                               PostPointers post, void* y) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t parts = (b.n + kColumns - 1) / kColumns, chunks = (b.m + kRows - 1) / kRows;
  const int64_t warps = int64_t{gridDim.x} * kThreads / kWarp, bytes = b.column_bytes();
  for (int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp; i < parts * chunks;
       i += warps) {
    const int64_t n0 = i / chunks * kColumns, m0 = i % chunks * kRows;
    float sum[kRows][kColumns] = {};
    for (int64_t k = int64_t{lane} * kCodes; k < b.k; k += kWarp * kCodes) {
      float code[kColumns][kCodes];
      UNROLL for (int c = 0; c < kColumns; ++c) {
        const int64_t n = n0 + c < b.n ? n0 + c : n0, g = n * b.groups + k / b.block;
        codes_at(w.codes + n * bytes, k, b.bits, code[c]);
        UNROLL for (int e = 0; e < kCodes; ++e) code[c][e] = code[c][e] * w.scale[g] - w.shift[g];
      }
      UNROLL for (int r = 0; r < kRows; ++r) {
        if (m0 + r >= b.m) break;
        UNROLL for (int e = 0; e < kCodes; ++e) {
          if (k + e >= b.k) break;
          const float v = load_as_float(x, (m0 + r) * b.k + k + e, b.type);
          UNROLL for (int c = 0; c < kColumns; ++c) sum[r][c] += v * code[c][e];
        }
      }
    }
    UNROLL for (int r = 0; r < kRows; ++r) UNROLL for (int c = 0; c < kColumns; ++c) {
      const float total = warp_sum(sum[r][c]);
      if (lane != r * kColumns + c || m0 + r >= b.m || n0 + c >= b.n) continue;
      const int64_t at = (m0 + r) * b.n + n0 + c;
      const float v = bias ? total + load_as_float(bias, n0 + c, b.bias_type) : total;
      store_float(y, at, b.type, apply_post(b.post, post, at, v));
    }
  }
}

// Columns as rows of the element type: [n, k].
__global__ void dequantize(Block b, Weights w, void* to) {
  const int64_t eights = (b.k + kCodes - 1) / kCodes, bytes = b.column_bytes();
  GRID_LOOP(i, b.n * eights) {
    const int64_t n = i / eights, k = i % eights * kCodes, g = n * b.groups + k / b.block;
    float code[kCodes];
    codes_at(w.codes + n * bytes, k, b.bits, code);
    for (int e = 0; e < kCodes && k + e < b.k; ++e)
      store_float(to, n * b.k + k + e, b.type, code[e] * w.scale[g] - w.shift[g]);
  }
}

const char* build(const StepInfo& s, Block* b, BlockProduct* f) {
  if (auto* why = plan_block_product(s, f)) return why;
  b->type = s.in[0].dtype;
  if (!is_float_type(b->type) || s.out[0].dtype != b->type) return "the element type";
  if (f->block % kCodes != 0) return "the size of a block";
  if (f->bias != BlockProduct::kNoBias) b->bias_type = s.in[f->bias].dtype;
  b->k = f->k;
  b->n = f->n;
  b->m = s.in[0].size() / f->k;
  b->block = f->block;
  b->groups = f->groups();
  b->bits = static_cast<int>(f->bits);
  return plan_post(s, &b->post);
}

const char* accept(const StepInfo& s) {
  Block b;
  BlockProduct f;
  return build(s, &b, &f);
}

using Packed = std::shared_ptr<const std::byte>;

Result<Packed> pack(const StepInfo& s, const Block& b, const BlockProduct& f, PrepareContext& ctx) {
  const auto fill = [&](std::byte* to) -> Status {
    const BlockWeightsSource source(s, f);
    std::fill_n(to, b.code_bytes(), std::byte{0});
    auto* codes = reinterpret_cast<uint8_t*>(to);
    auto* scale = reinterpret_cast<float*>(to + b.code_bytes());
    float* shift = scale + b.n * b.groups;
    for (int64_t n = 0; n < b.n; ++n) {
      uint8_t* column = codes + n * b.column_bytes();
      for (int64_t k = 0; k < b.k; ++k) {
        if (b.bits == 8)
          column[k] = source.code(k, n);
        else
          column[k / 2] |= static_cast<uint8_t>(source.code(k, n) << (k % 2 * 4));
      }
      for (int64_t g = 0; g < b.groups; ++g, ++scale, ++shift) {
        *scale = source.scale(g, n);
        *shift = *scale * source.zero(g, n);
      }
    }
    return ok();
  };
  return ctx.packs.get(*s.in[1].constant, format("blocks:{}:{}:{}", b.k, b.n, b.block),
                       b.code_bytes() + 2 * b.n * b.groups * int64_t{sizeof(float)}, fill);
}

Weights weights_of(const Block& b, const Packed& packed) {
  Weights w{};
  w.codes = reinterpret_cast<const uint8_t*>(packed.get());
  w.scale = reinterpret_cast<const float*>(packed.get() + b.code_bytes());
  w.shift = w.scale + b.n * b.groups;
  return w;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  auto b = std::make_shared<Block>();
  BlockProduct f;
  if (auto* why = build(s, b.get(), &f)) return unsupported(why);
  TRY_ASSIGN(const Packed packed, pack(s, *b, f, ctx));
  const int bias = f.bias == BlockProduct::kNoBias ? -1 : static_cast<int>(f.bias);
  std::unique_ptr<Prepared> r;
  const int64_t bytes = b->k * b->n * element_size(b->type);
  if (b->m <= kFewRows || bytes > kPartBytes) {
    r = prepared([=](const RunArgs& a) {
      const int64_t warps = (b->n + kColumns - 1) / kColumns * ((b->m + kRows - 1) / kRows);
      return launch(multiply_codes, blocks_for(warps * kWarp), kThreads, a, *b,
                    weights_of(*b, packed), a.in[0], bias < 0 ? nullptr : a.in[bias],
                    bind_post(b->post, a), a.out[0]);
    });
  } else {
    ProductPlan plan;
    Product& p = plan.product;
    p.m = b->m;
    p.n = p.ldc = b->n;
    p.k = p.lda = p.ldb = b->k;
    p.transpose_b = true;
    p.in = b->type;
    plan.added = bias;
    if (auto* why = plan_end(s, &plan)) return unsupported(why);
    TRY_ASSIGN(ProductStep step, ProductStep::make(std::move(plan), ctx));
    const int64_t aside = (bytes + 255) / 256 * 256, scratch = aside + step.scratch_bytes();
    r = prepared([=, step = std::move(step)](const RunArgs& a) -> Status {
      TRY(launch(dequantize, blocks_for(b->n * (b->k + kCodes - 1) / kCodes), kThreads, a, *b,
                 weights_of(*b, packed), static_cast<void*>(a.scratch)));
      return step.run(a, a.in[0], a.scratch, a.scratch + aside);
    });
    r->scratch_bytes = scratch;
  }
  r->unread_inputs = 0b1110;
  return Result<std::unique_ptr<Prepared>>(std::move(r));
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(block, {.name = "block_product",
                              .ops = "com.microsoft.MatMulNBits plan.BlockMatMul",
                              .rank = 30,
                              .accept = cuda::accept,
                              .prepare = cuda::prepare,
                              .device = true})
