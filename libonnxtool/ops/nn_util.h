// SPDX-License-Identifier: Apache-2.0
// What the neural-network operators share: rules on input shapes that serve inference and
// evaluation alike, budget-checked scratch memory, dense products in double, activations.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {

// Shapes of the inputs of a node: symbolic from inference, constant from the tensors at hand.
class InShapes {
 public:
  explicit InShapes(const InferContext& ctx);
  explicit InShapes(const EvalContext& ctx);
  const Node& node() const { return *node_; }
  size_t size() const { return shapes_.size(); }
  bool has(size_t i) const { return i < present_.size() && present_[i]; }
  // nullptr: absent, or its rank is not known (never in an evaluation).
  const Shape* operator[](size_t i) const {
    return i < shapes_.size() && shapes_[i] ? &*shapes_[i] : nullptr;
  }
  // Replaces what is known of input i.
  void set(size_t i, Shape s) { shapes_[i] = std::move(s); }

 private:
  const Node* node_;
  std::vector<std::optional<Shape>> shapes_;
  std::vector<bool> present_;
};

// Error "a is 3, b is 4" unless the dims may be equal.
Status agree(std::string_view what_a, Dim a, std::string_view what_b, Dim b);
// The better known of two dims that must be equal; `a` where both are equally good.
Result<Dim> unify(std::string_view what_a, Dim a, std::string_view what_b, Dim b);
// Error "input has rank 2, 3 expected" where the shape is known and its rank another.
Status expect_rank(const Shape* s, std::string_view what, size_t rank);
Status expect_rank_at_least(const Shape* s, std::string_view what, size_t rank);
// Error unless the shape may be [n].
Status expect_vector(const Shape* s, std::string_view what, Dim n, std::string_view what_n);
// Error unless the shape may be that of one element: [] or [1].
Status expect_scalar(const Shape* s, std::string_view what);
// One element, or a vector of n.
Status expect_scalar_or_vector(const Shape* s, std::string_view what, Dim n,
                               std::string_view what_n);
// Product of dims that must be constants; error (kUnsupported) "shape is not known" otherwise.
Result<int64_t> known_product(std::span<const Dim> dims);
// Constant dims as numbers; a non-constant one is an error.
Result<Dims> known_dims(const Shape& s);

// Zeroed doubles, budget-checked by the host.
Result<std::vector<double>> scratch(const EvalContext& ctx, std::span<const int64_t> dims);
inline Result<std::vector<double>> scratch(const EvalContext& ctx,
                                           std::initializer_list<int64_t> d) {
  return scratch(ctx, std::span<const int64_t>(d.begin(), d.size()));
}

// The budget's view of `dims` elements of 8 bytes that the caller allocates itself.
Status reserve_work(const EvalContext& ctx, std::span<const int64_t> dims);
inline Status reserve_work(const EvalContext& ctx, std::initializer_list<int64_t> d) {
  return reserve_work(ctx, std::span<const int64_t>(d.begin(), d.size()));
}
// Through float, as arithmetic in bfloat16 goes.
inline double as_bfloat16(double x) {
  return static_cast<double>(bfloat16_to_float(float_to_bfloat16(static_cast<float>(x))));
}
// All elements as doubles, budget-checked.
Result<std::vector<double>> values_of(const EvalContext& ctx, const Tensor& t);

// Row-major c[m,n] += a[m,k] * b[k,n], with leading dimensions (row lengths in elements).
// The sum of each element runs over k upwards whatever the blocking. uint64_t wraps.
void gemm(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
          int64_t ldb, double* c, int64_t ldc);
void gemm(int64_t m, int64_t n, int64_t k, const uint64_t* a, int64_t lda, const uint64_t* b,
          int64_t ldb, uint64_t* c, int64_t ldc);
// out[cols, rows] = in[rows, cols]
template <typename T>
std::vector<T> transposed(std::span<const T> in, int64_t rows, int64_t cols) {
  std::vector<T> out(in.size());
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) out[c * rows + r] = in[r * cols + c];
  return out;
}

// An activation of the recurrent and fused operators, with its two parameters.
struct Activation {
  double (*f)(double x, double alpha, double beta) = nullptr;
  double alpha = 0, beta = 0;
  uint8_t parameters = 0;  // how many of the two it takes
  double operator()(double x) const { return f(x, alpha, beta); }
  bool takes_alpha() const { return parameters > 0; }
  bool takes_beta() const { return parameters > 1; }
};
// By name (any case) as in the specification of RNN, with the default parameters; error for an
// unknown name.
Result<Activation> activation_of(std::string_view name);

// Element i of a tensor of one element or of many.
inline int64_t one_or(const Tensor& t, int64_t i) { return t.size() == 1 ? 0 : i; }
// Quantization of a real value: round half to even, add the zero point, saturate to the type.
int64_t quantize(double real, double scale, int64_t zero_point, DType type);
// An integer sum times a combined scale, in single precision as the integer operators round it.
int64_t requantize(double sum, float scale, int64_t zero_point, DType type);

}  // namespace onnxtool
