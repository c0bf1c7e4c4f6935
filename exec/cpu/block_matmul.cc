// SPDX-License-Identifier: Apache-2.0
// Products with constant weights that are quantized in blocks: com.microsoft.MatMulNBits, and
// MatMul whose weights a DequantizeLinear with blocks would make (plan/quantize.h).
#include "exec/cpu/simd/block_gemm.h"

#include "exec/cpu/gemm.h"
#include "exec/cpu/simd/block_dot.h"
#include "exec/cpu/simd/byte_gemm.h"
#include "exec/plan/block_product.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* form_of(const StepInfo& s, BlockProduct* f) {
  if (!is_f32(s.in[0]) || !is_f32(s.out[0])) return "not float";
  return plan_block_product(s, f);
}

std::optional<EpilogueForm> epilogue(const StepInfo& s, const BlockProduct& f) {
  auto e = epilogue_of(s, s.out[0].dims.size() - 1, f.bias != BlockProduct::kNoBias);
  if (e && f.bias != BlockProduct::kNoBias) e->bias = f.bias;
  return e;
}

const char* accept(const StepInfo& s) {
  BlockProduct f;
  if (auto* why = form_of(s, &f)) return why;
  return epilogue(s, f) ? nullptr : "post operations";
}

// The model allows A to be rounded to 8 bits, block by block (accuracy_level 4).
bool allows_bytes(const StepInfo& s, const BlockProduct& f, const PrepareContext& ctx) {
  return f.nbits && s.attr_int("accuracy_level", 0) == 4 && !ctx.strict && f.block % 8 == 0 &&
         f.k < 32768 && simd::have_vnni();
}

