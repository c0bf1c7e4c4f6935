// SPDX-License-Identifier: Apache-2.0
// Binary elementwise kernels (eltwise.h): flat loops per type, op and form, and the walk over a
// broadcast plan that calls them.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/binary.cc"
#include <hwy/foreach_target.h>

#include <functional>

#include "exec/cpu/simd/math-inl.h"
#include "exec/cpu/simd/nd_walk.h"
#include "exec/cpu/simd/tables.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

#define ONNXTOOL_BINARY(name, ...)             \
  struct name {                                \
    template <class D, class V = hn::Vec<D>>   \
    static HWY_INLINE V apply(D d, V a, V b) { \
      (void)d;                                 \
      __VA_ARGS__                              \
    }                                          \
  };
ONNXTOOL_BINARY(Add, return hn::Add(a, b);)
ONNXTOOL_BINARY(Sub, return hn::Sub(a, b);)
ONNXTOOL_BINARY(Mul, return hn::Mul(a, b);)
ONNXTOOL_BINARY(Div, return hn::Div(a, b);)
ONNXTOOL_BINARY(MinF, return min_nan(d, a, b);)
ONNXTOOL_BINARY(MaxF, return max_nan(d, a, b);)
ONNXTOOL_BINARY(MinI, return hn::Min(a, b);)
ONNXTOOL_BINARY(MaxI, return hn::Max(a, b);)
ONNXTOOL_BINARY(Pow, return pow_v(d, a, b);)
ONNXTOOL_BINARY(PRelu, return hn::IfThenElse(hn::Lt(a, hn::Zero(d)), hn::Mul(a, b), a);)

// The rest of n goes through buffers and the same loop: each op is inlined once (compile time).
template <class T, class Op, Form kForm>
void run(const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  T* y = static_cast<T*>(py);
  const auto sa = hn::Set(d, *a), sb = hn::Set(d, *b);
  int64_t count = n / lanes * lanes;
  const size_t rest = static_cast<size_t>(n - count);
  alignas(64) T buf_a[HWY_MAX_BYTES / sizeof(T)];
  alignas(64) T buf_b[HWY_MAX_BYTES / sizeof(T)];
  if (rest != 0) {
    if (kForm != kScalarVector) hn::Store(load_n(d, a + count, rest), d, buf_a);
    if (kForm != kVectorScalar) hn::Store(load_n(d, b + count, rest), d, buf_b);
  }
  T* const tail = y + count;
  for (int pass = 0; pass < 2; ++pass) {
    for (int64_t i = 0; i < count; i += lanes) {
      const auto va = kForm == kScalarVector ? sa : hn::LoadU(d, a + i);
      const auto vb = kForm == kVectorScalar ? sb : hn::LoadU(d, b + i);
      hn::StoreU(Op::apply(d, va, vb), d, y + i);
    }
    if (rest == 0) return;
    a = buf_a;
    b = buf_b;
    y = buf_a;
    count = lanes;
  }
  store_n(hn::Load(d, buf_a), d, tail, rest);
}

// Ops without a vector form.
struct MulI {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct DivI {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return 0;
    if (b == -1) return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(a));
    return a / b;
  }
};
struct ModI {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0 || b == -1) return 0;
    const T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
};
struct FmodF {
  static float apply(float a, float b) { return std::fmod(a, b); }
};
template <class T, class Op, Form kForm>
void run_scalar(const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  T* y = static_cast<T*>(py);
  const T a0 = *a, b0 = *b;
  for (int64_t i = 0; i < n; ++i)
    y[i] = Op::apply(kForm == kScalarVector ? a0 : a[i], kForm == kVectorScalar ? b0 : b[i]);
}

