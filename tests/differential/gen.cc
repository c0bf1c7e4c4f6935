// SPDX-License-Identifier: Apache-2.0
#include "tests/differential/gen.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "libonnxtool/base/str.h"

namespace onnxtool::differential {

DType Gen::float_type() {
  const int64_t k = below(10);
  return k < 6   ? DType::kFloat
         : k < 8 ? DType::kFloat16
         : k < 9 ? DType::kBfloat16
                 : DType::kDouble;
}

int64_t Gen::extent(int64_t most) {
  if (chance(0.02)) return 0;
  if (chance(0.08)) return pick<int64_t>({15, 16, 17, 31, 33, 64, 65});
  return between(1, most);
}

Dims Gen::dims(int64_t min_rank, int64_t max_rank, int64_t most) {
  Dims d(static_cast<size_t>(between(min_rank, max_rank)));
  int64_t size = 1;
  for (int64_t& x : d) {
    x = extent(most);
    if (size * x > 20000) x = 2;
    size *= std::max<int64_t>(x, 1);
  }
  return d;
}

Dims Gen::broadcastable(const Dims& d) {
  Dims r(d.begin() + (chance(0.3) ? below(static_cast<int64_t>(d.size()) + 1) : 0), d.end());
  for (int64_t& x : r)
    if (chance(0.3)) x = 1;
  return r;
}

Tensor Gen::floats(const Dims& d, double low, double high, DType t) {
  int64_t n = 1;
  for (int64_t x : d) n *= x;
  std::vector<double> v(static_cast<size_t>(n));
  for (double& x : v) x = uniform(low, high);
  return *Tensor::from_f64(t, d, v);
}

Tensor Gen::ints(const Dims& d, int64_t low, int64_t high, DType t) {
  int64_t n = 1;
  for (int64_t x : d) n *= x;
  std::vector<int64_t> v(static_cast<size_t>(n));
  for (int64_t& x : v) x = between(low, high);
  return *Tensor::from_i64(t, d, v);
}

Tensor Gen::tensor(DType t, const Dims& d, bool special, bool sums) {
  const double inf = std::numeric_limits<double>::infinity();
  if (!is_float(t)) {
    if (t == DType::kBool) return ints(d, 0, 1, t);
    int64_t low = int_min_of(t);
    auto high = static_cast<int64_t>(std::min<uint64_t>(int_max_of(t), INT64_MAX));
    if (chance(0.5)) {
      low = std::max<int64_t>(low, -100);
      high = std::min<int64_t>(high, 100);
    }
    if (high == INT64_MAX || low == INT64_MIN) low = -(int64_t{1} << 40), high = int64_t{1} << 40;
    return ints(d, low, high, t);
  }
  const double range = pick<double>({1, 3, 3, 3, 20, 100});
  Tensor r = floats(d, -range, range, t);
  if (!special || !chance(0.35)) return r;
  std::vector<double> v = r.to_f64();
  const double huge = t == DType::kFloat16 ? 60000 : 1e30,
               tiny = t == DType::kFloat16 ? 6e-8 : 1e-40;
  for (double& x : v)
    if (chance(0.2))
      x = sums ? pick<double>({NAN, inf, -inf, 0.0, -0.0, 1.0})
               : pick<double>({NAN, inf, -inf, 0.0, -0.0, huge, -huge, tiny, -tiny, 1.0, -1.0, 0.5,
                               88.7, -103.9, 1e5, 2.5});
  return *Tensor::from_f64(t, d, v);
}

Case case_of(std::string_view op) {
  Case c;
  const size_t dot = op.rfind('.');
  if (dot != std::string_view::npos) c.domain = op.substr(0, dot);
  c.op = op.substr(dot == std::string_view::npos ? 0 : dot + 1);
  return c;
}

std::string describe(const Case& c) {
  std::string s = c.op + " <";
  for (const Attribute& a : c.attrs) {
    s += " " + std::string(a.name) + "=";
    switch (a.type) {
      case AttrType::kInt: s += format("{}", a.i()); break;
      case AttrType::kFloat: s += format("{}", a.f()); break;
      case AttrType::kString: s += a.s(); break;
      case AttrType::kInts: s += to_string(a.ints()); break;
      default: s += "..."; break;
    }
  }
  s += " > (";
  for (const In& i : c.in) {
    if (!i.tensor) {
      s += " -";
      continue;
    }
    s += format(" {}{}{}", dtype_name(i.tensor->dtype()), to_string(i.tensor->dims()),
                i.constant ? "const" : "");
    if (is_integer(i.tensor->dtype()) && i.tensor->size() <= 8)
      s += "=" + to_string(i.tensor->to_i64());
  }
  return s + " )" + (c.opset ? format(" opset {}", c.opset) : "");
}

}  // namespace onnxtool::differential
