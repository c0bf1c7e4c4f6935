// SPDX-License-Identifier: Apache-2.0
// MatMul and Gemm with constant B, and 1x1 convolutions channels-last, on the packed GEMM.
#include "exec/cpu/gemm.h"

#include <cmath>

#include "exec/cpu/elementwise.h"
#include "exec/plan/geometry.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {

std::optional<EpilogueForm> epilogue_of(const StepInfo& s, size_t channel_axis, bool has_bias) {
  EpilogueForm f;
  if (has_bias) f.bias = 2;
  const Operand& out = s.out[0];
  bool acted = false;
  for (const PostOp& p : s.post) {
    if (f.residual != SIZE_MAX && f.use != simd::Residual::kAddBeforeAct) return std::nullopt;
    if (p.operand >= 0) {
      const Operand& o = s.in[static_cast<size_t>(p.operand)];
      if (!is_f32(o)) return std::nullopt;
      bool whole = o.dims == out.dims && (o.layout == out.layout || layout_free(o.dims));
      if (whole) {
        if (f.residual != SIZE_MAX) return std::nullopt;
        if (p.op == Elt::kAdd)
          f.use = acted ? simd::Residual::kAddAfterAct : simd::Residual::kAddBeforeAct;
        else if (p.op == Elt::kMul && acted)
          f.use = simd::Residual::kMulAfterAct;
        else
          return std::nullopt;
        f.residual = static_cast<size_t>(p.operand);
        continue;
      }
      // One value a channel, before all else.
      size_t rank = out.dims.size();
      if (p.op != Elt::kAdd || acted || f.shift != SIZE_MAX || f.residual != SIZE_MAX ||
          o.dims.size() > rank)
        return std::nullopt;
      for (size_t i = 0; i < o.dims.size(); ++i) {
        size_t axis = rank - o.dims.size() + i;
        if (o.dims[i] != (axis == channel_axis ? out.dims[axis] : 1)) return std::nullopt;
      }
      if (o.dims.size() + channel_axis < rank)
        return std::nullopt;  // the channel axis is not among them
      (f.bias == SIZE_MAX ? f.bias : f.shift) = static_cast<size_t>(p.operand);
      continue;
    }
    if (p.has_imm && p.op == Elt::kMul && !acted && f.bias == SIZE_MAX && f.residual == SIZE_MAX) {
      f.alpha *= p.imm;
      continue;
    }
    if (p.has_imm || !is_unary(p.op) || acted) return std::nullopt;
    if (f.residual != SIZE_MAX && f.use != simd::Residual::kAddBeforeAct) return std::nullopt;
    f.act = to_unary(p.op);
    f.a = p.a;
    f.b = p.b;
    acted = true;
  }
  return f;
}

simd::Epilogue bind_epilogue(const EpilogueForm& f, const RunArgs& args, int64_t ldr) {
  simd::Epilogue e;
  e.alpha = f.alpha;
  if (f.bias != SIZE_MAX) e.bias_n = in<float>(args, f.bias);
  if (f.shift != SIZE_MAX) e.shift_n = in<float>(args, f.shift);
  if (f.residual != SIZE_MAX) {
    e.residual = in<float>(args, f.residual);
    e.ldr = ldr;
    e.residual_use = f.use;
  }
  e.act = f.act;
  e.act_a = f.a;
  e.act_b = f.b;
  e.chain = f.chain;
  return e;
}

Result<std::shared_ptr<const std::byte>> pack_b(const StepInfo& s, size_t index, int64_t ldb,
                                                bool transposed, int64_t k, int64_t n,
                                                PrepareContext& ctx) {
  const Tensor& source = *s.in[index].constant;
  int64_t bytes = simd::packed_b_floats(k, n) * static_cast<int64_t>(sizeof(float));
  auto fill = [&](std::byte* to) -> Status {
    Tensor aligned = source.to_aligned();
    const auto* b = reinterpret_cast<const float*>(aligned.raw());
    auto* packed = reinterpret_cast<float*>(to);
    parallel_for(simd::gemm_panels(n, simd::gemm_nr()), 4, [&](int64_t begin, int64_t end) {
      simd::pack_b_f32(b, ldb, transposed, k, n, packed, begin, end);
    });
    return ok();
  };
  return ctx.packs.get(source, format("gemm:{}:{}:{}:{}", ldb, transposed, k, n), bytes, fill);
}

void parallel_gemm(const float* a, int64_t lda, const float* packed, float* c, int64_t ldc,
                   int64_t m, int64_t k, int64_t n, const simd::Epilogue& e) {
  int64_t panels = simd::gemm_panels(n, simd::gemm_nr());
  int mr = simd::gemm_mr();
  double work = 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
  int threads = parallel_threads();
  if (threads == 1 || work < 500e3) {
    simd::gemm_f32(a, lda, packed, c, ldc, k, n, 0, m, 0, panels, e);
    return;
  }
  // Tiles of rows x panels: enough for sharing, each with some reuse of what it loads. Few rows are
  // split by panels, many rows by rows.
  int64_t row_tiles = (m + mr - 1) / mr;
  int64_t want =
      std::min<int64_t>(threads * 4, std::max<int64_t>(threads, static_cast<int64_t>(work / 2e6)));
  int64_t tm = 1, tn = 1;
  if (row_tiles >= want * 2) {
    tm = want;
  } else {
    tm = std::clamp<int64_t>(row_tiles / 4, 1, want);
    tn = std::clamp<int64_t>((want + tm - 1) / tm, 1, panels);
  }
  parallel_for(tm * tn, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      int64_t i = t % tm, j = t / tm;  // neighbours share panels
      int64_t m0 = row_tiles * i / tm * mr, m1 = std::min(m, row_tiles * (i + 1) / tm * mr);
      simd::gemm_f32(a, lda, packed, c, ldc, k, n, m0, m1, panels * j / tn, panels * (j + 1) / tn,
                     e);
    }
  });
}