ONNXTOOL_BINARY(Eq, return hn::VecFromMask(d, hn::Eq(a, b));)
ONNXTOOL_BINARY(Ne, return hn::VecFromMask(d, hn::Not(hn::Eq(a, b)));)
ONNXTOOL_BINARY(Lt, return hn::VecFromMask(d, hn::Lt(a, b));)
ONNXTOOL_BINARY(Le, return hn::VecFromMask(d, hn::Le(a, b));)
ONNXTOOL_BINARY(Gt, return hn::VecFromMask(d, hn::Lt(b, a));)
ONNXTOOL_BINARY(Ge, return hn::VecFromMask(d, hn::Le(b, a));)
ONNXTOOL_BINARY(LeI, return hn::VecFromMask(d, hn::Not(hn::Lt(b, a)));)
ONNXTOOL_BINARY(GeI, return hn::VecFromMask(d, hn::Not(hn::Lt(a, b)));)

// As a float 0 or 1.
template <class Op>
struct AsFloat {
  template <class D, class V = hn::Vec<D>>
  static HWY_INLINE V apply(D d, V a, V b) {
    return hn::And(Op::apply(d, a, b), hn::Set(d, 1.0f));
  }
};

// As bytes 0 or 1, for 4-byte elements.
template <class T, class Op, Form kForm>
void run_compare(const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const hn::ScalableTag<T> d;
  const hn::Repartition<int32_t, decltype(d)> di;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  uint8_t* y = static_cast<uint8_t*>(py);
  const auto sa = hn::Set(d, *a), sb = hn::Set(d, *b);
  const auto one = hn::Set(di, 1);
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    const bool whole = rest == static_cast<size_t>(lanes);
    const auto va = kForm == kScalarVector ? sa
                    : whole                ? hn::LoadU(d, a + i)
                                           : load_n(d, a + i, rest);
    const auto vb = kForm == kVectorScalar ? sb
                    : whole                ? hn::LoadU(d, b + i)
                                           : load_n(d, b + i, rest);
    const auto bits = hn::And(hn::BitCast(di, Op::apply(d, va, vb)), one);
    const auto bytes = hn::DemoteTo(d8, bits);
    if (whole) {
      hn::StoreU(bytes, d8, y + i);
    } else {
      alignas(64) uint8_t buf[HWY_MAX_BYTES];
      hn::Store(bytes, d8, buf);
      std::memcpy(y + i, buf, rest);
    }
  }
}

template <class Op, Form kForm>
void run_compare64(const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const int64_t* a = static_cast<const int64_t*>(pa);
  const int64_t* b = static_cast<const int64_t*>(pb);
  uint8_t* y = static_cast<uint8_t*>(py);
  const int64_t a0 = *a, b0 = *b;
  for (int64_t i = 0; i < n; ++i)
    y[i] = Op()(kForm == kScalarVector ? a0 : a[i], kForm == kVectorScalar ? b0 : b[i]) ? 1 : 0;
}

#define ONNXTOOL_FORMS(fn, ...) \
  { fn<__VA_ARGS__, kVectorVector>, fn<__VA_ARGS__, kVectorScalar>, fn<__VA_ARGS__, kScalarVector> }
#define ONNXTOOL_NO_FORMS \
  { nullptr, nullptr, nullptr }

constexpr size_t kBinaries = static_cast<size_t>(Binary::kCount);
constexpr size_t kCompares = static_cast<size_t>(Compare::kCount);

