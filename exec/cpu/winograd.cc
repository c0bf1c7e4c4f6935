// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3), where the shape makes it the faster way.
// Its error against the output's largest value grows with the root of the channels summed, within
// one block of k: 1e-6 for 32, 3e-6 for 256 and more (tests/unit/simd_winograd_test.cc holds that,
// with values of very different sizes too). kMostChannels is as far as it was measured.
// Precision::kFp32Strict leaves it out.
#include "exec/cpu/simd/winograd.h"

#include <cmath>

#include "exec/cpu/gemm.h"
#include "exec/cpu/identity.h"
#include "exec/plan/geometry.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

constexpr int64_t kMostChannels = 2048;
constexpr double kCache = 704e3;    // bytes of L2 for the buffers of one block
constexpr int64_t kMostTiles = 96;  // of a block
constexpr double kLoad = 16;        // multiply-adds in the time that one weight takes from L3

simd::Winograd shape_of(const StepInfo& s, const Geometry& g) {
  simd::Winograd p;
  p.n = s.in[0].dims[0], p.c = s.in[0].dims[1], p.k = s.out[0].dims[1];
  p.h = g.in[0], p.w = g.in[1];
  p.oh = g.out[0], p.ow = g.out[1];
  p.top = g.begin[0], p.left = g.begin[1];
  return p;
}

// Tiles a block: as many as L2 holds, or more where reading all weights for each block costs more
// than passing the block's own data through L3.
int64_t block_of(const simd::Winograd& p) {
  const double c = static_cast<double>(p.c), k = static_cast<double>(p.k);
  const int64_t all = p.tiles(), most = std::min(all, kMostTiles);
  const auto held = static_cast<int64_t>(kCache / (144 * (c + k)));
  const int64_t fits = std::clamp<int64_t>(held, 1, most);
  const auto traffic = [&](int64_t tiles, double spilled) {
    return c * k / static_cast<double>(tiles) + spilled * (c + k);
  };
  const int64_t block = traffic(fits, 0) <= traffic(most, 2) ? fits : most;
  const int64_t blocks = (all + block - 1) / block, mr = simd::gemm_mr();
  return ((all + blocks - 1) / blocks + mr - 1) / mr * mr;
}

// In multiply-adds of a running product: those of the points, the transforms, the weights' way from
// L3; against the direct way's.
bool pays(const simd::Winograd& p) {
  const double c = static_cast<double>(p.c), k = static_cast<double>(p.k);
  const double tiles = static_cast<double>(p.tiles());
  const double blocks = std::ceil(tiles / static_cast<double>(block_of(p)));
  const double points = 36 * c * k * (1.25 * tiles + kLoad * blocks) + 290 * tiles * (c + k);
  const double direct = 9 * c * k * (1.33 * static_cast<double>(p.n * p.oh * p.ow) + kLoad);
  return points < direct;
}

const char* accept(const StepInfo& s) {
  for (size_t i = 0; i < s.main_inputs; ++i)
    if (s.in[i].present() && !is_f32(s.in[i])) return "not float";
  if (!is_f32(s.out[0]) || !s.in[1].constant) return "weights are not constant";
  if (s.in[0].rank() != 4 || !channels_last(s.in[0]) || !channels_last(s.out[0]))
    return "not channels-last images";
  const auto g = conv_geometry(s);
  if (!g || g->group != 1 || g->dilated()) return "groups or dilations";
  for (size_t i = 0; i < 2; ++i)
    if (g->kernel[i] != 3 || g->strides[i] != 1) return "not 3x3 with stride 1";
  if (s.has(2) && s.in[2].rank() != 1) return "the bias";
  const simd::Winograd p = shape_of(s, *g);
  if (p.c < 8) return "few channels";
  if (p.c > kMostChannels) return "too many channels for the error's bound";
  if (!pays(p)) return "the direct way is faster";
  return epilogue_of(s, 1, s.has(2)) ? nullptr : "post operations";
}

