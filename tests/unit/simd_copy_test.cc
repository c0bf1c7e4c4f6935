// SPDX-License-Identifier: Apache-2.0
// Data movement kernels against index arithmetic.
#include "exec/cpu/simd/copy.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/simd_util.h"

using namespace onnxtool::simd;
using namespace simd_test;

namespace {

using Dims = std::vector<int64_t>;

int64_t product(const Dims& d) {
  int64_t n = 1;
  for (int64_t e : d) n *= e;
  return n;
}
Dims dense(const Dims& d) {
  Dims s(d.size(), 1);
  for (size_t i = d.size(); i-- > 1;) s[i - 1] = s[i] * d[i];
  return s;
}
std::vector<unsigned char> bytes(int64_t n, uint64_t seed) {
  Random r(seed);
  std::vector<unsigned char> v(static_cast<size_t>(n));
  for (unsigned char& b : v) b = static_cast<unsigned char>(r.bits() >> 7);
  return v;
}

// Every multi-index of dims, in order.
template <class F>
void each_index(const Dims& dims, F&& f) {
  if (product(dims) == 0) return;
  Dims i(dims.size(), 0);
  for (;;) {
    f(i);
    size_t d = dims.size();
    while (d-- > 0) {
      if (++i[d] < dims[d]) break;
      i[d] = 0;
    }
    if (d == static_cast<size_t>(-1)) return;
  }
}
int64_t dot(const Dims& a, const Dims& b) {
  int64_t s = 0;
  for (size_t i = 0; i < a.size(); ++i) s += a[i] * b[i];
  return s;
}

// Runs the plan in uneven pieces and compares all bytes, also those that nobody should touch.
void check_copy(const CopyPlan& plan, const Dims& dims, const Dims& ss, const Dims& ds,
                int64_t src0, int64_t src_size, int64_t dst_size, int elem) {
  const std::vector<unsigned char> src = bytes(src_size * elem, 5);
  std::vector<unsigned char> want(static_cast<size_t>(dst_size * elem), 0xee), got = want;
  each_index(dims, [&](const Dims& i) {
    std::memcpy(&want[dot(i, ds) * elem], &src[(src0 + dot(i, ss)) * elem], elem);
  });
  for (int64_t p = 0; p < plan.items; p += plan.items / 3 + 1)
    copy_run(plan, src.data() + src0 * elem, got.data(), p,
             std::min(plan.items, p + plan.items / 3 + 1));
  INFO("dims " << Catch::Detail::stringify(dims) << " src " << Catch::Detail::stringify(ss)
               << " elem " << elem);
  REQUIRE((got == want));
}

void check_transpose(const Dims& dims, const Dims& perm, int elem) {
  CopyPlan plan;
  REQUIRE(plan_transpose(dims, perm, elem, &plan));
  Dims out, ss;
  const Dims strides = dense(dims);
  for (int64_t a : perm) out.push_back(dims[a]), ss.push_back(strides[a]);
  check_copy(plan, out, ss, dense(out), 0, product(dims), product(dims), elem);
}

}  // namespace

TEST_CASE("transpose: all permutations, element sizes and awkward extents") {
  each_target([&](double) {
    for (int elem : {1, 2, 4, 8, 16}) {
      for (const Dims& dims : {Dims{3, 5, 7}, Dims{16, 8, 24}, Dims{2, 17, 33}, Dims{9, 1, 40}}) {
        Dims perm = {0, 1, 2};
        do check_transpose(dims, perm, elem);
        while (std::next_permutation(perm.begin(), perm.end()));
      }
      Dims perm = {0, 1, 2, 3};
      do check_transpose({3, 4, 2, 9}, perm, elem);
      while (std::next_permutation(perm.begin(), perm.end()));
      check_transpose({131, 200}, {1, 0}, elem);
      check_transpose({400, 3}, {1, 0}, elem);
      check_transpose({2, 3, 2, 3, 2, 3, 2, 3}, {7, 5, 3, 1, 6, 4, 2, 0}, elem);
      check_transpose({}, {}, elem);
      check_transpose({0, 3}, {1, 0}, elem);
    }
    check_transpose({1, 300, 257}, {0, 2, 1}, 4);
    check_transpose({500000}, {0}, 4);
  });
  CopyPlan plan;
  CHECK_FALSE(plan_transpose(Dims{2, 3}, Dims{1, 0}, 3, &plan));
  CHECK_FALSE(plan_transpose(Dims{2, 3}, Dims{2, 0}, 4, &plan));
}