BinaryFn binary_entry(Elem elem, Binary op, Form form) {
  static constexpr BinaryFn f32[kBinaries][kForms] = {
      ONNXTOOL_FORMS(run, float, Add),          ONNXTOOL_FORMS(run, float, Sub),
      ONNXTOOL_FORMS(run, float, Mul),          ONNXTOOL_FORMS(run, float, Div),
      ONNXTOOL_FORMS(run, float, MinF),         ONNXTOOL_FORMS(run, float, MaxF),
      ONNXTOOL_FORMS(run, float, Pow),          ONNXTOOL_FORMS(run, float, PRelu),
      ONNXTOOL_FORMS(run_scalar, float, FmodF), ONNXTOOL_NO_FORMS};
  static constexpr BinaryFn i32[kBinaries][kForms] = {ONNXTOOL_FORMS(run, int32_t, Add),
                                                      ONNXTOOL_FORMS(run, int32_t, Sub),
                                                      ONNXTOOL_FORMS(run, int32_t, Mul),
                                                      ONNXTOOL_FORMS(run_scalar, int32_t, DivI),
                                                      ONNXTOOL_FORMS(run, int32_t, MinI),
                                                      ONNXTOOL_FORMS(run, int32_t, MaxI),
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_FORMS(run_scalar, int32_t, ModI)};
  static constexpr BinaryFn i64[kBinaries][kForms] = {ONNXTOOL_FORMS(run, int64_t, Add),
                                                      ONNXTOOL_FORMS(run, int64_t, Sub),
                                                      ONNXTOOL_FORMS(run_scalar, int64_t, MulI),
                                                      ONNXTOOL_FORMS(run_scalar, int64_t, DivI),
                                                      ONNXTOOL_FORMS(run, int64_t, MinI),
                                                      ONNXTOOL_FORMS(run, int64_t, MaxI),
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_NO_FORMS,
                                                      ONNXTOOL_FORMS(run_scalar, int64_t, ModI)};
  const size_t i = static_cast<size_t>(op);
  switch (elem) {
    case Elem::kF32: return f32[i][form];
    case Elem::kI32: return i32[i][form];
    default: return i64[i][form];
  }
}

BinaryFn compare_entry(Elem elem, Compare op, Form form) {
  static constexpr BinaryFn f32[kCompares][kForms] = {
      ONNXTOOL_FORMS(run_compare, float, Eq), ONNXTOOL_FORMS(run_compare, float, Ne),
      ONNXTOOL_FORMS(run_compare, float, Lt), ONNXTOOL_FORMS(run_compare, float, Le),
      ONNXTOOL_FORMS(run_compare, float, Gt), ONNXTOOL_FORMS(run_compare, float, Ge)};
  static constexpr BinaryFn i32[kCompares][kForms] = {
      ONNXTOOL_FORMS(run_compare, int32_t, Eq), ONNXTOOL_FORMS(run_compare, int32_t, Ne),
      ONNXTOOL_FORMS(run_compare, int32_t, Lt), ONNXTOOL_FORMS(run_compare, int32_t, LeI),
      ONNXTOOL_FORMS(run_compare, int32_t, Gt), ONNXTOOL_FORMS(run_compare, int32_t, GeI)};
  static constexpr BinaryFn i64[kCompares][kForms] = {
      ONNXTOOL_FORMS(run_compare64, std::equal_to<>),
      ONNXTOOL_FORMS(run_compare64, std::not_equal_to<>),
      ONNXTOOL_FORMS(run_compare64, std::less<>),
      ONNXTOOL_FORMS(run_compare64, std::less_equal<>),
      ONNXTOOL_FORMS(run_compare64, std::greater<>),
      ONNXTOOL_FORMS(run_compare64, std::greater_equal<>)};
  const size_t i = static_cast<size_t>(op);
  switch (elem) {
    case Elem::kF32: return f32[i][form];
    case Elem::kI32: return i32[i][form];
    default: return i64[i][form];
  }
}

