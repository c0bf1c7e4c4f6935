// SPDX-License-Identifier: Apache-2.0
// GEMM forms against double precision: awkward shapes, every epilogue, any split.
#include "exec/cpu/simd/gemm.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

struct Problem {
  int64_t m, n, k, lda, ldb, ldbt, ldc, ldr;
  std::vector<float> a, b, bt, bias_n, bias_m, res;
  Problem(int64_t m_, int64_t n_, int64_t k_)
      : m(m_), n(n_), k(k_), lda(k_ + 3), ldb(n_ + 5), ldbt(k_ + 1), ldc(n_ + 2), ldr(n_ + 1) {
    a = Random(1).floats(m * lda);
    b = Random(2).floats(std::max<int64_t>(k, 1) * ldb);
    bt.resize(n * ldbt);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < n; ++j) bt[j * ldbt + i] = b[i * ldb + j];
    bias_n = Random(3).floats(n);
    bias_m = Random(4).floats(m);
    res = Random(5).floats(m * ldr);
  }
  // want and the sum of |a b| that bounds the error.
  std::pair<double, double> at(int64_t i, int64_t j, const Epilogue& e) const {
    double s = 0, mag = 1;
    for (int64_t p = 0; p < k; ++p) {
      const double t = static_cast<double>(a[i * lda + p]) * b[p * ldb + j];
      s += t;
      mag += std::fabs(t);
    }
    s *= e.alpha;
    if (e.bias_n != nullptr) s += bias_n[j];
    if (e.shift_n != nullptr) s += bias_n[j];
    if (e.bias_m != nullptr) s += bias_m[i];
    const double r = res[i * ldr + j];
    if (e.residual_use == Residual::kAddBeforeAct) s += r;
    if (e.act == Unary::kRelu) s = std::fmax(s, 0);
    if (e.act == Unary::kTanh) s = std::tanh(s);
    if (e.act == Unary::kClip) s = std::fmin(std::fmax(s, e.act_a), e.act_b);
    if (e.residual_use == Residual::kAddAfterAct) s += r;
    if (e.residual_use == Residual::kMulAfterAct) s *= r;
    return {s, mag};
  }
  std::vector<Epilogue> epilogues() const {
    std::vector<Epilogue> list(6);
    list[1].bias_n = bias_n.data();
    list[1].shift_n = bias_n.data();
    list[1].act = Unary::kRelu;
    list[2].bias_m = bias_m.data();
    list[2].alpha = 0.5f;
    list[2].act = Unary::kTanh;
    list[3].residual_use = Residual::kAddBeforeAct;
    list[3].act = Unary::kRelu;
    list[4].residual_use = Residual::kAddAfterAct;
    list[4].act = Unary::kClip;
    list[4].act_a = -0.5f;
    list[4].act_b = 0.25f;
    list[4].bias_n = bias_n.data();
    list[5].residual_use = Residual::kMulAfterAct;
    for (Epilogue& e : list) e.residual = res.data(), e.ldr = ldr;
    return list;
  }
  void check(const std::vector<float>& c, const Epilogue& e, const char* what) const {
    INFO(target_name() << " " << what << " " << m << "x" << n << "x" << k);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const auto [want, mag] = at(i, j, e);
        REQUIRE(std::fabs(c[i * ldc + j] - want) <= 6e-7 * mag);
      }
      for (int64_t j = n; j < ldc; ++j) REQUIRE(c[i * ldc + j] == 55.0f);
    }
  }
};

}  // namespace

