// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/ir/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr size_t kAlign = 64;

// Bits [i*bits, i*bits+bits) of a packed array (bits 2, 4 or 6).
uint8_t packed_get(const std::byte* p, int bits, int64_t i) {
  const int64_t at = i * bits;
  unsigned w = static_cast<unsigned>(p[at / 8]);
  if (at % 8 + bits > 8) w |= static_cast<unsigned>(p[at / 8 + 1]) << 8;
  return static_cast<uint8_t>(w >> (at % 8) & ((1u << bits) - 1));
}
void packed_set(std::byte* p, int bits, int64_t i, uint8_t v) {
  for (int b = 0; b < bits; ++b) {
    const int64_t at = i * bits + b;
    const auto mask = static_cast<std::byte>(1 << (at % 8));
    p[at / 8] = (v >> b & 1) ? (p[at / 8] | mask) : (p[at / 8] & ~mask);
  }
}

template <typename T>
T load(const std::byte* p, int64_t i) {
  T v;
  std::memcpy(&v, p + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}

// f(get) where get(i) reads element i of `t` in its natural C++ type.
template <typename F>
auto with_reader(DType t, const std::byte* p, F f) {
  switch (t) {
    case DType::kFloat:
    case DType::kComplex64: {
      const int64_t step = t == DType::kFloat ? 1 : 2;
      return f([p, step](int64_t i) { return load<float>(p, i * step); });
    }
    case DType::kDouble:
    case DType::kComplex128: {
      const int64_t step = t == DType::kDouble ? 1 : 2;
      return f([p, step](int64_t i) { return load<double>(p, i * step); });
    }
    case DType::kUint8: return f([p](int64_t i) { return load<uint8_t>(p, i); });
    case DType::kInt8: return f([p](int64_t i) { return load<int8_t>(p, i); });
    case DType::kUint16: return f([p](int64_t i) { return load<uint16_t>(p, i); });
    case DType::kInt16: return f([p](int64_t i) { return load<int16_t>(p, i); });
    case DType::kInt32: return f([p](int64_t i) { return load<int32_t>(p, i); });
    case DType::kInt64: return f([p](int64_t i) { return load<int64_t>(p, i); });
    case DType::kUint32: return f([p](int64_t i) { return load<uint32_t>(p, i); });
    case DType::kUint64: return f([p](int64_t i) { return load<uint64_t>(p, i); });
    case DType::kBool:
      return f([p](int64_t i) { return static_cast<uint8_t>(p[i] != std::byte{0}); });
    case DType::kFloat16: return f([p](int64_t i) { return half_to_float(load<uint16_t>(p, i)); });
    case DType::kBfloat16:
      return f([p](int64_t i) { return bfloat16_to_float(load<uint16_t>(p, i)); });
    case DType::kUint4:
    case DType::kUint2: {
      const int bits = dtype_bits(t);
      return f([p, bits](int64_t i) { return packed_get(p, bits, i); });
    }
    case DType::kInt4:
    case DType::kInt2: {
      const int bits = dtype_bits(t);
      return f([p, bits](int64_t i) {
        const int v = packed_get(p, bits, i);
        return static_cast<int8_t>(v >> (bits - 1) ? v - (1 << bits) : v);
      });
    }
    case DType::kFloat4e2m1:
    case DType::kFloat6e2m3:
    case DType::kFloat6e3m2: {
      const int bits = dtype_bits(t);
      return f([p, t, bits](int64_t i) { return narrow_to_float(t, packed_get(p, bits, i)); });
    }
    default: return f([p, t](int64_t i) { return narrow_to_float(t, static_cast<uint8_t>(p[i])); });
  }
}

int64_t to_int(double v) {  // truncates, saturates, NaN gives 0
  if (std::isnan(v)) return 0;
  if (v >= 0x1p63) return INT64_MAX;
  if (v < -0x1p63) return INT64_MIN;
  return static_cast<int64_t>(v);
}
int64_t to_int(float v) { return to_int(static_cast<double>(v)); }
template <typename T>
int64_t to_int(T v) {
  return static_cast<int64_t>(v);
}

template <typename T>
void store(std::byte* p, int64_t i, T v) {
  std::memcpy(p + i * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

void store_i64(DType t, std::byte* p, int64_t i, int64_t v) {
  switch (dtype_bits(t)) {
    case 64: store(p, i, v); break;
    case 32: store(p, i, static_cast<uint32_t>(v)); break;
    case 16: store(p, i, static_cast<uint16_t>(v)); break;
    case 8: store(p, i, static_cast<uint8_t>(v)); break;
    default: packed_set(p, dtype_bits(t), i, static_cast<uint8_t>(v)); break;
  }
}

void store_f64(DType t, std::byte* p, int64_t i, double v) {
  switch (t) {
    case DType::kFloat: store(p, i, static_cast<float>(v)); break;
    case DType::kDouble: store(p, i, v); break;
    case DType::kComplex64:
      store(p, 2 * i, static_cast<float>(v));
      store(p, 2 * i + 1, 0.0f);
      break;
    case DType::kComplex128:
      store(p, 2 * i, v);
      store(p, 2 * i + 1, 0.0);
      break;
    case DType::kFloat16: store(p, i, double_to_half(v)); break;
    case DType::kBfloat16: {
      // Rounding to float first may double-round: make the float step sticky (round to odd).
      auto f = static_cast<float>(v);
      if (std::isfinite(f) && static_cast<double>(f) != v) {
        uint32_t u;
        std::memcpy(&u, &f, 4);
        if (std::fabs(static_cast<double>(f)) > std::fabs(v)) --u;
        u |= 1;
        std::memcpy(&f, &u, 4);
      }
      store(p, i, float_to_bfloat16(f));
      break;
    }
    case DType::kBool: store(p, i, static_cast<uint8_t>(v != 0)); break;
    case DType::kFloat4e2m1:
    case DType::kFloat6e2m3:
    case DType::kFloat6e3m2:
      packed_set(p, dtype_bits(t), i, float_to_narrow(t, static_cast<float>(v)));
      break;
    case DType::kFloat8e4m3fn:
    case DType::kFloat8e4m3fnuz:
    case DType::kFloat8e5m2:
    case DType::kFloat8e5m2fnuz:
    case DType::kFloat8e8m0: store(p, i, float_to_narrow(t, static_cast<float>(v))); break;
    case DType::kUint64:
      store(
          p, i,
          v >= 0x1p63 && v < 0x1p64 ? static_cast<uint64_t>(v) : static_cast<uint64_t>(to_int(v)));
      break;
    default: store_i64(t, p, i, to_int(v)); break;
  }
}

}  // namespace

Result<Tensor> Tensor::allocate(DType dtype, Dims dims) {
  const auto count = checked_product(dims);
  if (!count)
    return unsupported(format("tensor of shape {} has too many elements", to_string(dims)));
  Tensor t;
  t.dtype_ = dtype;
  t.size_ = *count;
  t.owned_ = true;
  if (dtype == DType::kString) {
    if (*count > (int64_t{1} << 40)) return unsupported("string tensor has too many elements");
    auto v = std::make_shared<std::vector<std::string>>(static_cast<size_t>(*count));
    t.owner_ = std::move(v);
  } else {
    const auto bytes = raw_bytes(dtype, *count);
    if (!bytes) return unsupported(format("tensor of shape {} is too large", to_string(dims)));
    t.bytes_ = static_cast<size_t>(*bytes);
    const size_t padded = (t.bytes_ + kAlign) / kAlign * kAlign;
    // Large blocks come zeroed from the system; small ones are cleared here.
    void* p = padded >= (1u << 20) ? nullptr : std::aligned_alloc(kAlign, padded);
    if (p != nullptr) {
      std::memset(p, 0, padded);
      t.owner_ = std::shared_ptr<const void>(p, [](void* q) { std::free(q); });
    } else {
      if (padded > SIZE_MAX - kAlign) return unsupported("tensor is too large");
      p = std::calloc(padded + kAlign, 1);
      if (p == nullptr)
        return unsupported(format("out of memory: {} asked for", human_bytes(padded)));
      t.owner_ = std::shared_ptr<const void>(p, [](void* q) { std::free(q); });
      p = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(p) + kAlign - 1) / kAlign * kAlign);
    }
    t.data_ = static_cast<const std::byte*>(p);
  }
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::view(DType dtype, Dims dims, const void* data, size_t bytes,
                    std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.size_ = checked_product(dims).value_or(0);
  ONNXTOOL_CHECK(raw_bytes(dtype, t.size_) == static_cast<int64_t>(bytes));
  t.dims_ = std::move(dims);
  t.bytes_ = bytes;
  t.data_ = static_cast<const std::byte*>(data);
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::strings(Dims dims, std::vector<std::string> values) {
  Tensor t;
  t.dtype_ = DType::kString;
  t.size_ = checked_product(dims).value_or(0);
  ONNXTOOL_CHECK(t.size_ == static_cast<int64_t>(values.size()));
  t.dims_ = std::move(dims);
  t.owner_ = std::make_shared<std::vector<std::string>>(std::move(values));
  t.owned_ = true;
  return t;
}

namespace {
template <typename T>
constexpr DType kTypeOf = DType::kUndefined;
template <>
constexpr DType kTypeOf<float> = DType::kFloat;
template <>
constexpr DType kTypeOf<double> = DType::kDouble;
template <>
constexpr DType kTypeOf<int64_t> = DType::kInt64;
template <>
constexpr DType kTypeOf<int32_t> = DType::kInt32;
template <>
constexpr DType kTypeOf<int16_t> = DType::kInt16;
template <>
constexpr DType kTypeOf<int8_t> = DType::kInt8;
template <>
constexpr DType kTypeOf<uint8_t> = DType::kUint8;
template <>
constexpr DType kTypeOf<uint16_t> = DType::kUint16;
template <>
constexpr DType kTypeOf<uint32_t> = DType::kUint32;
template <>
constexpr DType kTypeOf<uint64_t> = DType::kUint64;
template <>
constexpr DType kTypeOf<bool> = DType::kBool;
}  // namespace

template <typename T>
Tensor Tensor::of(Dims dims, std::span<const T> values) {
  auto r = allocate(kTypeOf<T>, std::move(dims));
  ONNXTOOL_CHECK(r.ok() && static_cast<size_t>(r->size()) == values.size());
  if (!values.empty()) std::memcpy(r->mutable_raw(), values.data(), values.size_bytes());
  return std::move(r).value();
}
template Tensor Tensor::of<float>(Dims, std::span<const float>);
template Tensor Tensor::of<double>(Dims, std::span<const double>);
template Tensor Tensor::of<int64_t>(Dims, std::span<const int64_t>);
template Tensor Tensor::of<int32_t>(Dims, std::span<const int32_t>);
template Tensor Tensor::of<int16_t>(Dims, std::span<const int16_t>);
template Tensor Tensor::of<int8_t>(Dims, std::span<const int8_t>);
template Tensor Tensor::of<uint8_t>(Dims, std::span<const uint8_t>);
template Tensor Tensor::of<uint16_t>(Dims, std::span<const uint16_t>);
template Tensor Tensor::of<uint32_t>(Dims, std::span<const uint32_t>);
template Tensor Tensor::of<uint64_t>(Dims, std::span<const uint64_t>);
template Tensor Tensor::of<bool>(Dims, std::span<const bool>);

bool Tensor::aligned() const {
  const int bits = dtype_bits(dtype_);
  const uintptr_t element = is_complex(dtype_) ? static_cast<uintptr_t>(bits) / 16
                            : bits < 8         ? 1
                                               : static_cast<uintptr_t>(bits) / 8;
  return reinterpret_cast<uintptr_t>(data_) % element == 0;
}

void Tensor::check_access(size_t element) const {
  ONNXTOOL_CHECK(dtype_ != DType::kString && static_cast<int>(element * 8) == dtype_bits(dtype_));
  ONNXTOOL_CHECK(reinterpret_cast<uintptr_t>(data_) % std::min<size_t>(element, 8) == 0);
}

std::byte* Tensor::mutable_raw() {
  ONNXTOOL_CHECK(owned_ && owner_.use_count() == 1);
  return const_cast<std::byte*>(data_);
}

const std::vector<std::string>& Tensor::string_data() const {
  ONNXTOOL_CHECK(dtype_ == DType::kString);
  static const std::vector<std::string> kEmpty;
  return owner_ ? *static_cast<const std::vector<std::string>*>(owner_.get()) : kEmpty;
}

std::vector<std::string>& Tensor::mut_strings() {
  ONNXTOOL_CHECK(dtype_ == DType::kString && owned_ && owner_.use_count() == 1);
  return *static_cast<std::vector<std::string>*>(const_cast<void*>(owner_.get()));
}

Tensor Tensor::to_aligned() const {
  if (!defined() || is_string() || aligned()) return *this;
  auto r = allocate(dtype_, dims_);
  ONNXTOOL_CHECK(r.ok());
  if (bytes_ != 0) std::memcpy(r->mutable_raw(), data_, bytes_);
  return std::move(r).value();
}

Tensor Tensor::reshaped(Dims dims) const {
  ONNXTOOL_CHECK(checked_product(dims) == size_);
  Tensor t = *this;
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::retyped(DType dtype) const {
  ONNXTOOL_CHECK(dtype_bits(dtype) == dtype_bits(dtype_) && !is_string());
  Tensor t = *this;
  t.dtype_ = dtype;
  return t;
}

double Tensor::f64_at(int64_t i) const {
  ONNXTOOL_CHECK(i >= 0 && i < size_ && !is_string());
  return with_reader(dtype_, data_, [i](auto get) { return static_cast<double>(get(i)); });
}
int64_t Tensor::i64_at(int64_t i) const {
  ONNXTOOL_CHECK(i >= 0 && i < size_ && !is_string());
  return with_reader(dtype_, data_, [i](auto get) { return to_int(get(i)); });
}

std::vector<double> Tensor::to_f64() const {
  ONNXTOOL_CHECK(!is_string());
  std::vector<double> v(static_cast<size_t>(size_));
  with_reader(dtype_, data_, [&](auto get) {
    for (int64_t i = 0; i < size_; ++i) v[static_cast<size_t>(i)] = static_cast<double>(get(i));
  });
  return v;
}
std::vector<int64_t> Tensor::to_i64() const {
  ONNXTOOL_CHECK(!is_string());
  std::vector<int64_t> v(static_cast<size_t>(size_));
  with_reader(dtype_, data_, [&](auto get) {
    for (int64_t i = 0; i < size_; ++i) v[static_cast<size_t>(i)] = to_int(get(i));
  });
  return v;
}

Result<Tensor> Tensor::from_f64(DType dtype, Dims dims, std::span<const double> values) {
  ONNXTOOL_CHECK(dtype_bits(dtype) != 0);
  TRY_ASSIGN(Tensor t, allocate(dtype, std::move(dims)));
  ONNXTOOL_CHECK(static_cast<size_t>(t.size_) == values.size());
  std::byte* p = t.mutable_raw();
  if (dtype == DType::kFloat) {  // weights: may be many
    const std::span<float> to = t.mut<float>();
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(values[i]);
    return t;
  }
  for (int64_t i = 0; i < t.size_; ++i) store_f64(dtype, p, i, values[static_cast<size_t>(i)]);
  return t;
}

Result<Tensor> Tensor::from_i64(DType dtype, Dims dims, std::span<const int64_t> values) {
  ONNXTOOL_CHECK(dtype_bits(dtype) != 0);
  TRY_ASSIGN(Tensor t, allocate(dtype, std::move(dims)));
  ONNXTOOL_CHECK(static_cast<size_t>(t.size_) == values.size());
  std::byte* p = t.mutable_raw();
  for (int64_t i = 0; i < t.size_; ++i) {
    const int64_t v = values[static_cast<size_t>(i)];
    if (is_integer(dtype))
      store_i64(dtype, p, i, v);
    else if (dtype == DType::kBool)
      store(p, i, static_cast<uint8_t>(v != 0));
    else if (dtype == DType::kFloat)
      store(p, i, static_cast<float>(v));
    else
      store_f64(dtype, p, i, static_cast<double>(v));
  }
  return t;
}

bool Tensor::same_bytes(const Tensor& o) const {
  if (dtype_ != o.dtype_ || dims_ != o.dims_) return false;
  if (is_string()) return string_data() == o.string_data();
  return data_ == o.data_ || bytes_ == 0 || std::memcmp(data_, o.data_, bytes_) == 0;
}

std::vector<int64_t> row_major_strides(std::span<const int64_t> dims) {
  std::vector<int64_t> s(dims.size());
  int64_t step = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    s[i] = step;
    // Can only overflow where another size is 0, and then no stride is used.
    step = static_cast<int64_t>(static_cast<uint64_t>(step) * static_cast<uint64_t>(dims[i]));
  }
  return s;
}

std::optional<Dims> broadcast_dims(std::span<const int64_t> a, std::span<const int64_t> b) {
  Dims out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) return std::nullopt;
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

std::string to_string(std::span<const int64_t> dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i ? "," : "") + std::to_string(dims[i]);
  return s + "]";
}

}  // namespace onnxtool
