// SPDX-License-Identifier: Apache-2.0
// Products with constant weights that are quantized in blocks: com.microsoft.MatMulNBits, and
// MatMul whose weights a DequantizeLinear with blocks would make (plan/quantize.h).
#include "exec/cpu/simd/block_gemm.h"

#include "exec/cpu/gemm.h"
#include "exec/cpu/simd/block_dot.h"
#include "exec/cpu/simd/byte_gemm.h"
#include "exec/plan/quantize.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

struct Form {
  int64_t k = 0, n = 0, block = 0, bits = 4;
  size_t bias = SIZE_MAX;
  int64_t groups() const { return (k + block - 1) / block; }
};

bool nbits(const StepInfo& s) { return s.op.view() == "com.microsoft.MatMulNBits"; }

const char* form_of(const StepInfo& s, Form* f) {
  if (!is_f32(s.in[0]) || !is_f32(s.out[0]) || !all_plain(s)) return "not float";
  for (size_t i : {1, 2})
    if (!s.has(i) || !s.in[i].constant) return "weights are not constant";
  if (!is_f32(s.in[2])) return "the scales' type";
  if (s.has(3) && !s.in[3].constant) return "zero points are not constant";
  if (nbits(s)) {
    f->k = s.attr_int("K", 0);
    f->n = s.attr_int("N", 0);
    f->block = s.attr_int("block_size", 0);
    f->bits = s.attr_int("bits", 4);
    if (f->bits != 4 && f->bits != 8) return "the number of bits";
    if (s.has(4) || s.attr_int("weight_prepacked", 0) != 0) return "groups by index";
    if (f->k < 1 || f->n < 1 || f->block < 16) return "attributes";
    if (s.in[1].dtype != DType::kUint8 ||
        s.in[1].size() != f->n * f->groups() * f->block * f->bits / 8 ||
        s.in[2].size() != f->n * f->groups())
      return "sizes";
    const int64_t zero_bytes = (f->groups() * f->bits + 7) / 8;
    if (s.has(3) && !(is_f32(s.in[3]) && s.in[3].size() == f->n * f->groups()) &&
        !(s.in[3].dtype == DType::kUint8 && s.in[3].size() == f->n * zero_bytes))
      return "zero points";
    if (s.has(5)) {
      if (!is_f32(s.in[5]) || s.in[5].size() != f->n) return "the bias";
      f->bias = 5;
    }
  } else {
    if (s.in[1].rank() != 2 || s.in[2].rank() != 2) return "the rank";
    f->k = s.in[1].dims[0];
    f->n = s.in[1].dims[1];
    f->block = s.attr_int("block_size", 0);
    f->bits = dtype_bits(s.in[1].dtype);
    if (f->block < 1 || s.in[2].dims != Dims{f->groups(), f->n}) return "sizes";
    if (s.has(3) && s.in[3].dims != s.in[2].dims) return "zero points";
  }
  if (s.in[0].rank() < 1 || s.in[0].dims.back() != f->k || s.out[0].dims.back() != f->n)
    return "shapes";
  return nullptr;
}

std::optional<EpilogueForm> epilogue(const StepInfo& s, const Form& f) {
  auto e = epilogue_of(s, s.out[0].dims.size() - 1, f.bias != SIZE_MAX);
  if (e && f.bias != SIZE_MAX) e->bias = f.bias;
  return e;
}

const char* accept(const StepInfo& s) {
  Form f;
  if (auto* why = form_of(s, &f)) return why;
  return epilogue(s, f) ? nullptr : "post operations";
}

// Codes, scales and zero points of the model, by k (or its group) and column.
class Source {
 public:
  Source(const StepInfo& s, const Form& f)
      : f_(f),
        nbits_(nbits(s)),
        codes_(s.in[1].constant->to_aligned()),
        scale_(s.in[2].constant->to_aligned()),
        signed_(s.in[1].dtype == DType::kInt4 || s.in[1].dtype == DType::kInt8) {
    if (s.has(3)) zero_ = s.in[3].constant->to_aligned();
  }
  // From 0 on: signed codes are moved up, with their zero points.
  uint8_t code(int64_t k, int64_t n) const {
    if (nbits_) {
      const int64_t blob = f_.block * f_.bits / 8;
      return bits(codes_, (n * f_.groups() + k / f_.block) * blob, k % f_.block);
    }
    const uint8_t c = bits(codes_, 0, k * f_.n + n);
    return signed_ ? static_cast<uint8_t>(c ^ half()) : c;
  }
  float scale(int64_t g, int64_t n) const { return scale_.as<float>()[at(g, n)]; }
  float zero(int64_t g, int64_t n) const {
    if (!zero_.defined()) return nbits_ || signed_ ? static_cast<float>(half()) : 0.0f;
    if (!nbits_) {
      const uint8_t z = bits(zero_, 0, g * f_.n + n);
      return static_cast<float>(signed_ ? static_cast<uint8_t>(z ^ half()) : z);
    }
    if (zero_.dtype() == DType::kFloat) return zero_.as<float>()[at(g, n)];
    return static_cast<float>(bits(zero_, n * ((f_.groups() * f_.bits + 7) / 8), g));
  }

 private:
  size_t at(int64_t g, int64_t n) const {
    return static_cast<size_t>(nbits_ ? n * f_.groups() + g : g * f_.n + n);
  }
  uint8_t half() const { return static_cast<uint8_t>(1 << (f_.bits - 1)); }
  uint8_t bits(const Tensor& t, int64_t byte, int64_t i) const {
    const auto* p = reinterpret_cast<const uint8_t*>(t.raw()) + byte;
    if (f_.bits == 8) return p[i];
    return static_cast<uint8_t>(p[i / 2] >> (i % 2 * 4) & 15);
  }
  Form f_;
  bool nbits_;
  Tensor codes_, scale_, zero_;
  bool signed_;
};

// The model allows A to be rounded to 8 bits, block by block (accuracy_level 4).
bool allows_bytes(const StepInfo& s, const Form& f, const PrepareContext& ctx) {
  return nbits(s) && s.attr_int("accuracy_level", 0) == 4 && !ctx.strict && f.block % 8 == 0 &&
         f.k < 32768 && simd::have_vnni();
}

Result<std::unique_ptr<Prepared>> prepare_bytes(const StepInfo& s, const Form& f,
                                                PrepareContext& ctx) {
  constexpr int64_t kColumns = simd::kDotColumns, kFloat = sizeof(float);
  const EpilogueForm form = *epilogue(s, f);
  const int64_t panels = simd::gemm_panels(f.n, kColumns), groups = f.groups();
  const int64_t padded = groups * f.block, panel_bytes = padded * kColumns * f.bits / 8;
  const int64_t code_bytes = panels * panel_bytes, floats = panels * groups * kColumns;
  const Source source(s, f);
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
  Form f;
  form_of(s, &f);
  if (allows_bytes(s, f, ctx)) return prepare_bytes(s, f, ctx);
  const EpilogueForm form = *epilogue(s, f);
  const int64_t nr = simd::gemm_nr(), panels = simd::gemm_panels(f.n, nr), groups = f.groups();
  const int64_t row = nr * f.bits / 8;
  const int64_t code_bytes = (panels * f.k * row + 63) / 64 * 64;
  const int64_t floats = panels * groups * nr;
  const Source source(s, f);
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