bool finite(const Tensor& t) {
  const Tensor aligned = t.to_aligned();
  const auto f = aligned.as<float>();
  return std::all_of(f.begin(), f.end(), [](float x) { return std::isfinite(x); });
}

Result<std::shared_ptr<const std::byte>> pack(const StepInfo& s, const simd::Winograd& p,
                                              PrepareContext& ctx) {
  const Tensor& source = *s.in[1].constant;
  const int64_t bytes =
      simd::winograd_packed_floats(p.c, p.k) * static_cast<int64_t>(sizeof(float));
  const auto fill = [&](std::byte* to) -> Status {
    auto* packed = reinterpret_cast<float*>(to);
    parallel_for(simd::gemm_panels(p.k, simd::gemm_nr()), 1, [&](int64_t begin, int64_t end) {
      simd::winograd_pack_f32(source.raw(), p.c, p.k, packed, begin, end);
    });
    return ok();
  };
  return ctx.packs.get(source, format("winograd:{}:{}", p.c, p.k), bytes, fill);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  if (ctx.strict) return unsupported("its error is above that of plain multiply-adds");
  if (ctx.bf16 && has_bf16_tiles()) return unsupported("tiles of bfloat16 are faster");
  if (!finite(*s.in[1].constant)) return unsupported("weights that are not finite");
  simd::Winograd p = shape_of(s, *conv_geometry(s));
  p.block = block_of(p);
  const EpilogueForm form = *epilogue_of(s, 1, s.has(2));
  TRY_ASSIGN(auto weights, pack(s, p, ctx));
  const int64_t tiles = p.tiles(), blocks = (tiles + p.block - 1) / p.block;
  const int64_t units = simd::kWinogradPoints * simd::gemm_panels(p.k, simd::gemm_nr());
  const int64_t grain_in = grain_for(5.0 * static_cast<double>(p.c)),
                grain_out = grain_for(5.0 * static_cast<double>(p.k)),
                grain_unit = grain_for(1.3 * static_cast<double>(p.c * p.block));
  // Blocks go to threads; few of them go one after the other, each shared by all threads.
  const bool one_by_one = blocks < 2 * ctx.threads;
  const int64_t v_floats = simd::kWinogradPoints * p.v_plane(),
                each = v_floats + simd::kWinogradPoints * p.m_plane();
  std::vector<float> zeros(static_cast<size_t>(p.c));
  auto r = prepared([=, zeros = std::move(zeros)](const RunArgs& a) {
    const auto* x = in<float>(a, 0);
    const auto* packed = reinterpret_cast<const float*>(weights.get());
    const simd::Epilogue e = bind_epilogue(form, a, p.k);
    const auto run = [&](int64_t b) {
      float* v = reinterpret_cast<float*>(a.scratch) + (one_by_one ? 0 : parallel_index() * each);
      float* m = v + v_floats;
      const int64_t first = b * p.block, count = std::min(p.block, tiles - first);
      parallel_for(count, grain_in, [&](int64_t t0, int64_t t1) {
        simd::winograd_input_f32(p, x, zeros.data(), first, t0, t1, v);
      });
      parallel_for(units, grain_unit, [&](int64_t u0, int64_t u1) {
        simd::winograd_products_f32(p, v, packed, m, count, u0, u1);
      });
      parallel_for(count, grain_out, [&](int64_t t0, int64_t t1) {
        simd::winograd_output_f32(p, m, x, zeros.data(), a.in[1], first, t0, t1, out<float>(a), e);
      });
    };
    if (one_by_one)
      for (int64_t b = 0; b < blocks; ++b) run(b);
    else
      parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) run(b);
      });
  });
  r->scratch_bytes = each * (one_by_one ? 1 : ctx.threads) * static_cast<int64_t>(sizeof(float));
  r->any_alignment = 2;
  return r;
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(winograd, {"winograd", "Conv", 28, cpu::accept, cpu::prepare})
