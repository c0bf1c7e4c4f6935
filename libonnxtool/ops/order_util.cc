// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/order_util.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "libonnxtool/ops/eval_util.h"

namespace onnxtool {
namespace {

int64_t key_of(double d) {
  if (std::isnan(d)) return INT64_MAX;
  const int64_t bits = std::bit_cast<int64_t>(d);
  return bits >= 0 ? bits : -(bits & INT64_MAX);
}

// Parts of complex numbers in order: real, imaginary, real...
std::vector<double> complex_parts(const Tensor& t) {
  std::vector<double> r(static_cast<size_t>(t.size()) * 2);
  for (size_t i = 0; i < r.size(); ++i) {
    if (t.dtype() == DType::kComplex64) {
      float f;
      std::memcpy(&f, t.raw() + i * sizeof f, sizeof f);
      r[i] = f;
    } else {
      std::memcpy(&r[i], t.raw() + i * sizeof r[i], sizeof r[i]);
    }
  }
  return r;
}

std::vector<int64_t> string_ranks(const std::vector<std::string>& s) {
  std::vector<size_t> order(s.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return s[a] < s[b]; });
  std::vector<int64_t> r(s.size());
  int64_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && s[order[i]] != s[order[i - 1]]) ++rank;
    r[order[i]] = rank;
  }
  return r;
}

}  // namespace

OrderKeys order_keys(const Tensor& t) {
  if (t.is_string()) return {string_ranks(t.string_data()), 1};
  OrderKeys r;
  if (is_complex(t.dtype()) || is_float(t.dtype())) {
    std::vector<double> v;
    if (is_complex(t.dtype())) {
      v = complex_parts(t);
      r.per_element = 2;
    } else {
      v.resize(static_cast<size_t>(t.size()));
      load_f64(t, 0, v);
    }
    r.keys.resize(v.size());
    std::transform(v.begin(), v.end(), r.keys.begin(), key_of);
    return r;
  }
  r.keys.resize(static_cast<size_t>(t.size()));
  load_i64(t, 0, r.keys);
  if (t.dtype() == DType::kUint64)
    for (int64_t& k : r.keys) k = static_cast<int64_t>(static_cast<uint64_t>(k) ^ (1ull << 63));
  return r;
}

std::vector<bool> nonzero_mask(const Tensor& t) {
  std::vector<bool> r(static_cast<size_t>(t.size()));
  if (t.is_string()) {
    for (size_t i = 0; i < r.size(); ++i) r[i] = !t.string_data()[i].empty();
  } else if (is_complex(t.dtype())) {
    const auto v = complex_parts(t);
    for (size_t i = 0; i < r.size(); ++i) r[i] = v[2 * i] != 0 || v[2 * i + 1] != 0;
  } else if (is_float(t.dtype())) {
    std::vector<double> v(r.size());
    load_f64(t, 0, v);
    for (size_t i = 0; i < r.size(); ++i) r[i] = v[i] != 0;
  } else {
    std::vector<int64_t> v(r.size());
    load_i64(t, 0, v);
    for (size_t i = 0; i < r.size(); ++i) r[i] = v[i] != 0;
  }
  return r;
}

}  // namespace onnxtool
