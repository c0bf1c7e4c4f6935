// SPDX-License-Identifier: Apache-2.0
// Helpers of the reference evaluations: broadcasting, strides, elementwise drivers, typed loads
// and stores. Floats are computed in double and rounded once; integers in 64 bits, wrapping.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// Iterates the elements of a broadcast of several operands in output order. Operand dims must
// broadcast to `out_dims`.
class BroadcastWalk {
 public:
  BroadcastWalk(std::span<const int64_t> out_dims, const std::vector<Dims>& operand_dims);
  int64_t offset(size_t k) const { return offsets_[k]; }  // flat offset into operand k
  void next();

 private:
  Dims dims_;
  std::vector<int64_t> index_;
  std::vector<std::vector<int64_t>> strides_;
  std::vector<int64_t> offsets_;
};

// The same in runs of consecutive output elements along which each operand advances by one
// element or stays: while (runs.next()) { runs.out(), runs.count(), runs.offset(k), runs.stride(k)
// }. The product of out_dims must not overflow: allocate the output first.
class BroadcastRuns {
 public:
  static constexpr size_t kMax = 1024;  // longest run
  BroadcastRuns(std::span<const int64_t> out_dims, const std::vector<Dims>& operand_dims);
  bool next();
  int64_t out() const { return out_; }
  size_t count() const { return static_cast<size_t>(count_); }
  int64_t offset(size_t k) const { return offsets_[k]; }
  int64_t stride(size_t k) const { return strides_[k].back(); }  // 0 or 1

 private:
  Dims dims_;  // coalesced
  std::vector<int64_t> index_;
  std::vector<std::vector<int64_t>> strides_;
  std::vector<int64_t> offsets_;
  int64_t out_ = 0, count_ = 0, total_ = 1;
};

// Broadcast of all operands; error naming the shapes.
Result<Dims> broadcast_all(const std::vector<Dims>& operands);

// Elements [first, first + out.size()) of any numeric type or bool (stride 0: element `first`
// repeated). to_i64: uint64 as bits; floats truncate, saturating. Complex types are not supported.
void load_f64(const Tensor& t, int64_t first, std::span<double> out, int64_t stride = 1);
void load_i64(const Tensor& t, int64_t first, std::span<int64_t> out, int64_t stride = 1);
// Rounded to nearest even to the type (narrow floats saturate); float_to_int; integers wrap.
void store_f64(Tensor& t, int64_t first, std::span<const double> values);
void store_i64(Tensor& t, int64_t first, std::span<const int64_t> values);
// Truncated and saturated; NaN gives 0; 2^63 up to 2^64 as the bits of a uint64.
int64_t to_int64(double d);
// The same for an integer type or bool, with what x86 and numpy give where it does not fit: the
// smallest value of 32 and 64 bit types; narrower ones take the low bits of the 32 bit result.
int64_t float_to_int(double d, DType to);
// float with the sticky bit kept, so that a second rounding to a narrower type is exact.
float round_to_odd(double d);

// Elementwise over doubles (float types) and 64-bit integers (integer types and bool). A null
// function means that kind of type is not supported; a null `u` means `i` serves unsigned types
// too (as bits). Result type: `out`, or the first input's.
using UnaryF = std::function<double(double)>;
using UnaryI = std::function<int64_t(int64_t)>;
using UnaryU = std::function<uint64_t(uint64_t)>;
using BinaryF = std::function<double(double, double)>;
using BinaryI = std::function<int64_t(int64_t, int64_t)>;
using BinaryU = std::function<uint64_t(uint64_t, uint64_t)>;
Status eval_unary(EvalContext& ctx, const UnaryF& f, const UnaryI& i = nullptr,
                  const UnaryU& u = nullptr, DType out = DType::kUndefined);
Status eval_binary(EvalContext& ctx, const BinaryF& f, const BinaryI& i = nullptr,
                   const BinaryU& u = nullptr, DType out = DType::kUndefined);
Result<Tensor> map_binary(EvalContext& ctx, const Tensor& a, const Tensor& b, const BinaryF& f,
                          const BinaryI& i, const BinaryU& u, DType out = DType::kUndefined);

// Odometer: advances idx within dims, row-major; false at the end (idx is then all zero).
bool advance(std::span<int64_t> idx, std::span<const int64_t> dims);

// Copies one element of any type (also strings, sub-byte) between tensors of the same dtype.
void copy_element(Tensor& dst, int64_t to, const Tensor& src, int64_t from);
// Same for `count` consecutive elements.
void copy_elements(Tensor& dst, int64_t to, const Tensor& src, int64_t from, int64_t count);

}  // namespace onnxtool
