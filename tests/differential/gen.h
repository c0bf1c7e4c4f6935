// SPDX-License-Identifier: Apache-2.0
// Random models of one node each: what a recipe draws from, and what it gives.
#pragma once
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/ir/tensor.h"

namespace onnxtool::differential {

class Gen {
 public:
  explicit Gen(uint64_t seed) : rng_(seed) {}
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t a, int64_t b) { return a + below(b - a + 1); }
  bool chance(double p) { return uniform(0, 1) < p; }
  double uniform(double a, double b) {
    return a + (b - a) * static_cast<double>(rng_() >> 11) * 0x1p-53;
  }
  template <typename T>
  T pick(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<int64_t>(list.size())));
  }
  DType float_type();  // mostly float, also float16, bfloat16, double

  // Extents 1..most, rarely 0; now and then one that fills vectors and leaves a rest.
  int64_t extent(int64_t most = 9);
  Dims dims(int64_t min_rank, int64_t max_rank, int64_t most = 7);
  // One that broadcasts with d: leading dims dropped, others set to 1.
  Dims broadcastable(const Dims& d);

  // Mostly moderate numbers; with `special` now and then NaN, infinities, zeros of both signs,
  // very large and very small ones. Integers from the type's edge values too.
  // `sums`: NaN, infinities and zeros only, nothing that makes the others vanish in a sum.
  Tensor tensor(DType t, const Dims& d, bool special = true, bool sums = false);
  Tensor floats(const Dims& d, double low, double high, DType t = DType::kFloat);
  Tensor ints(const Dims& d, int64_t low, int64_t high, DType t = DType::kInt64);

 private:
  std::mt19937_64 rng_;
};

struct In {
  std::optional<Tensor> tensor;  // none: left out
  bool constant = false;
};

struct Case {
  std::string op, domain;
  int64_t opset = 0;  // 0: the newest
  std::vector<Attribute> attrs;
  std::vector<In> in;
  size_t outputs = 1;
  // Allowed error: relative to the value, relative to the largest finite value of the output, and
  // absolute (where small results are differences of larger numbers).
  double relative = 1e-5, of_scale = 0, absolute = 0;
  int64_t steps = 0;      // of an integer output: where a sum lies at a half, rounding may differ
  bool same_bits = true;  // for any number of threads

  void add(Tensor t, bool constant = false) { in.push_back({std::move(t), constant}); }
  void skip() { in.push_back({}); }
  template <typename T>
  void attr(const char* name, T value) {
    attrs.push_back(Attribute::of(name, value));
  }
};

struct Recipe {
  std::string op;  // "com.microsoft.Gelu"
  Case (*make)(Gen& g, std::string_view op);
  bool on_device = false;  // the CPU has no kernel for it
};

// The case's op and domain from a recipe's name.
Case case_of(std::string_view op);

void add_elementwise(std::vector<Recipe>& to);
void add_movement(std::vector<Recipe>& to);
void add_reductions(std::vector<Recipe>& to);
void add_products(std::vector<Recipe>& to);
void add_windows(std::vector<Recipe>& to);
void add_sequences(std::vector<Recipe>& to);
void add_quantized(std::vector<Recipe>& to);

struct Ran {
  bool fast = false;                         // a kernel other than the reference
  std::map<std::string, int64_t> on_device;  // kernels of the device, how often
};
// Why the engine's results are not the reference's; empty: they are.
std::string run_case(const Case& c, Gen& g, const std::string& device, Ran& ran);
// The case as text, for reports.
std::string describe(const Case& c);

}  // namespace onnxtool::differential
