// SPDX-License-Identifier: Apache-2.0
// Fused chains give the bits of the single kernels, for every type, broadcast and split.
#include "exec/cpu/simd/chain.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "exec/cpu/simd/convert.h"
#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

ChainInstr unary(Unary op, ChainRef dst, ChainRef a, float p = 0, float q = 0) {
  ChainInstr in;
  in.form = ChainForm::kUnary;
  in.unary = op;
  in.dst = dst;
  in.src[0] = a;
  in.a = p;
  in.b = q;
  return in;
}
ChainInstr binary(Binary op, ChainRef dst, ChainRef a, ChainRef b) {
  ChainInstr in;
  in.form = ChainForm::kBinary;
  in.binary = op;
  in.dst = dst;
  in.src[0] = a;
  in.src[1] = b;
  return in;
}
ChainInstr three(ChainForm form, ChainRef dst, ChainRef a, ChainRef b, ChainRef c) {
  ChainInstr in;
  in.form = form;
  in.dst = dst;
  in.src[0] = a;
  in.src[1] = b;
  in.src[2] = c;
  return in;
}

}  // namespace

TEST_CASE("a chain equals its kernels one after the other") {
  each_target([&](double) {
    for (int64_t rows : {1, 3, 40})
      for (int64_t cols : {1, 3, 17, 300, 1500}) {
        // out0 = tanh(x * w + b[row]) ; out1 = out0 < 0.1 ? x : 2 - w   (w: per column, b: per row)
        const std::vector<int64_t> sx = {rows, cols}, sw = {cols}, sb = {rows, 1};
        const int64_t n = rows * cols;
        const std::vector<float> x = Random(1).floats(n), w = Random(2).floats(cols),
                                 b = Random(3).floats(rows);
        Chain c;
        c.inputs = 3;
        c.outputs = 2;
        c.instr[c.instrs++] = three(ChainForm::kMulAdd, ChainRef::reg(0), ChainRef::input(0),
                                    ChainRef::input(1), ChainRef::input(2));
        c.instr[c.instrs++] = unary(Unary::kTanh, ChainRef::reg(0), ChainRef::reg(0));
        c.instr[c.instrs++] = unary(Unary::kCopy, ChainRef::output(0), ChainRef::reg(0));
        ChainInstr less;
        less.form = ChainForm::kCompareImm;
        less.compare = Compare::kLt;
        less.dst = ChainRef::reg(1);
        less.src[0] = ChainRef::reg(0);
        less.a = 0.1f;
        c.instr[c.instrs++] = less;
        ChainInstr sub;
        sub.form = ChainForm::kImmBinary;
        sub.binary = Binary::kSub;
        sub.dst = ChainRef::reg(2);
        sub.src[0] = ChainRef::input(1);
        sub.a = 2;
        c.instr[c.instrs++] = sub;
        c.instr[c.instrs++] = three(ChainForm::kWhere, ChainRef::output(1), ChainRef::reg(1),
                                    ChainRef::input(0), ChainRef::reg(2));
        REQUIRE(chain_valid(c));
        const std::span<const int64_t> shapes[] = {sx, sw, sb};
        NdPlan plan;
        REQUIRE(plan_broadcast(shapes, sx, &plan));
        for (int64_t step : {n, n / 3 + 1}) {
          std::vector<float> y0(n), y1(n);
          const void* in[] = {x.data(), w.data(), b.data()};
          void* out[] = {y0.data(), y1.data()};
          for (int64_t p = 0; p < n; p += step)
            chain_run(c, plan, in, out, p, std::min(n, p + step));
          std::vector<float> t(n);
          const bool fused = vector_floats() > 4 || std::strcmp(target_name(), "NEON") == 0;
          for (int64_t i = 0; i < n; ++i) {
            const float p = x[i] * w[i % cols];
            t[i] = fused ? std::fma(x[i], w[i % cols], b[i / cols]) : p + b[i / cols];
          }
          unary_f32(Unary::kTanh, t.data(), t.data(), n);
          for (int64_t i = 0; i < n; ++i) {
            REQUIRE(same(y0[i], t[i]));
            REQUIRE(same(y1[i], t[i] < 0.1f ? x[i] : 2 - w[i % cols]));
          }
        }
      }
  });
}

