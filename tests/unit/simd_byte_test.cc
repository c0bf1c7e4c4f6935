// SPDX-License-Identifier: Apache-2.0
// Products and windows of 8-bit integers against plain loops: awkward shapes, every end, every
// target with VNNI and without.
#include <algorithm>
#include <catch2/catch.hpp>

#include "exec/cpu/simd/byte_gemm.h"
#include "exec/cpu/simd/byte_window.h"
#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

template <class F>
void each_way(F&& f) {
  each_target([&](double) {
    for (bool vnni : {true, false}) {
      use_vnni_for_test(vnni);
      f();
    }
    use_vnni_for_test(true);
  });
}

// Bytes with the greatest and the least among them.
template <class T>
std::vector<T> bytes(uint64_t seed, int64_t n, int low, int high) {
  Random r(seed);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) {
    const uint32_t b = r.bits();
    x = static_cast<T>(b % 7 == 0 ? low
                       : b % 7 == 1
                           ? high
                           : low + static_cast<int>(b / 7 % static_cast<uint32_t>(high - low + 1)));
  }
  return v;
}
std::vector<int32_t> ints(uint64_t seed, int64_t n, int range) {
  Random r(seed);
  std::vector<int32_t> v(static_cast<size_t>(n + kByteSlack));
  for (auto& x : v)
    x = static_cast<int32_t>(r.bits() % static_cast<uint32_t>(2 * range + 1)) - range;
  return v;
}

// Rows of an end, with its result by plain arithmetic.
struct End {
  int64_t n;
  std::vector<int32_t> offset, weight_zero, row_sum;
  std::vector<float> scale, bias, residual;
  std::vector<uint8_t> codes, table;
  std::vector<TileOp> ops;
  ByteEnd e;

  enum Ops { kNone, kAll, kResidual };

