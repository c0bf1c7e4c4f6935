// SPDX-License-Identifier: Apache-2.0
// Rates of the SIMD kernels on one thread: `simd_bench [filter [target]]`, target 0 = best. Each
// line is the best of repeated runs within a tenth of a second. GEMM runs over rotating weights (a
// model's are cold). For comparing two builds or targets on one machine, not machines.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "exec/cpu/simd/attention.h"
#include "exec/cpu/simd/chain.h"
#include "exec/cpu/simd/convert.h"
#include "exec/cpu/simd/copy.h"
#include "exec/cpu/simd/gemm.h"
#include "exec/cpu/simd/norm.h"
#include "exec/cpu/simd/reduce.h"
#include "exec/cpu/simd/resize.h"
#include "exec/cpu/simd/simd.h"
#include "exec/cpu/simd/window.h"

using namespace onnxtool::simd;

namespace {

std::string filter;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// work: bytes or operations of one call.
void rate(const std::string& name, double work, const char* unit, const std::function<void()>& f) {
  if (name.find(filter) == std::string::npos) return;
  double best = 1e9, end = now() + 0.15;
  f();
  do {
    const double t0 = now();
    f();
    best = std::min(best, now() - t0);
  } while (now() < end);
  std::printf("%-44s %9.2f us %8.1f %s\n", name.c_str(), best * 1e6, work / best * 1e-9, unit);
}

std::vector<float> data(int64_t n, float lo = -1, float hi = 1) {
  std::vector<float> v(static_cast<size_t>(n));
  uint32_t s = 12345;
  for (float& f : v) {
    s = s * 1664525u + 1013904223u;
    f = lo + (hi - lo) * static_cast<float>(s >> 8) * 0x1p-24f;
  }
  return v;
}

void elementwise() {
  for (int64_t n : {int64_t{8192}, int64_t{1} << 23}) {
    const std::vector<float> x = data(n, -4, 4), z = data(n, 0.5f, 2);
    std::vector<float> y(n);
    const std::string size = n > 100000 ? " 32 MB" : " 32 KB";
    const std::pair<Unary, const char*> ops[] = {
        {Unary::kRelu, "relu"}, {Unary::kExp, "exp"},          {Unary::kLog, "log"},
        {Unary::kTanh, "tanh"}, {Unary::kErf, "erf"},          {Unary::kSigmoid, "sigmoid"},
        {Unary::kSilu, "silu"}, {Unary::kGelu, "gelu"},        {Unary::kGeluTanh, "gelu_tanh"},
        {Unary::kMish, "mish"}, {Unary::kSin, "sin"},          {Unary::kPow, "pow"},
        {Unary::kSqrt, "sqrt"}, {Unary::kSoftplus, "softplus"}};
    for (const auto& [op, name] : ops)
      rate(name + size, 8.0 * n, "GB/s",
           [&, op = op] { unary_f32(op, z.data(), y.data(), n, 1.3f, 0); });
    const NdPlan flat = plan_flat(2, n);
    rate("add" + size, 12.0 * n, "GB/s",
         [&] { binary_f32(Binary::kAdd, flat, x.data(), z.data(), y.data(), 0, n); });
    for (int64_t c : {3, 49, 1024}) {
      const std::vector<int64_t> shape = {n / c, c}, row = {c}, column = {n / c, 1};
      for (const auto& b : {row, column}) {
        const std::span<const int64_t> in[] = {shape, b};
        NdPlan plan;
        plan_broadcast(in, shape, &plan);
        rate("mul [M," + std::to_string(c) + (b.size() == 1 ? "]*[N]" : "]*[M,1]") + size, 8.0 * n,
             "GB/s",
             [&] { binary_f32(Binary::kMul, plan, x.data(), z.data(), y.data(), 0, n / c * c); });
      }
    }
    Chain c;
    c.inputs = 2;
    c.outputs = 1;
    for (int i = 0; i < 8; ++i) {
      ChainInstr& in = c.instr[c.instrs++];
      in.form = ChainForm::kBinary;
      in.binary = i % 2 ? Binary::kMul : Binary::kAdd;
      in.src[0] = i == 0 ? ChainRef::input(0) : ChainRef::reg(0);
      in.src[1] = ChainRef::input(1);
      in.dst = i == 7 ? ChainRef::output(0) : ChainRef::reg(0);
    }
    rate("chain of 8 add/mul" + size, 12.0 * n, "GB/s", [&] {
      const void* in[] = {x.data(), z.data()};
      void* out[] = {y.data()};
      chain_run(c, flat, in, out, 0, n);
    });
    std::vector<uint16_t> h(n);
    rate("f32 to f16" + size, 6.0 * n, "GB/s", [&] { f32_to_f16(x.data(), h.data(), n); });
    rate("f16 to f32" + size, 6.0 * n, "GB/s", [&] { f16_to_f32(h.data(), y.data(), n); });
  }
}

void norms() {
  const auto softmax = [](int64_t outer, int64_t n, int64_t inner) {
    const std::vector<float> x = data(outer * n * inner, -5, 5);
    std::vector<float> y(x.size());
    rate("softmax [" + std::to_string(outer) + "," + std::to_string(n) + "," +
             std::to_string(inner) + "]",
         8.0 * x.size(), "GB/s",
         [&] { softmax_f32(x.data(), y.data(), n, inner, 0, outer * inner); });
  };
  softmax(1536, 128, 1);
  softmax(12 * 197, 197, 1);
  softmax(100, 1500, 1);
  softmax(1, 1000, 1);
  softmax(10000, 16, 1);
  softmax(4, 16, 8400);
  for (int64_t n : {384, 768, 4096}) {
    const std::vector<float> x = data(128 * n), g = data(n);
    std::vector<float> y(x.size());
    LayerNorm p;
    p.n = n;
    p.gamma = p.beta = g.data();
    rate("layer_norm [128," + std::to_string(n) + "]", 8.0 * x.size(), "GB/s",
         [&] { layer_norm_f32(p, x.data(), y.data(), 0, 128); });
    rate("rms_norm [128," + std::to_string(n) + "]", 8.0 * x.size(), "GB/s",
         [&] { rms_norm_f32(p, x.data(), y.data(), 0, 128); });
  }
  GroupNorm p;
  p.channels = 320;
  p.spatial = 1024;
  p.groups = 32;
  p.act = Unary::kSilu;
  p.act_a = 1;
  const std::vector<float> x = data(p.channels * p.spatial);
  std::vector<float> y(x.size());
  for (bool last : {false, true}) {
    p.channels_last = last;
    rate(std::string("group_norm+silu 320x1024 ") + (last ? "nhwc" : "nchw"), 8.0 * x.size(),
         "GB/s", [&] { group_norm_f32(p, x.data(), y.data(), 0, 32); });
  }
}

void copies() {
  const auto transpose = [](std::vector<int64_t> dims, std::vector<int64_t> perm, int elem) {
    int64_t n = 1;
    std::string name = "transpose e" + std::to_string(elem) + " [";
    for (int64_t d : dims) n *= d, name += std::to_string(d) + ",";
    name.back() = ']';
    for (int64_t a : perm) name += std::to_string(a);
    std::vector<char> x(n * elem, 1), y(n * elem);
    CopyPlan plan;
    plan_transpose(dims, perm, elem, &plan);
    rate(name, 2.0 * n * elem, "GB/s", [&] { copy_run(plan, x.data(), y.data(), 0, plan.items); });
  };
  transpose({1, 128, 12, 64}, {0, 2, 1, 3}, 4);
  transpose({12, 128, 64}, {0, 2, 1}, 4);
  transpose({1, 96, 56, 56}, {0, 2, 3, 1}, 4);
  transpose({1, 56, 56, 96}, {0, 3, 1, 2}, 4);
  transpose({1024, 1024}, {1, 0}, 4);
  transpose({3000, 3000}, {1, 0}, 4);
  transpose({1024, 1024}, {1, 0}, 1);
  transpose({1024, 1024}, {1, 0}, 2);
  transpose({1024, 1024}, {1, 0}, 8);
  transpose({1, 3, 224, 224}, {0, 2, 3, 1}, 4);
  transpose({1, 224, 224, 3}, {0, 3, 1, 2}, 4);
}

void gemms() {
  const auto run = [](int64_t m, int64_t k, int64_t n) {
    const int64_t copies = std::clamp<int64_t>((64 << 20) / (k * n * 4), 1, 24);
    const std::vector<float> a = data(m * k), b = data(k * n);
    std::vector<float> c(m * n), packed(packed_b_floats(k, n) * copies + 16);
    float* p = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) / 4 % 16;
    const int64_t panels = gemm_panels(n, gemm_nr());
    for (int64_t i = 0; i < copies; ++i)
      pack_b_f32(b.data(), n, false, k, n, p + i * packed_b_floats(k, n), 0, panels);
    const std::string shape = std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
    int64_t next = 0;
    rate("gemm hot " + shape, 2.0 * m * n * k, "GF/s",
         [&] { gemm_f32(a.data(), k, p, c.data(), n, k, n, 0, m, 0, panels); });
    if (m <= 4)
      rate("gemv cold bytes " + shape, 4.0 * n * k, "GB/s", [&] {
        gemm_f32(a.data(), k, p + (next++ % copies) * packed_b_floats(k, n), c.data(), n, k, n, 0,
                 m, 0, panels);
      });
    rate("gemm cold " + shape, 2.0 * m * n * k, "GF/s", [&] {
      gemm_f32(a.data(), k, p + (next++ % copies) * packed_b_floats(k, n), c.data(), n, k, n, 0, m,
               0, panels);
    });
    rate("gemm rowmajor " + shape, 2.0 * m * n * k, "GF/s",
         [&] { gemm_rowmajor_f32(a.data(), k, b.data(), n, c.data(), n, k, 0, m, 0, n); });
    rate("pack " + shape, 8.0 * n * k, "GB/s",
         [&] { pack_b_f32(b.data(), n, false, k, n, p, 0, panels); });
    rate("pack transposed " + shape, 8.0 * n * k, "GB/s",
         [&] { pack_b_f32(b.data(), k, true, k, n, p, 0, panels); });
  };
  run(128, 768, 768);
  run(128, 768, 3072);
  run(128, 3072, 768);
  run(1504, 384, 1536);
  run(3136, 64, 256);
  run(784, 128, 512);
  run(49, 512, 2048);
  run(1, 768, 3072);
  run(4, 768, 3072);
}

