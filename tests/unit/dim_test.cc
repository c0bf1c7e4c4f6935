// SPDX-License-Identifier: Apache-2.0
// Dim: the forms that real models need, and random expressions against plain evaluation.
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/ir/dim.h"

using namespace onnxtool;

namespace {

const Dim N = Dim::symbol("N"), M = Dim::symbol("M"), H = Dim::symbol("H"), W = Dim::symbol("W");

// An expression built twice: as a Dim, and as a value under one binding of the symbols.
struct Both {
  Dim dim;
  std::optional<int64_t> value;  // nullopt: a zero divisor somewhere
};

class Random {
 public:
  explicit Random(uint32_t seed) : rng_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_() % static_cast<uint64_t>(n)); }

  Both expression(int depth, const std::map<std::string, int64_t>& binding) {
    if (depth == 0 || below(8) == 0) {
      if (below(3) == 0) {
        int64_t c = below(12) - 4;
        return {Dim(c), c};
      }
      static const char* kNames[] = {"N", "M", "H", "W"};
      const char* name = kNames[below(4)];
      return {Dim::symbol(name), binding.at(name)};
    }
    Both a = expression(depth - 1, binding), b = expression(depth - 1, binding);
    if (below(2)) {
      int64_t c = below(9) - 2;
      b = {Dim(c), c};
    }
    auto both = [&](auto f) -> std::optional<int64_t> {
      if (!a.value || !b.value) return std::nullopt;
      return f(*a.value, *b.value);
    };
    auto divided = [&](auto f) -> std::optional<int64_t> {
      if (!a.value || !b.value || *b.value == 0) return std::nullopt;
      return f(*a.value, *b.value);
    };
    switch (below(9)) {
      case 0:
      case 1: return {a.dim + b.dim, both([](int64_t x, int64_t y) { return x + y; })};
      case 2: return {a.dim - b.dim, both([](int64_t x, int64_t y) { return x - y; })};
      case 3: return {a.dim * b.dim, both([](int64_t x, int64_t y) { return x * y; })};
      case 4:
        return {floor_div(a.dim, b.dim),
                divided([](int64_t x, int64_t y) { return floor_div(x, y); })};
      case 5:
        return {ceil_div(a.dim, b.dim),
                divided([](int64_t x, int64_t y) { return ceil_div(x, y); })};
      case 6:
        return {floor_mod(a.dim, b.dim),
                divided([](int64_t x, int64_t y) { return floor_mod(x, y); })};
      case 7: return {min(a.dim, b.dim), both([](int64_t x, int64_t y) { return std::min(x, y); })};
      default:
        return {max(a.dim, b.dim), both([](int64_t x, int64_t y) { return std::max(x, y); })};
    }
  }

 private:
  std::mt19937 rng_;
};

}  // namespace

TEST_CASE("dim: constants and unknown", "[dim]") {
  CHECK(Dim(3) == Dim(1) + Dim(2));
  CHECK_FALSE(Dim() == Dim());
  CHECK((Dim() + 1).is_unknown());
  CHECK((Dim() * 0).is_const(0));
  CHECK((Dim(INT64_MAX) + 1).is_unknown());
  CHECK((Dim(INT64_MAX) * 2).is_unknown());
  CHECK(floor_div(Dim(INT64_MIN), Dim(-1)).is_unknown());
  CHECK(floor_div(N, Dim(0)).is_unknown());
  CHECK((N * Dim(INT64_MAX) + N).is_unknown());
  CHECK(product({}).is_const(1));
}

TEST_CASE("dim: equal expressions are one", "[dim]") {
  CHECK(N + M == M + N);
  CHECK(N + 1 - 1 == N);
  CHECK((N - N).is_const(0));
  CHECK(floor_div(N * M, M) == N);
  CHECK(floor_div(N * H * W * 4, H * W) == N * 4);
  CHECK(floor_div(N * H * W, N * 2 * H) == floor_div(W, 2));
  CHECK(floor_div(N * 2, 2) == N);
  CHECK(floor_div(N + 1 - 1, 1) == N);
  CHECK(floor_div(floor_div(N, 2), 2) == floor_div(N, 4));
  CHECK(floor_div(N - 1, 2) + 1 == floor_div(N + 1, 2));
  CHECK(floor_div(N * 6 + 3, 12) == floor_div(N * 2 + 1, 4));
  CHECK(floor_div((N + 1) * (M + 2), M + 2) == N + 1);
  CHECK(ceil_div(N, 2) == floor_div(N + 1, 2));
  CHECK(max(N, N) == N);
  CHECK(max(N + 3, N + 1) == N + 3);
  CHECK(min(N, Dim(-2)).is_const(-2));
  CHECK(max(N, Dim(0)) == N);
  CHECK(max(max(N, M), N) == max(M, N));
  CHECK(floor_mod(N * 4 + 3, 4).is_const(3));
  CHECK(N + floor_mod(Dim(0) - N, 7) == ceil_div(N, 7) * 7);
  CHECK(floor_div(floor_mod(N, 4), 4).is_const(0));
  // Convolutions of stride 2, kernel 3, padding 1, one after the other.
  Dim once = floor_div(H + 2 - 3, 2) + 1;
  CHECK(floor_div(once + 2 - 3, 2) + 1 == ceil_div(H, 4));
}

