// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ops/nn_util.h"

#include <algorithm>
#include <cmath>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

template <typename T>
void gemm_blocked(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb,
                  T* c, int64_t ldc) {
  constexpr int64_t kBlockN = 512, kBlockK = 64;  // a block of b stays in the second cache level
  for (int64_t j0 = 0; j0 < n; j0 += kBlockN) {
    const int64_t jn = std::min(kBlockN, n - j0);
    for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
      const int64_t k1 = std::min(k0 + kBlockK, k);
      for (int64_t i = 0; i < m; i++) {
        T* to = c + i * ldc + j0;
        const T* row = a + i * lda;
        int64_t p = k0;
        for (; p + 4 <= k1; p += 4) {
          const T x0 = row[p], x1 = row[p + 1], x2 = row[p + 2], x3 = row[p + 3];
          const T* b0 = b + p * ldb + j0;
          const T *b1 = b0 + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
          for (int64_t j = 0; j < jn; j++)
            to[j] = (((to[j] + x0 * b0[j]) + x1 * b1[j]) + x2 * b2[j]) + x3 * b3[j];
        }
        for (; p < k1; p++) {
          const T x = row[p];
          const T* from = b + p * ldb + j0;
          for (int64_t j = 0; j < jn; j++) to[j] += x * from[j];
        }
      }
    }
  }
}

double affine(double x, double a, double b) { return a * x + b; }
double relu(double x, double, double) { return x < 0 ? 0 : x; }
double leaky_relu(double x, double a, double) { return x >= 0 ? x : a * x; }
double thresholded_relu(double x, double a, double) { return x > a ? x : 0; }
double tanh_of(double x, double, double) { return std::tanh(x); }
double scaled_tanh(double x, double a, double b) { return a * std::tanh(b * x); }
double sigmoid(double x, double, double) { return 1 / (1 + std::exp(-x)); }
double hard_sigmoid(double x, double a, double b) {
  return std::min(std::max(a * x + b, 0.0), 1.0);
}
double elu(double x, double a, double) { return x >= 0 ? x : a * std::expm1(x); }
double softsign(double x, double, double) { return x / (1 + std::fabs(x)); }
double softplus(double x, double, double) {
  return std::log1p(std::exp(-std::fabs(x))) + std::max(x, 0.0);
}
double clip(double x, double a, double b) { return std::min(std::max(x, a), b); }
double silu(double x, double, double) { return x / (1 + std::exp(-x)); }
double identity(double x, double, double) { return x; }

struct Named {
  const char* name;  // lower case
  Activation activation;
};
constexpr Named kActivations[] = {
    {"affine", {affine, 1, 0, 2}},
    {"relu", {relu}},
    {"leakyrelu", {leaky_relu, 0.01, 0, 1}},
    {"thresholdedrelu", {thresholded_relu, 1, 0, 1}},
    {"tanh", {tanh_of}},
    {"scaledtanh", {scaled_tanh, 1, 1, 2}},
    {"sigmoid", {sigmoid}},
    {"hardsigmoid", {hard_sigmoid, 0.2, 0.5, 2}},
    {"elu", {elu, 1, 0, 1}},
    {"softsign", {softsign}},
    {"softplus", {softplus}},
    {"clip", {clip, -INFINITY, INFINITY, 2}},
    {"silu", {silu}},
    {"swish", {silu}},
    {"none", {identity}},
};

}  // namespace

InShapes::InShapes(const InferContext& ctx) : node_(&ctx.node()) {
  for (size_t i = 0; i < ctx.num_inputs(); i++) {
    present_.push_back(ctx.has_input(i));
    const Shape* s = ctx.has_input(i) ? ctx.shape(i) : nullptr;
    shapes_.push_back(s != nullptr ? std::optional<Shape>(*s) : std::nullopt);
  }
}

InShapes::InShapes(const EvalContext& ctx) : node_(&ctx.node()) {
  for (size_t i = 0; i < ctx.num_inputs(); i++) {
    const bool tensor = ctx.has(i) && ctx.datum(i).is_tensor();
    present_.push_back(tensor);
    shapes_.push_back(tensor ? std::optional<Shape>(to_shape(ctx.in(i).dims())) : std::nullopt);
  }
}