TEST_CASE("packed, row-major and transposed GEMM") {
  each_target([&](double) {
    for (int64_t m : {1, 2, 4, 5, 6, 7, 13, 200})
      for (int64_t n : {1, 7, 16, 17, 63, 64, 65, 130})
        for (int64_t k : {0, 1, 2, 17, 64, 400, 801}) {
          if (m * n * k > 700000) continue;
          const Problem p(m, n, k);
          std::vector<float> packed(packed_b_floats(k, n)), packed_t(packed.size());
          const int64_t panels = gemm_panels(n, gemm_nr());
          pack_b_f32(p.b.data(), p.ldb, false, k, n, packed.data(), 0, panels / 2);
          pack_b_f32(p.b.data(), p.ldb, false, k, n, packed.data(), panels / 2, panels);
          pack_b_f32(p.bt.data(), p.ldbt, true, k, n, packed_t.data(), 0, panels);
          REQUIRE((packed == packed_t));
          const std::vector<Epilogue> list = p.epilogues();
          for (size_t i = 0; i < list.size(); ++i) {
            if (i != 0 && (m + n + k + static_cast<int64_t>(i)) % 4 != 0) continue;
            const Epilogue& e = list[i];
            std::vector<float> c(m * p.ldc, 55.0f), split = c, rows = c;
            gemm_f32(p.a.data(), p.lda, packed.data(), c.data(), p.ldc, k, n, 0, m, 0, panels, e);
            p.check(c, e, "packed");
            for (int64_t m0 = 0; m0 < m; m0 += m / 2 + 1)
              for (int64_t q = 0; q < panels; ++q)
                gemm_f32(p.a.data(), p.lda, packed.data(), split.data(), p.ldc, k, n, m0,
                         std::min(m, m0 + m / 2 + 1), q, q + 1, e);
            REQUIRE((c == split));
            for (int64_t n0 = 0; n0 < n; n0 += gemm_nr())
              gemm_rowmajor_f32(p.a.data(), p.lda, p.b.data(), p.ldb, rows.data(), p.ldc, k, 0, m,
                                n0, std::min<int64_t>(n, n0 + gemm_nr()), e);
            REQUIRE((c == rows));
          }
        }
  });
}

TEST_CASE("GEMM with rows in pieces") {
  each_target([&](double) {
    for (int64_t m : {1, 6, 13, 50})
      for (int64_t n : {7, 64, 65})
        for (int64_t piece : {1, 3, 21, 64, 500})
          for (int64_t pieces : {1, 2, 9}) {
            const int64_t k = pieces * piece, panels = gemm_panels(n, gemm_nr()), stride = m + 2;
            const Problem p(m, n, k);
            std::vector<float> packed(packed_b_floats(k, n));
            pack_b_f32(p.b.data(), p.ldb, false, k, n, packed.data(), 0, panels);
            // Each piece lies apart from the one before it.
            std::vector<float> lying(m * pieces * (piece + 1), kNan);
            std::vector<const float*> rows(pieces * stride);
            for (int64_t i = 0; i < pieces; ++i)
              for (int64_t r = 0; r < m; ++r) {
                float* to = lying.data() + (i * m + r) * (piece + 1);
                std::copy_n(p.a.data() + r * p.lda + i * piece, piece, to);
                rows[i * stride + r] = to;
              }
            for (Epilogue e : p.epilogues()) {
              e.chain = piece % 2 == 0 ? 16 : 128;
              std::vector<float> c(m * p.ldc, 55.0f);
              for (int64_t q = 0; q < panels; ++q)
                gemm_pieces_f32(rows.data(), stride, pieces, piece, packed.data(), c.data(), p.ldc,
                                n, m, q, q + 1, e);
              p.check(c, e, "pieces");
            }
          }
  });
}

TEST_CASE("one row against unpacked transposed weights") {
  each_target([&](double) {
    for (int64_t n : {1, 3, 4, 6, 33})
      for (int64_t k : {0, 1, 15, 16, 100, 1000}) {
        const Problem p(1, n, k);
        for (Epilogue e : p.epilogues()) {
          std::vector<float> y(p.ldc, 55.0f);
          gemv_t_f32(p.a.data(), p.bt.data(), p.ldbt, y.data(), k, 0, n / 2, e);
          gemv_t_f32(p.a.data(), p.bt.data(), p.ldbt, y.data(), k, n / 2, n, e);
          p.check(y, e, "gemv");
        }
      }
  });
}

TEST_CASE("relu in the epilogue keeps NaN") {
  each_target([&](double) {
    const float a[] = {kNan, 1}, b[] = {1, 2};
    std::vector<float> packed(packed_b_floats(2, 1));
    pack_b_f32(b, 1, false, 2, 1, packed.data(), 0, 1);
    Epilogue e;
    e.act = Unary::kRelu;
    float c = 0;
    gemm_f32(a, 2, packed.data(), &c, 1, 2, 1, 0, 1, 0, 1, e);
    CHECK(std::isnan(c));
  });
}