  End(int64_t m, int64_t n_, ByteOut out, bool zeros, Ops which, bool with_table) : n(n_) {
    const bool with_ops = which == kAll;
    offset = ints(1, n, 5000);
    weight_zero = ints(2, n, 20);
    scale.assign(static_cast<size_t>(n + kByteSlack), 0.01f);
    bias.assign(static_cast<size_t>(n + kByteSlack), 0.37f);
    for (size_t i = 0; i < scale.size(); ++i) scale[i] += 0.0001f * static_cast<float>(i % 50);
    residual = Random(3).floats(m * n);
    codes = bytes<uint8_t>(4, m * n, 0, 255);
    table = bytes<uint8_t>(5, 256, 0, 255);
    if (which == kResidual) {
      TileOp op;
      op.kind = TileOp::kRound, op.a = -90, op.b = 100, op.c = 0.5f;
      ops.push_back(op);
      op.kind = TileOp::kAddS8, op.data = codes.data(), op.ld = n, op.a = 0.25f, op.b = 3, op.c = 2;
      ops.push_back(op);
    }
    if (with_ops) {
      TileOp op;
      op.kind = TileOp::kAddF32, op.data = residual.data(), op.ld = n, op.a = 0.5f, op.c = 2;
      ops.push_back(op);
      op.kind = TileOp::kAddS8, op.data = codes.data(), op.a = 0.25f, op.b = 3, op.c = 0.5f;
      ops.push_back(op);
      op.kind = TileOp::kAddU8;
      ops.push_back(op);
      op.kind = TileOp::kClamp, op.a = -20, op.b = 1e4f;
      ops.push_back(op);
      op.kind = TileOp::kMulF32, op.data = scale.data(), op.ld = 0, op.a = 1;
      ops.push_back(op);
      op = TileOp();
      op.kind = TileOp::kUnary, op.fn = unary_fn(Unary::kSquare);
      ops.push_back(op);
      op.kind = TileOp::kAffine, op.a = -0.5f, op.b = 2;
      ops.push_back(op);
    }
    e.offset = offset.data();
    if (zeros) e.weight_zero = weight_zero.data();
    e.scale = scale.data(), e.bias = bias.data();
    e.ops = ops.data(), e.count = static_cast<int>(ops.size());
    e.out = out, e.zero = out == ByteOut::kU8 ? 17 : -3;
    e.low = (out == ByteOut::kU8 ? 0.0f : -128.0f) - static_cast<float>(e.zero);
    e.high = e.low + 255;
    e.out_scale = with_ops ? 0.7f : 1;
    if (with_table) e.table = table.data();
  }
  double at(int64_t i, int64_t j, int64_t acc) const {
    const auto k = static_cast<size_t>(j), both = static_cast<size_t>(i * n + j);
    acc += offset[k];
    if (e.weight_zero != nullptr) acc -= static_cast<int64_t>(e.row_sum[i]) * weight_zero[k];
    double x =
        static_cast<double>(acc) * static_cast<double>(scale[k]) + static_cast<double>(bias[k]);
    if (ops.empty()) return x;
    if (ops[0].kind == TileOp::kRound)
      return std::clamp(std::nearbyint(x), -90.0, 100.0) + static_cast<int8_t>(codes[both]) * 0.25 +
             3;
    x = x * 2 + 0.5 * static_cast<double>(residual[both]);
    x = x * 0.5 + static_cast<int8_t>(codes[both]) * 0.25 + 3;
    x = x * 0.5 + codes[both] * 0.25 + 3;
    x = std::clamp(x, -20.0, 1e4) * static_cast<double>(scale[k]);
    return x * x * -0.5 + 2;
  }
  // A rounding before may have gone the other way at a half: a step of it more.
  void check_step(uint8_t got, double x) const {
    bool found = false;
    for (double d : {-1.0, 0.0, 1.0})
      for (double half : {-1e-4, 1e-4}) {
        const double v = std::clamp(x + d, static_cast<double>(e.low), static_cast<double>(e.high));
        const auto code = static_cast<uint8_t>(static_cast<int>(std::nearbyint(v + half)) + e.zero);
        found |= got == (e.table != nullptr ? table[code] : code);
      }
    REQUIRE(found);
  }
  // Is `got` (of type out at index i) what x gives, up to a step where x lies at a half.
  void check(const void* c, size_t i, double x) const {
    if (e.out == ByteOut::kF32) {
      const double got = static_cast<double>(static_cast<const float*>(c)[i]);
      const double step = !ops.empty() && ops[0].kind == TileOp::kRound ? 1 : 0;
      REQUIRE(std::fabs(got - x) <= step + 1e-5 * std::max(1.0, std::fabs(x)));
      return;
    }
    x = std::clamp(x * static_cast<double>(e.out_scale), static_cast<double>(e.low),
                   static_cast<double>(e.high));
    const auto got = static_cast<const uint8_t*>(c)[i];
    if (!ops.empty() && ops[0].kind == TileOp::kRound) return check_step(got, x);
    bool found = false;
    for (double d : {-1e-4 * std::max(1.0, std::fabs(x)), 1e-4 * std::max(1.0, std::fabs(x))}) {
      const auto code = static_cast<uint8_t>(static_cast<int>(std::nearbyint(x + d)) + e.zero);
      found |= got == (e.table != nullptr ? table[code] : code);
    }
    REQUIRE(found);
  }
};

constexpr ByteOut kOuts[] = {ByteOut::kF32, ByteOut::kU8, ByteOut::kS8};

}  // namespace

