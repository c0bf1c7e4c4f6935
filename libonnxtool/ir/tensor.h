// SPDX-License-Identifier: Apache-2.0
// Tensor: element type, dims and bytes. The bytes are a view that an owner keeps alive: a mapped
// file, or memory of ours. Copying a Tensor shares the bytes; bytes that are shared never change.
// Layout: row-major, little-endian, sub-byte types packed low bits first, bool one byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/dtype.h"
#include "libonnxtool/base/error.h"

namespace onnxtool {

using Dims = std::vector<int64_t>;  // concrete, non-negative

class Tensor {
 public:
  Tensor() = default;  // undefined type: "no tensor"

  // Owned, zeroed (kString: empty strings), 64-byte aligned. Fails (kUnsupported) when the size
  // overflows or memory cannot be had; callers check budgets before.
  static Result<Tensor> allocate(DType dtype, Dims dims);
  // A view of bytes kept alive by `owner`. `bytes` must be raw_bytes(dtype, elements).
  static Tensor view(DType dtype, Dims dims, const void* data, size_t bytes,
                     std::shared_ptr<const void> owner);
  static Tensor strings(Dims dims, std::vector<std::string> values);
  // Small constants; T is float, double, int64_t, int32_t, uint8_t, int8_t, bool...
  template <typename T>
  static Tensor of(Dims dims, std::span<const T> values);
  template <typename T>
  static Tensor of(Dims dims, std::initializer_list<T> values) {
    return of<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  template <typename T>
  static Tensor scalar(T value) {
    return of<T>({}, std::span<const T>(&value, 1));
  }
  static Tensor ints(const std::vector<int64_t>& values) {  // 1-D int64
    return of<int64_t>({static_cast<int64_t>(values.size())}, std::span<const int64_t>(values));
  }

  bool defined() const { return dtype_ != DType::kUndefined; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  int64_t rank() const { return static_cast<int64_t>(dims_.size()); }
  int64_t size() const { return size_; }  // elements
  size_t bytes() const { return bytes_; }
  const std::byte* raw() const { return data_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  bool is_string() const { return dtype_ == DType::kString; }
  bool aligned() const;  // data address is a multiple of the element size

  // Typed access, no conversion; CHECKs that sizeof(T) is the element size and the data is aligned
  // (use to_aligned() first on tensors that come from files; eval inputs are always aligned).
  template <typename T>
  std::span<const T> as() const {
    check_access(sizeof(T));
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(size_)};
  }
  // Writable access; CHECKs that this tensor is the only holder of owned bytes.
  template <typename T>
  std::span<T> mut() {
    check_access(sizeof(T));
    return {reinterpret_cast<T*>(mutable_raw()), static_cast<size_t>(size_)};
  }
  std::byte* mutable_raw();
  const std::vector<std::string>& string_data() const;
  std::vector<std::string>& mut_strings();

  Tensor to_aligned() const;          // itself, or a copy with aligned bytes
  Tensor reshaped(Dims dims) const;   // same bytes; CHECKs equal element count
  Tensor retyped(DType dtype) const;  // same bytes; CHECKs equal element bits

  // Element i as another type (any numeric type; complex gives the real part). Not for hot loops.
  double f64_at(int64_t i) const;
  int64_t i64_at(int64_t i) const;  // floats truncate, saturating; uint64 as bits

  // Whole-tensor conversions for the reference evaluation. Floats and integers to double (int64
  // beyond 2^53 rounds); integers and bool to int64 (uint64 as bits).
  std::vector<double> to_f64() const;
  std::vector<int64_t> to_i64() const;
  // New tensor of `dtype` from doubles (rounded to nearest even to the type; integer targets
  // truncate and wrap) or from int64 (integer targets wrap; float targets round).
  static Result<Tensor> from_f64(DType dtype, Dims dims, std::span<const double> values);
  static Result<Tensor> from_i64(DType dtype, Dims dims, std::span<const int64_t> values);

  bool same_bytes(const Tensor& other) const;  // type, dims and bytes (or strings) equal

 private:
  void check_access(size_t element) const;
  DType dtype_ = DType::kUndefined;
  Dims dims_;
  int64_t size_ = 0;
  size_t bytes_ = 0;
  const std::byte* data_ = nullptr;
  std::shared_ptr<const void> owner_;  // strings: a std::vector<std::string>
  bool owned_ = false;                 // allocated by allocate(): may be written while unshared
};

// Row-major strides in elements.
std::vector<int64_t> row_major_strides(std::span<const int64_t> dims);
// Numpy-style broadcast of concrete dims; nullopt when they do not agree.
std::optional<Dims> broadcast_dims(std::span<const int64_t> a, std::span<const int64_t> b);

std::string to_string(std::span<const int64_t> dims);  // "[2,3]"

}  // namespace onnxtool