TEST_CASE("strided copies: slice, reverse, expand, concat") {
  each_target([&](double) {
    for (int elem : {1, 2, 4, 8}) {
      CopyPlan plan;
      // Slice of every second element of a [6, 20] matrix, then its columns reversed.
      REQUIRE(plan_copy(Dims{6, 10}, Dims{20, 2}, Dims{10, 1}, elem, &plan));
      check_copy(plan, {6, 10}, {20, 2}, {10, 1}, 0, 120, 60, elem);
      REQUIRE(plan_copy(Dims{6, 20}, Dims{20, -1}, Dims{20, 1}, elem, &plan));
      check_copy(plan, {6, 20}, {20, -1}, {20, 1}, 19, 120, 120, elem);
      REQUIRE(plan_copy(Dims{6, 20}, Dims{-20, 1}, Dims{20, 1}, elem, &plan));
      check_copy(plan, {6, 20}, {-20, 1}, {20, 1}, 100, 120, 120, elem);
      // Expand over the outer, inner and middle dim.
      REQUIRE(plan_copy(Dims{5, 30}, Dims{0, 1}, Dims{30, 1}, elem, &plan));
      check_copy(plan, {5, 30}, {0, 1}, {30, 1}, 0, 30, 150, elem);
      REQUIRE(plan_copy(Dims{5, 30}, Dims{1, 0}, Dims{30, 1}, elem, &plan));
      check_copy(plan, {5, 30}, {1, 0}, {30, 1}, 0, 5, 150, elem);
      REQUIRE(plan_copy(Dims{4, 3, 6}, Dims{6, 0, 1}, Dims{18, 6, 1}, elem, &plan));
      check_copy(plan, {4, 3, 6}, {6, 0, 1}, {18, 6, 1}, 0, 24, 72, elem);
      // Into a part of a wider destination.
      REQUIRE(plan_copy(Dims{4, 6}, Dims{6, 1}, Dims{10, 1}, elem, &plan));
      check_copy(plan, {4, 6}, {6, 1}, {10, 1}, 0, 24, 40, elem);
      // Destination with a step (a split written interleaved), and a transposed destination.
      REQUIRE(plan_copy(Dims{4, 6}, Dims{6, 1}, Dims{18, 3}, elem, &plan));
      check_copy(plan, {4, 6}, {6, 1}, {18, 3}, 0, 24, 72, elem);
      REQUIRE(plan_copy(Dims{20, 30}, Dims{30, 1}, Dims{1, 20}, elem, &plan));
      check_copy(plan, {20, 30}, {30, 1}, {1, 20}, 0, 600, 600, elem);
    }
  });
}

TEST_CASE("batched transpose of matrices") {
  each_target([&](double) {
    const std::vector<float> x = Random(1).floats(3 * 19 * 50);
    std::vector<float> y(x.size(), 7.0f);
    transpose_2d(x.data(), y.data(), 19, 50, 4, 1, 3);
    for (int64_t r = 0; r < 19; ++r)
      for (int64_t c = 0; c < 50; ++c) {
        REQUIRE(y[c * 19 + r] == 7.0f);
        REQUIRE(y[950 * 2 + c * 19 + r] == x[950 * 2 + r * 50 + c]);
      }
  });
}