TEST_CASE("byte_gemm") {
  struct Shape {
    int64_t m, k, n;
  };
  for (const Shape s :
       {Shape{1, 1, 1}, {7, 5, 63}, {13, 64, 64}, {6, 130, 100}, {25, 9, 17}, {3, 32768, 3}}) {
    const int64_t lda = byte_gemm_k(s.k) + 4;
    const auto a = bytes<uint8_t>(11, s.m * lda, 0, 255);
    for (const uint8_t flip : {0, 0x80}) {
      const auto b = bytes<int8_t>(12, s.k * s.n, -128, 127);
      std::vector<int64_t> acc(static_cast<size_t>(s.m * s.n));
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j)
          for (int64_t k = 0; k < s.k; ++k)
            acc[static_cast<size_t>(i * s.n + j)] +=
                a[static_cast<size_t>(i * lda + k)] *
                static_cast<int8_t>(static_cast<uint8_t>(b[static_cast<size_t>(k * s.n + j)]) ^
                                    flip);
      each_way([&] {
        std::vector<int8_t> packed(static_cast<size_t>(packed_bytes(s.k, s.n)));
        const int64_t panels = (s.n + byte_gemm_nr() - 1) / byte_gemm_nr();
        pack_bytes(b.data(), s.n, 1, flip, s.k, s.n, packed.data(), 0, panels);
        std::vector<int32_t> sums(static_cast<size_t>(s.m));
        byte_row_sums(a.data(), lda, s.k, 0, s.m, sums.data());
        for (int64_t i = 0; i < s.m; ++i) {
          int64_t want = 0;
          for (int64_t k = 0; k < s.k; ++k) want += a[static_cast<size_t>(i * lda + k)];
          REQUIRE(sums[static_cast<size_t>(i)] == want);
        }
        for (const ByteOut out : kOuts)
          for (int form = 0; form < 12; ++form) {
            End end(s.m, s.n, out, form & 1, static_cast<End::Ops>(form / 4), (form & 2) != 0);
            end.e.row_sum = sums.data();
            std::vector<float> c(static_cast<size_t>(s.m * s.n));
            const int64_t middle = std::min<int64_t>(s.m, byte_gemm_mr());
            byte_gemm(a.data(), lda, packed.data(), c.data(), s.n, s.k, s.n, 0, middle, 0, panels,
                      end.e);
            byte_gemm(a.data(), lda, packed.data(), c.data(), s.n, s.k, s.n, middle, s.m, 0, panels,
                      end.e);
            for (int64_t i = 0; i < s.m * s.n; ++i)
              end.check(c.data(), static_cast<size_t>(i),
                        end.at(i / s.n, i % s.n, acc[static_cast<size_t>(i)]));
          }
      });
    }
  }
}

TEST_CASE("byte_window") {
  for (const int64_t channels : {1, 16, 40, 64, 130})
    for (const int64_t count : {4, 12}) {
      const int64_t pixels = 3;
      const auto x = bytes<uint8_t>(21, pixels * count * channels, 0, 255);
      const auto w = bytes<int8_t>(22, 2 * channels * count, -128, 127);
      std::vector<const uint8_t*> taps;
      for (int64_t i = 0; i < pixels * count; ++i) taps.push_back(x.data() + i * channels);
      for (const uint8_t flip : {0, 0x80})
        for (const int parts : {1, 2})
          each_way([&] {
            std::vector<int8_t> packed(
                static_cast<size_t>(packed_window_bytes(count, channels, parts)));
            pack_byte_window(w.data(), count, channels, parts, packed.data());
            for (const ByteOut out : kOuts)
              for (int form = 0; form < 6; ++form) {
                const End end(pixels, channels, out, false, static_cast<End::Ops>(form / 2),
                              (form & 1) != 0);
                std::vector<float> c(static_cast<size_t>(pixels * channels));
                byte_window(taps.data(), count, pixels, flip, packed.data(), parts, channels, 0,
                            c.data(), end.e);
                for (int64_t p = 0; p < pixels; ++p)
                  for (int64_t i = 0; i < channels; ++i) {
                    int64_t acc = 0;
                    for (int64_t t = 0; t < count * parts; ++t)
                      acc +=
                          (x[static_cast<size_t>((p * count + t % count) * channels + i)] ^ flip) *
                          w[static_cast<size_t>((t / count * channels + i) * count + t % count)];
                    end.check(c.data(), static_cast<size_t>(p * channels + i), end.at(p, i, acc));
                  }
              }
          });
    }
}

TEST_CASE("byte tables") {
  const auto table = bytes<uint8_t>(31, 256, 0, 255);
  const auto floats = Random(32).floats(256);
  for (const int64_t n : {1, 63, 64, 200, 1000}) {
    const auto x = bytes<uint8_t>(33, n, 0, 255);
    each_way([&] {
      std::vector<uint8_t> y(static_cast<size_t>(n)), z(y);
      std::vector<float> f(static_cast<size_t>(n));
      byte_table(x.data(), table.data(), y.data(), n);
      byte_table_f32(x.data(), floats.data(), f.data(), n);
      flip_bytes(x.data(), z.data(), n);
      for (size_t i = 0; i < x.size(); ++i) {
        REQUIRE(y[i] == table[x[i]]);
        REQUIRE(f[i] == floats[x[i]]);
        REQUIRE(z[i] == (x[i] ^ 0x80));
      }
    });
  }
}