void attentions() {
  const auto run = [](int64_t heads, int64_t q_len, int64_t keys, int64_t dim, bool causal) {
    const std::vector<float> q = data(heads * q_len * dim), k = data(heads * keys * dim);
    std::vector<float> out(q.size());
    Attention p;
    p.heads = p.kv_heads = heads;
    p.q_len = q_len;
    p.head_dim = p.v_dim = dim;
    p.scale = 0.125f;
    p.causal = causal;
    p.causal_offset = keys - q_len;
    p.q = q.data();
    p.out = out.data();
    p.q_head = p.o_head = q_len * dim;
    p.q_seq = p.o_seq = dim;
    p.kv[0] = {k.data(), k.data(), keys, 0, keys * dim, dim, 0, keys * dim, dim};
    std::vector<float> scratch(attention_scratch_bytes(p) / 4 + 16);
    float* s = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) / 4 % 16;
    const std::string shape = std::to_string(heads) + "x" + std::to_string(q_len) + "x" +
                              std::to_string(keys) + "x" + std::to_string(dim);
    const double work = 4.0 * heads * q_len * keys * dim * (causal && q_len > 1 ? 0.5 : 1);
    rate(std::string("attention ") + (causal ? "causal " : "") + shape, work, "GF/s",
         [&] { attention_f32(p, 0, attention_items(p), s); });
    if (q_len == 1)
      rate("attention bytes " + shape, 8.0 * heads * keys * dim, "GB/s",
           [&] { attention_f32(p, 0, attention_items(p), s); });
  };
  run(1, 1500, 1500, 64, false);
  run(12, 128, 128, 64, false);
  run(3, 197, 197, 64, false);
  run(12, 16, 16, 64, false);
  run(8, 49, 49, 32, false);
  run(4, 512, 512, 64, true);
  run(8, 1, 1024, 64, true);
}