TEST_CASE("pad in every mode") {
  struct Case {
    Dims in, before, after;
  };
  for (const Case& c :
       {Case{{5}, {2}, {3}}, Case{{3, 4}, {1, 0}, {2, 0}}, Case{{3, 4}, {0, 2}, {0, 1}},
        Case{{2, 3, 5, 4}, {0, 1, 2, 0}, {0, 2, 1, 0}}, Case{{2, 3, 4}, {1, 1, 1}, {1, 1, 1}},
        Case{{4, 6}, {-1, 2}, {0, -3}}, Case{{3, 1}, {0, 4}, {0, 4}}, Case{{3}, {7}, {8}},
        Case{{2, 2}, {0, 0}, {0, 0}}, Case{{1, 3, 4, 5}, {0, 0, 1, 2}, {0, 0, 1, 2}}})
    for (PadMode mode : {PadMode::kConstant, PadMode::kEdge, PadMode::kReflect, PadMode::kWrap})
      for (int elem : {1, 2, 4, 8}) {
        PadPlan plan;
        bool crops_and_repeats = false;
        for (size_t d = 0; d < c.in.size(); ++d)
          crops_and_repeats |= mode != PadMode::kConstant && c.before[d] * c.after[d] < 0;
        REQUIRE(plan_pad(c.in, c.before, c.after, mode, elem, &plan) != crops_and_repeats);
        if (crops_and_repeats) continue;
        Dims out = c.in;
        for (size_t d = 0; d < out.size(); ++d) out[d] += c.before[d] + c.after[d];
        const std::vector<unsigned char> x = bytes(product(c.in) * elem, 3), value(16, 0x5a);
        std::vector<unsigned char> want(product(out) * elem), got = want;
        const Dims si = dense(c.in), so = dense(out);
        each_index(out, [&](const Dims& i) {
          int64_t at = 0;
          bool outside = false;
          for (size_t d = 0; d < i.size(); ++d) {
            int64_t p = i[d] - c.before[d];
            const int64_t n = c.in[d];
            if (mode == PadMode::kEdge) p = std::clamp<int64_t>(p, 0, n - 1);
            if (mode == PadMode::kWrap) p = ((p % n) + n) % n;
            while (mode == PadMode::kReflect && n > 1 && (p < 0 || p >= n))
              p = p < 0 ? -p : 2 * (n - 1) - p;
            if (mode == PadMode::kReflect && n == 1) p = 0;
            outside = outside || p < 0 || p >= n;
            at += p * si[d];
          }
          std::memcpy(&want[dot(i, so) * elem], outside ? value.data() : &x[at * elem], elem);
        });
        const int64_t half = plan.rows / 2;
        pad_run(plan, x.data(), got.data(), value.data(), 0, half);
        pad_run(plan, x.data(), got.data(), value.data(), half, plan.rows);
        INFO("mode " << static_cast<int>(mode) << " in " << Catch::Detail::stringify(c.in));
        REQUIRE((got == want));
      }
  PadPlan plan;
  CHECK_FALSE(plan_pad(Dims{2}, Dims{-2}, Dims{-1}, PadMode::kConstant, 4, &plan));
  CHECK_FALSE(plan_pad(Dims{0}, Dims{1}, Dims{0}, PadMode::kEdge, 4, &plan));
  REQUIRE(plan_pad(Dims{0}, Dims{1}, Dims{2}, PadMode::kConstant, 4, &plan));
  float y[3] = {};
  const float v = 2;
  pad_run(plan, nullptr, y, &v, 0, plan.rows);
  CHECK(y[2] == 2);
}

TEST_CASE("gather rows") {
  for (int64_t run : {1, 2, 4, 8, 12, 64, 1000}) {
    const int64_t outer = 3, axis = 11;
    const std::vector<unsigned char> x = bytes(outer * axis * run, 9);
    const std::vector<int64_t> idx = {0, 10, -1, -11, 5, 5, 11, -12, 3, INT64_MIN, INT64_MAX, 7};
    const std::vector<int32_t> idx32 = {0, 10, -1, -11, 5, 5, 11, -12, 3, INT32_MIN, INT32_MAX, 7};
    const int64_t count = static_cast<int64_t>(idx.size());
    std::vector<unsigned char> want(outer * count * run, 0), a(want.size(), 1), b = a;
    int64_t bad = 0;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t k = 0; k < count; ++k) {
        const int64_t i = idx[k] < 0 ? idx[k] + axis : idx[k];
        if (i < 0 || i >= axis) {
          ++bad;
          continue;
        }
        std::memcpy(&want[(o * count + k) * run], &x[(o * axis + i) * run], run);
      }
    const int64_t n = outer * count, cut = n / 2 + 1;
    CHECK(gather_i64(x.data(), idx.data(), a.data(), axis, count, run, 0, cut) +
              gather_i64(x.data(), idx.data(), a.data(), axis, count, run, cut, n) ==
          bad);
    CHECK(gather_i32(x.data(), idx32.data(), b.data(), axis, count, run, 0, n) == bad);
    CHECK((a == want));
    CHECK((b == want));
  }
}