Status agree(std::string_view what_a, Dim a, std::string_view what_b, Dim b) {
  if (!Dim::differ(a, b)) return ok();
  return invalid(format("{} is {}, {} is {}", what_a, a.text(), what_b, b.text()));
}

Result<Dim> unify(std::string_view what_a, Dim a, std::string_view what_b, Dim b) {
  TRY(agree(what_a, a, what_b, b));
  if (a.is_const() || b.is_unknown()) return a;
  return b.is_const() || a.is_unknown() ? b : a;
}

Status expect_rank(const Shape* s, std::string_view what, size_t rank) {
  if (s == nullptr || s->size() == rank) return ok();
  return invalid(format("{} has rank {}, {} expected", what, s->size(), rank));
}

Status expect_rank_at_least(const Shape* s, std::string_view what, size_t rank) {
  if (s == nullptr || s->size() >= rank) return ok();
  return invalid(format("{} has rank {}, at least {} expected", what, s->size(), rank));
}

Status expect_vector(const Shape* s, std::string_view what, Dim n, std::string_view what_n) {
  if (s == nullptr) return ok();
  TRY(expect_rank(s, what, 1));
  return agree(format("length of {}", what), (*s)[0], what_n, n);
}

Status expect_scalar(const Shape* s, std::string_view what) {
  if (s == nullptr || s->empty()) return ok();
  return expect_vector(s, what, Dim(1), "expected length");
}

Status expect_scalar_or_vector(const Shape* s, std::string_view what, Dim n,
                               std::string_view what_n) {
  if (s == nullptr || s->empty() || (s->size() == 1 && (*s)[0].is_const(1))) return ok();
  return expect_vector(s, what, n, what_n);
}

Result<int64_t> known_product(std::span<const Dim> dims) {
  int64_t r = 1;
  for (Dim d : dims) {
    if (!d.is_const()) return unsupported("a shape is not known");
    const std::optional<int64_t> next = checked_mul(r, d.value());
    if (!next) return unsupported("a count overflows");
    r = *next;
  }
  return r;
}

Result<Dims> known_dims(const Shape& s) {
  Dims r;
  for (Dim d : s) {
    if (!d.is_const()) return unsupported(format("shape {} is not known", to_string(s)));
    if (d.value() < 0) return invalid(format("shape {} has a negative size", to_string(s)));
    r.push_back(d.value());
  }
  return r;
}

Status reserve_work(const EvalContext& ctx, std::span<const int64_t> dims) {
  std::optional<int64_t> n = checked_product(dims);
  if (n) n = checked_mul(*n, 8);
  if (!n) return unsupported(format("work space of shape {} is too large", to_string(dims)));
  return ctx.host().reserve(*n);
}

Result<std::vector<double>> scratch(const EvalContext& ctx, std::span<const int64_t> dims) {
  TRY(reserve_work(ctx, dims));
  return std::vector<double>(static_cast<size_t>(*checked_product(dims)));
}

Result<std::vector<double>> values_of(const EvalContext& ctx, const Tensor& t) {
  TRY(reserve_work(ctx, {t.size()}));
  return t.to_f64();
}

void gemm(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
          int64_t ldb, double* c, int64_t ldc) {
  gemm_blocked(m, n, k, a, lda, b, ldb, c, ldc);
}
void gemm(int64_t m, int64_t n, int64_t k, const uint64_t* a, int64_t lda, const uint64_t* b,
          int64_t ldb, uint64_t* c, int64_t ldc) {
  gemm_blocked(m, n, k, a, lda, b, ldb, c, ldc);
}

Result<Activation> activation_of(std::string_view name) {
  std::string lower;
  for (char c : name) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const Named& n : kActivations)
    if (lower == n.name) return n.activation;
  return invalid(format("activation {} is not known", quoted(name)));
}

int64_t requantize(double sum, float scale, int64_t zero_point, DType type) {
  return quantize(static_cast<float>(sum) * scale, 1, zero_point, type);
}

int64_t quantize(double real, double scale, int64_t zero_point, DType type) {
  const double lo = static_cast<double>(int_min_of(type)),
               hi = static_cast<double>(int_max_of(type));
  const double q = std::nearbyint(real / scale) + static_cast<double>(zero_point);
  return std::isnan(q) ? zero_point : static_cast<int64_t>(std::min(std::max(q, lo), hi));
}

}  // namespace onnxtool