void windows() {
  const auto run = [](int64_t size, int64_t c, int64_t k, int64_t stride) {
    Window p;
    p.h = p.w = size;
    p.c = c;
    p.kh = p.kw = k;
    p.sh = p.sw = stride;
    p.top = p.left = p.bottom = p.right = k / 2;
    p.oh = p.ow = (size - 1) / stride + 1;
    const std::vector<float> x = data(size * size * c), w = data(k * k * c);
    std::vector<float> y(p.oh * p.ow * c);
    const std::string shape = std::to_string(size) + "^2x" + std::to_string(c) + " k" +
                              std::to_string(k) + " s" + std::to_string(stride);
    const double flops = 2.0 * y.size() * k * k;
    rate("dwconv nhwc " + shape, flops, "GF/s", [&] {
      dwconv_nhwc_f32(p, x.data(), w.data(), w.data(), y.data(), 0, p.oh, Unary::kRelu);
    });
    Window q = p;
    q.c = 1;
    rate("dwconv nchw " + shape, flops, "GF/s", [&] {
      for (int64_t i = 0; i < c; ++i)
        dwconv_nchw_f32(q, x.data() + i * size * size, w.data() + i * k * k, 0.5f,
                        y.data() + i * p.oh * p.ow, 0, p.oh, Unary::kRelu);
    });
    rate("max_pool nhwc " + shape, 4.0 * (x.size() + y.size()), "GB/s",
         [&] { max_pool_nhwc_f32(p, x.data(), y.data(), 0, p.oh); });
  };
  run(112, 96, 3, 1);
  run(56, 144, 3, 1);
  run(56, 144, 3, 2);
  run(28, 240, 5, 1);
  run(14, 576, 3, 1);
  run(7, 960, 5, 1);
  run(56, 96, 7, 1);
  run(112, 64, 3, 2);
  const std::vector<float> x = data(1024 * 4096);
  std::vector<float> y(4096 * 1024);
  rate("reduce sum rows 1024x4096", 4.0 * x.size(), "GB/s",
       [&] { reduce_f32(Reduce::kSum, x.data(), y.data(), 4096, 1, 0, 1024); });
  rate("reduce sum columns 1024x4096", 4.0 * x.size(), "GB/s",
       [&] { reduce_f32(Reduce::kSum, x.data(), y.data(), 1024, 4096, 0, 4096); });
  rate("reduce mean 128x768", 4.0 * 128 * 768, "GB/s",
       [&] { reduce_f32(Reduce::kMean, x.data(), y.data(), 768, 1, 0, 128); });
  rate("argmax 1x50000", 4.0 * 50000, "GB/s", [&] {
    int64_t at;
    arg_reduce_f32(true, false, x.data(), &at, 50000, 1, 0, 1);
  });
  std::vector<LinearTap> t(80);
  std::vector<int32_t> near(80);
  for (int i = 0; i < 80; ++i) t[i] = {i / 2, std::min(i / 2 + 1, 39), 0.5f, 0.5f}, near[i] = i / 2;
  rate("resize linear nhwc 40^2x128 x2", 4.0 * 80 * 80 * 128, "GB/s",
       [&] { resize_linear_nhwc_f32(x.data(), 40, 128, y.data(), t.data(), t.data(), 80, 0, 80); });
  rate("resize linear nchw 40^2x128 x2", 4.0 * 80 * 80 * 128, "GB/s", [&] {
    for (int64_t c = 0; c < 128; ++c)
      resize_linear_nchw_f32(x.data() + c * 1600, 40, y.data() + c * 6400, t.data(), t.data(), 80,
                             0, 80);
  });
  rate("resize nearest nhwc 40^2x128 x2", 4.0 * 80 * 80 * 128, "GB/s",
       [&] { resize_nearest(x.data(), 40, 512, y.data(), near.data(), near.data(), 80, 0, 80); });
  std::vector<uint8_t> q(y.size());
  const float scale = 0.02f;
  const uint8_t zero = 128;
  rate("quantize 1M", 5.0 * (1 << 20), "GB/s",
       [&] { quantize_u8(x.data(), q.data(), &scale, &zero, 1, 1 << 20, 0, 1 << 20); });
  rate("dequantize 1M", 5.0 * (1 << 20), "GB/s",
       [&] { dequantize_u8(q.data(), y.data(), &scale, &zero, 1, 1 << 20, 0, 1 << 20); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) filter = argv[1];
  if (argc > 2 && !use_target_for_test(std::atoi(argv[2]))) return 1;
  std::printf("%s\n", target_name());
  elementwise();
  norms();
  copies();
  gemms();
  attentions();
  windows();
}