BinaryFn compare_f32_entry(Compare op, Form form) {
  static constexpr BinaryFn f32[kCompares][kForms] = {
      ONNXTOOL_FORMS(run, float, AsFloat<Eq>), ONNXTOOL_FORMS(run, float, AsFloat<Ne>),
      ONNXTOOL_FORMS(run, float, AsFloat<Lt>), ONNXTOOL_FORMS(run, float, AsFloat<Le>),
      ONNXTOOL_FORMS(run, float, AsFloat<Gt>), ONNXTOOL_FORMS(run, float, AsFloat<Ge>)};
  return f32[static_cast<size_t>(op)][form];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(binary_entry);
HWY_EXPORT(compare_entry);
HWY_EXPORT(compare_f32_entry);

BinaryFn binary_fn(Elem elem, Binary op, Form form) {
  return HWY_DYNAMIC_DISPATCH(binary_entry)(elem, op, form);
}
BinaryFn compare_fn(Elem elem, Compare op, Form form) {
  return HWY_DYNAMIC_DISPATCH(compare_entry)(elem, op, form);
}
BinaryFn compare_f32_fn(Compare op, Form form) {
  return HWY_DYNAMIC_DISPATCH(compare_f32_entry)(op, form);
}

bool binary_supports(Binary op, bool is_float) {
  return binary_fn(is_float ? Elem::kF32 : Elem::kI32, op, kVectorVector) != nullptr;
}

namespace {

// fn[form] over the plan; out_elem: bytes of an output element.
void walk_binary(const BinaryFn* fn, const NdPlan& plan, const void* a, const void* b, int elem,
                 void* y, int out_elem, int64_t begin, int64_t end) {
  const void* base[] = {a, b};
  const int elems[] = {elem, elem};
  nd_walk<2>(plan, base, elems, begin, end, kAnyBlock,
             [&](int64_t at, int64_t n, const OperandView* v) {
               char* out = static_cast<char*>(y) + at * out_elem;
               if (v[0].scalar && v[1].scalar) {  // one value repeated
                 fn[kVectorVector](v[0].ptr, v[1].ptr, out, 1);
                 for (int64_t i = 1; i < n; ++i)
                   std::memcpy(out + i * out_elem, out, static_cast<size_t>(out_elem));
                 return;
               }
               fn[v[1].scalar   ? kVectorScalar
                  : v[0].scalar ? kScalarVector
                                : kVectorVector](v[0].ptr, v[1].ptr, out, n);
             });
}

void binary_any(Elem elem, int bytes, Binary op, const NdPlan& plan, const void* a, const void* b,
                void* y, int64_t begin, int64_t end) {
  BinaryFn fn[kForms];
  for (int f = 0; f < kForms; ++f) fn[f] = binary_fn(elem, op, static_cast<Form>(f));
  walk_binary(fn, plan, a, b, bytes, y, bytes, begin, end);
}
void compare_any(Elem elem, int bytes, Compare op, const NdPlan& plan, const void* a, const void* b,
                 uint8_t* y, int64_t begin, int64_t end) {
  BinaryFn fn[kForms];
  for (int f = 0; f < kForms; ++f) fn[f] = compare_fn(elem, op, static_cast<Form>(f));
  walk_binary(fn, plan, a, b, bytes, y, 1, begin, end);
}

}  // namespace

void binary_f32(Binary op, const NdPlan& plan, const float* a, const float* b, float* y,
                int64_t begin, int64_t end) {
  binary_any(Elem::kF32, 4, op, plan, a, b, y, begin, end);
}
void binary_i32(Binary op, const NdPlan& plan, const int32_t* a, const int32_t* b, int32_t* y,
                int64_t begin, int64_t end) {
  binary_any(Elem::kI32, 4, op, plan, a, b, y, begin, end);
}
void binary_i64(Binary op, const NdPlan& plan, const int64_t* a, const int64_t* b, int64_t* y,
                int64_t begin, int64_t end) {
  binary_any(Elem::kI64, 8, op, plan, a, b, y, begin, end);
}
void compare_f32(Compare op, const NdPlan& plan, const float* a, const float* b, uint8_t* y,
                 int64_t begin, int64_t end) {
  compare_any(Elem::kF32, 4, op, plan, a, b, y, begin, end);
}
void compare_i32(Compare op, const NdPlan& plan, const int32_t* a, const int32_t* b, uint8_t* y,
                 int64_t begin, int64_t end) {
  compare_any(Elem::kI32, 4, op, plan, a, b, y, begin, end);
}
void compare_i64(Compare op, const NdPlan& plan, const int64_t* a, const int64_t* b, uint8_t* y,
                 int64_t begin, int64_t end) {
  compare_any(Elem::kI64, 8, op, plan, a, b, y, begin, end);
}

}  // namespace onnxtool::simd
#endif