namespace {

struct Shape {
  int64_t m = 0, k = 0, n = 0, lda = 0, ldb = 0;
  bool transposed = false;  // B is stored [N, K]
};

std::optional<Shape> matmul_shape(const StepInfo& s) {
  if (s.main_inputs != 2 || s.in[1].rank() != 2 || s.in[0].rank() < 2) return std::nullopt;
  Shape p;
  p.k = s.in[1].dims[0];
  p.n = s.in[1].dims[1];
  if (s.in[0].dims.back() != p.k) return std::nullopt;
  p.m = s.in[0].size() / p.k;
  p.lda = p.k;
  p.ldb = p.n;
  return p;
}

std::optional<Shape> gemm_shape(const StepInfo& s) {
  if (s.in[0].rank() != 2 || s.in[1].rank() != 2 || s.attr_int("transA", 0)) return std::nullopt;
  Shape p;
  p.transposed = s.attr_int("transB", 0) != 0;
  p.m = s.in[0].dims[0];
  p.lda = p.k = s.in[0].dims[1];
  p.n = s.in[1].dims[p.transposed ? 0 : 1];
  p.ldb = s.in[1].dims[1];
  if (s.in[1].dims[p.transposed ? 1 : 0] != p.k) return std::nullopt;
  return p;
}

// Gemm's own C as a bias of the epilogue.
const char* check_c(const StepInfo& s, const Shape& p) {
  if (!s.has(2)) return nullptr;
  const Operand& c = s.in[2];
  if (!is_f32(c) || s.attr_float("beta", 1) != 1) return "beta or the type of C";
  if (c.dims.empty() || c.size() != p.n || c.dims.back() != p.n) return "C is not a row";
  return nullptr;
}

const char* check(const StepInfo& s) {
  if (!is_f32(s.in[0]) || !is_f32(s.in[1]) || !is_f32(s.out[0])) return "not float";
  if (!s.in[1].constant) return "B is not constant";
  return all_plain(s) ? nullptr : "layouts";
}

const char* accept_matmul(const StepInfo& s) {
  if (auto* why = check(s)) return why;
  if (!matmul_shape(s)) return "shapes";
  return epilogue_of(s, s.out[0].dims.size() - 1, false) ? nullptr : "post operations";
}

const char* accept_gemm(const StepInfo& s) {
  if (auto* why = check(s)) return why;
  auto p = gemm_shape(s);
  if (!p) return "shapes";
  if (auto* why = check_c(s, *p)) return why;
  return epilogue_of(s, 1, s.has(2)) ? nullptr : "post operations";
}

Result<std::unique_ptr<Prepared>> build(const StepInfo& s, const Shape& p, const EpilogueForm& f,
                                        PrepareContext& ctx) {
  TRY_ASSIGN(auto packed, pack_b(s, 1, p.ldb, p.transposed, p.k, p.n, ctx));
  auto r = prepared([=](const RunArgs& a) {
    parallel_gemm(in<float>(a, 0), p.lda, reinterpret_cast<const float*>(packed.get()),
                  out<float>(a), p.n, p.m, p.k, p.n, bind_epilogue(f, a, p.n));
  });
  r->unread_inputs = 2;
  return r;
}

Result<std::unique_ptr<Prepared>> prepare_matmul(const StepInfo& s, PrepareContext& ctx) {
  return build(s, *matmul_shape(s), *epilogue_of(s, s.out[0].dims.size() - 1, false), ctx);
}

Result<std::unique_ptr<Prepared>> prepare_gemm(const StepInfo& s, PrepareContext& ctx) {
  EpilogueForm f = *epilogue_of(s, 1, s.has(2));
  f.alpha *= s.attr_float("alpha", 1);
  return build(s, *gemm_shape(s), f, ctx);
}

// A 1x1 convolution without strides over pixels that lie channels-last is one product.
const char* accept_pointwise(const StepInfo& s) {
  for (size_t i = 0; i < s.main_inputs; ++i)
    if (s.in[i].present() && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0]) || !s.in[1].constant) return "weights are not constant";
  if (!channels_last(s.in[0]) || !channels_last(s.out[0])) return "not channels-last";
  auto g = conv_geometry(s);
  if (!g || g->group != 1) return "groups";
  for (size_t i = 0; i < g->rank(); ++i)
    if (g->kernel[i] != 1 || g->strides[i] != 1 || g->begin[i] || g->end[i]) return "not 1x1";
  if (s.has(2) && s.in[2].rank() != 1) return "the bias";
  return epilogue_of(s, 1, s.has(2)) ? nullptr : "post operations";
}

Result<std::unique_ptr<Prepared>> prepare_pointwise(const StepInfo& s, PrepareContext& ctx) {
  Shape p;
  p.k = s.in[1].dims[1];
  p.n = s.in[1].dims[0];
  p.m = s.in[0].size() / p.k;
  p.lda = p.ldb = p.k;
  p.transposed = true;
  EpilogueForm f = *epilogue_of(s, 1, s.has(2));
  f.chain = conv_chain(p.k);
  return build(s, p, f, ctx);
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(gemm, {"gemm", "MatMul", 30, cpu::accept_matmul, cpu::prepare_matmul},
                     {"gemm", "Gemm", 30, cpu::accept_gemm, cpu::prepare_gemm},
                     {"gemm_1x1", "Conv", 30, cpu::accept_pointwise, cpu::prepare_pointwise})