TEST_CASE("chains convert at the edge and work in place") {
  each_target([&](double) {
    const int64_t n = 1003;
    const std::vector<float> x = Random(5).floats(n, -200, 200);
    std::vector<uint16_t> h(n), bf(n);
    std::vector<int8_t> q(n);
    std::vector<int64_t> l(n);
    f32_to_f16(x.data(), h.data(), n);
    f32_to_bf16(x.data(), bf.data(), n);
    for (int64_t i = 0; i < n; ++i) q[i] = static_cast<int8_t>(i), l[i] = i - 500;
    Chain c;
    c.inputs = 4;
    c.outputs = 4;
    c.in_type[0] = ChainType::kF16;
    c.in_type[1] = ChainType::kBF16;
    c.in_type[2] = ChainType::kI8;
    c.in_type[3] = ChainType::kI64;
    c.out_type[0] = ChainType::kU8;
    c.out_type[1] = ChainType::kF16;
    c.out_type[2] = ChainType::kBool;
    c.out_type[3] = ChainType::kI32;
    const auto in = ChainRef::input, reg = ChainRef::reg, out = ChainRef::output;
    c.instr[c.instrs++] = binary(Binary::kAdd, reg(0), in(0), in(1));
    c.instr[c.instrs++] = unary(Unary::kRound, out(0), reg(0));
    c.instr[c.instrs++] = binary(Binary::kMul, out(1), reg(0), in(2));
    c.instr[c.instrs++] = unary(Unary::kCopy, out(2), in(2));
    c.instr[c.instrs++] = binary(Binary::kAdd, out(3), in(3), in(2));
    REQUIRE(chain_valid(c));
    std::vector<uint8_t> y0(n), y2(n);
    std::vector<int32_t> y3(n);
    const void* inputs[] = {h.data(), bf.data(), q.data(), l.data()};
    std::vector<uint16_t> y1 = h;
    inputs[0] = y1.data();  // output 1 lies in place of input 0
    void* outputs[] = {y0.data(), y1.data(), y2.data(), y3.data()};
    chain_run(c, plan_flat(4, n), inputs, outputs, 0, n);
    for (int64_t i = 0; i < n; ++i) {
      float a, b;
      f16_to_f32(&h[i], &a, 1);
      bf16_to_f32(&bf[i], &b, 1);
      const float s = a + b, r = std::nearbyint(s);
      CHECK(y0[i] == static_cast<uint8_t>(std::clamp(r, 0.0f, 255.0f)));
      const float m = s * q[i];
      uint16_t want;
      f32_to_f16(&m, &want, 1);
      CHECK(y1[i] == want);
      CHECK(y2[i] == (q[i] != 0));
      CHECK(y3[i] == l[i] + q[i]);
    }
  });
}

TEST_CASE("programs that are not well formed") {
  Chain c;
  c.inputs = 1;
  c.outputs = 1;
  CHECK_FALSE(chain_valid(c));  // empty
  c.instr[c.instrs++] = unary(Unary::kExp, ChainRef::output(0), ChainRef::reg(0));
  CHECK_FALSE(chain_valid(c));  // register never written
  c.instr[0].src[0] = ChainRef::input(1);
  CHECK_FALSE(chain_valid(c));  // no such input
  c.instr[0].src[0] = ChainRef::input(0);
  CHECK(chain_valid(c));
  c.out_type[0] = ChainType::kI64;
  CHECK_FALSE(chain_valid(c));
  c.out_type[0] = ChainType::kF32;
  c.outputs = 2;
  CHECK_FALSE(chain_valid(c));  // output 1 never written
  c.outputs = 1;
  c.instr[c.instrs++] =
      binary(Binary::kMod, ChainRef::reg(0), ChainRef::input(0), ChainRef::input(0));
  CHECK_FALSE(chain_valid(c));  // integer op
  c.instr[1].binary = Binary::kAdd;
  CHECK(chain_valid(c));
  c.instr[1].dst = ChainRef::output(0);
  CHECK_FALSE(chain_valid(c));  // written twice
}