Result<std::unique_ptr<Prepared>> prepare_bytes(const StepInfo& s, const BlockProduct& f,
                                                PrepareContext& ctx) {
  constexpr int64_t kColumns = simd::kDotColumns, kFloat = sizeof(float);
  const EpilogueForm form = *epilogue(s, f);
  const int64_t panels = simd::gemm_panels(f.n, kColumns), groups = f.groups();
  const int64_t padded = groups * f.block, panel_bytes = padded * kColumns * f.bits / 8;
  const int64_t code_bytes = panels * panel_bytes, floats = panels * groups * kColumns;
  const BlockWeightsSource source(s, f);
  const auto fill = [&](std::byte* to) -> Status {
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const auto code = [&](int64_t k, int64_t j) {
          const int64_t n = p * kColumns + j;
          return k < f.k && n < f.n ? source.code(k, n) : uint8_t{0};
        };
        auto* codes = reinterpret_cast<uint8_t*>(to) + p * panel_bytes;
        for (int64_t k = 0; k < padded; k += 8)
          for (int64_t at = f.bits == 4 ? 4 : 0; at < 8; at += 4)
            for (int64_t j = 0; j < kColumns; ++j)
              for (int64_t i = k; i < k + 4; ++i)
                *codes++ = f.bits == 4 ? static_cast<uint8_t>(code(i, j) | code(i + 4, j) << 4)
                                       : code(i + at, j);
        auto* scale = reinterpret_cast<float*>(to + code_bytes) + p * groups * kColumns;
        for (int64_t g = 0; g < groups; ++g)
          for (int64_t j = 0; j < kColumns; ++j, ++scale) {
            const int64_t n = p * kColumns + j;
            *scale = n < f.n ? source.scale(g, n) : 0;
            scale[floats] = n < f.n ? *scale * source.zero(g, n) : 0;
          }
      }
    });
    return ok();
  };
  TRY_ASSIGN(auto packed,
             ctx.packs.get(*s.in[1].constant, format("dots:{}:{}:{}", f.k, f.n, f.block),
                           code_bytes + 2 * floats * kFloat, fill));
  const int64_t m = s.in[0].size() / f.k, factor_bytes = (m * groups * 2 * kFloat + 63) / 64 * 64;
  const double ns =
      static_cast<double>(padded * kColumns) * (0.02 + 0.006 * static_cast<double>(m));
  auto r = prepared([=](const RunArgs& a) {
    auto* factors = reinterpret_cast<float*>(a.scratch);
    auto* q = reinterpret_cast<int8_t*>(a.scratch + factor_bytes);
    parallel_for(m, grain_for(0.2 * static_cast<double>(f.k)), [&](int64_t begin, int64_t end) {
      simd::quantize_blocks(in<float>(a, 0), f.k, f.k, f.block, groups, begin, end, q, factors);
    });
    simd::DotWeights w;
    w.codes = reinterpret_cast<const uint8_t*>(packed.get());
    w.scale = reinterpret_cast<const float*>(packed.get() + code_bytes);
    w.shift = w.scale + floats;
    w.groups = groups, w.n = f.n, w.block = f.block, w.bits = static_cast<int>(f.bits);
    const simd::Epilogue e = bind_epilogue(form, a, f.n);
    parallel_for(panels, grain_for(ns), [&](int64_t begin, int64_t end) {
      simd::block_dot_gemm(q, factors, w, out<float>(a), f.n, m, begin, end, e);
    });
  });
  r->scratch_bytes = factor_bytes + m * padded;
  r->unread_inputs = 0b1110;
  r->detail = "8-bit A";
  return r;
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  BlockProduct f;
  form_of(s, &f);
  if (allows_bytes(s, f, ctx)) return prepare_bytes(s, f, ctx);
  const EpilogueForm form = *epilogue(s, f);
  const int64_t nr = simd::gemm_nr(), panels = simd::gemm_panels(f.n, nr), groups = f.groups();
  const int64_t row = nr * f.bits / 8;
  const int64_t code_bytes = (panels * f.k * row + 63) / 64 * 64;
  const int64_t floats = panels * groups * nr;
  const BlockWeightsSource source(s, f);
  const auto fill = [&](std::byte* to) -> Status {
    auto* codes = reinterpret_cast<uint8_t*>(to);
    auto* scale = reinterpret_cast<float*>(to + code_bytes);
    float* zero = scale + floats;
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const auto column = [&](int64_t j) { return p * nr + j; };
        for (int64_t k = 0; k < f.k; ++k) {
          uint8_t* r = codes + (p * f.k + k) * row;
          const auto code = [&](int64_t j) {
            return column(j) < f.n ? source.code(k, column(j)) : uint8_t{0};
          };
          for (int64_t j = 0; j < row; ++j)
            r[j] = f.bits == 8 ? code(j) : static_cast<uint8_t>(code(j) | code(j + nr / 2) << 4);
        }
        for (int64_t g = 0; g < groups; ++g)
          for (int64_t j = 0; j < nr; ++j) {
            const bool inside = column(j) < f.n;
            scale[(p * groups + g) * nr + j] = inside ? source.scale(g, column(j)) : 0;
            zero[(p * groups + g) * nr + j] = inside ? source.zero(g, column(j)) : 0;
          }
      }
    });
    return ok();
  };
  const int64_t bytes = code_bytes + 2 * floats * static_cast<int64_t>(sizeof(float));
  TRY_ASSIGN(auto packed, ctx.packs.get(*s.in[1].constant,
                                        format("blocks:{}:{}:{}", f.k, f.n, f.block), bytes, fill));
  const int64_t m = s.in[0].size() / f.k;
  const double ns = static_cast<double>(f.k * nr) * (0.05 + 0.02 * static_cast<double>(m));
  auto r = prepared([=](const RunArgs& a) {
    simd::BlockWeights w;
    w.codes = reinterpret_cast<const uint8_t*>(packed.get());
    w.scale = reinterpret_cast<const float*>(packed.get() + code_bytes);
    w.zero = w.scale + floats;
    w.k = f.k, w.n = f.n, w.block = f.block, w.bits = static_cast<int>(f.bits);
    const simd::Epilogue e = bind_epilogue(form, a, f.n);
    parallel_for(panels, grain_for(ns), [&](int64_t begin, int64_t end) {
      simd::block_gemm_f32(in<float>(a, 0), f.k, w, out<float>(a), f.n, m, begin, end, e);
    });
  });
  r->unread_inputs = 0b1110;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(block_matmul,
                     {"block_gemm", "com.microsoft.MatMulNBits", 30, cpu::accept, cpu::prepare},
                     {"block_gemm", step_kind::kBlockMatMul, 30, cpu::accept, cpu::prepare})
