// SPDX-License-Identifier: Apache-2.0
// Helpers of the reference evaluations: broadcasting, strides, elementwise drivers.
#pragma once
#include <functional>
#include <span>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Iterates the elements of a broadcast of several operands: f(flat output index, offsets of each
// operand). `dims` is the output.
class BroadcastWalk {
 public:
  BroadcastWalk(std::span<const int64_t> out_dims, std::vector<Dims> operand_dims);
  // Flat offset into operand k for each output element in order, called as next().
  int64_t offset(size_t k) const { return offsets_[k]; }
  void next();

 private:
  Dims dims_;
  std::vector<int64_t> index_;
  std::vector<std::vector<int64_t>> strides_;
  std::vector<int64_t> offsets_;
};

// Elementwise over doubles (all float types) and int64 (integer types and bool, results wrap to
// the type). A null function means that kind is not supported. Result type: `out`, or the input's.
Status eval_unary(EvalContext& ctx, double (*f)(double), int64_t (*i)(int64_t));
Status eval_binary(EvalContext& ctx, double (*f)(double, double), int64_t (*i)(int64_t, int64_t),
                   uint64_t (*u)(uint64_t, uint64_t) = nullptr);

// f32 results are computed in double and rounded once.

// out[i] for i in the product of dims, odometer helper: advances idx, false at the end.
bool advance(std::span<int64_t> idx, std::span<const int64_t> dims);

// Copies one element of any type (also strings, sub-byte) between tensors of the same dtype.
void copy_element(Tensor& dst, int64_t to, const Tensor& src, int64_t from);
// Same for `count` consecutive elements.
void copy_elements(Tensor& dst, int64_t to, const Tensor& src, int64_t from, int64_t count);

}  // namespace onnxtool