TEST_CASE("dim: bounds", "[dim]") {
  CHECK(N.lower_bound() == 0);
  CHECK_FALSE(N.upper_bound());
  CHECK(min(N, Dim(5)).upper_bound() == 5);
  CHECK(max(N, Dim(1)).lower_bound() == 1);
  CHECK(floor_mod(N, 8).upper_bound() == 7);
  CHECK((N - floor_div(N, 2)).lower_bound() == 0);
  CHECK((max(N, M) - N).lower_bound() == 0);
  CHECK((N - min(N, M)).lower_bound() == 0);
  CHECK(Dim::differ(N, N + 1));
  CHECK(Dim::differ(Dim(-1), N));
  CHECK_FALSE(Dim::differ(N, M));
  CHECK_FALSE(Dim::differ(N, Dim()));
}

TEST_CASE("dim: text", "[dim]") {
  CHECK(Dim(-3).text() == "-3");
  CHECK(Dim().text() == "?");
  CHECK((N * 2 + 1).text() == "2*N+1");
  CHECK(floor_div(N, 2).text() == "floor(N/2)");
  CHECK(ceil_div(N + M, 4).text() == "ceil((M+N)/4)");
  CHECK((Dim(0) - N).text() == "-N");
  CHECK(floor_div(N, M * H).text() == "floor(N/(H*M))");
  CHECK(max(N, Dim(1)).text() == "max(N, 1)");
}

TEST_CASE("dim: fresh symbols", "[dim]") {
  Dim a = Dim::fresh("fresh"), b = Dim::fresh("fresh");
  CHECK(a.text() == "fresh");
  CHECK(b.text() == "fresh_1");
  CHECK(a.is_symbol());
  CHECK_FALSE(a == b);
}

TEST_CASE("dim: substitution", "[dim]") {
  Dim d = floor_div(N * 3 + M, 2);
  auto n = [](std::string_view s) { return s == "N" ? std::optional<Dim>(4) : std::nullopt; };
  CHECK(d.substitute(n) == floor_div(M, 2) + 6);
  CHECK(d.symbols() == std::vector<std::string>{"M", "N"});
}

TEST_CASE("dim: random expressions agree with plain evaluation", "[dim]") {
  int compared = 0;
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    Random random(seed);
    std::map<std::string, int64_t> binding;
    for (const char* name : {"N", "M", "H", "W"})
      binding[name] = random.below(random.below(2) ? 4 : 40);
    Both e = random.expression(4, binding);
    if (!e.value || e.dim.is_unknown()) continue;
    auto got = e.dim.evaluate(
        [&](std::string_view s) -> std::optional<int64_t> { return binding.at(std::string(s)); });
    INFO("seed " << seed << ": " << e.dim.text());
    // A divisor that cancelled elsewhere may be 0 here: the plain evaluation decides.
    if (!got) continue;
    REQUIRE(*got == *e.value);
    if (auto lo = e.dim.lower_bound()) REQUIRE(*lo <= *e.value);
    if (auto hi = e.dim.upper_bound()) REQUIRE(*hi >= *e.value);
    ++compared;
  }
  CHECK(compared > 8000);
}

TEST_CASE("dim: hostile growth ends as unknown", "[dim]") {
  Dim d = N;
  for (int i = 0; i < 200; ++i) d = d * d + M;
  CHECK(d.is_unknown());
  d = N;
  for (int i = 0; i < 200; ++i) d = floor_div(d * d + M, H + i);
  CHECK(d.is_unknown());
  d = N;
  for (int i = 0; i < 200; ++i) d = max(d, Dim::symbol("s" + std::to_string(i)));
  CHECK(d.is_unknown());
}
