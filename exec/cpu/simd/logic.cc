// SPDX-License-Identifier: Apache-2.0
// Boolean kernels and where (eltwise.h). Booleans are bytes.
#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/logic.cc"
#include <hwy/foreach_target.h>

#include "exec/cpu/simd/eltwise.h"
#include "exec/cpu/simd/nd_walk.h"
#include "exec/cpu/simd/tables.h"
#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

struct AndB {
  template <class V>
  static HWY_INLINE V apply(V a, V b) {
    return hn::Min(a, b);
  }
};
struct OrB {
  template <class V>
  static HWY_INLINE V apply(V a, V b) {
    return hn::Or(a, b);
  }
};
struct XorB {
  template <class V>
  static HWY_INLINE V apply(V a, V b) {
    return hn::Xor(a, b);
  }
};

template <class Op, Form kForm>
void logical(const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const hn::ScalableTag<uint8_t> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const uint8_t* a = static_cast<const uint8_t*>(pa);
  const uint8_t* b = static_cast<const uint8_t*>(pb);
  uint8_t* y = static_cast<uint8_t*>(py);
  const auto one = hn::Set(d, uint8_t{1});
  const auto sa = hn::Set(d, *a), sb = hn::Set(d, *b);
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    const bool whole = rest == static_cast<size_t>(lanes);
    auto va = sa, vb = sb;
    if (kForm != kScalarVector) va = whole ? hn::LoadU(d, a + i) : load_n(d, a + i, rest);
    if (kForm != kVectorScalar) vb = whole ? hn::LoadU(d, b + i) : load_n(d, b + i, rest);
    const auto v = Op::apply(hn::Min(va, one), hn::Min(vb, one));
    if (whole) {
      hn::StoreU(v, d, y + i);
    } else {
      store_n(v, d, y + i, rest);
    }
  }
}

BinaryFn logical_entry(Logical op, Form form) {
  static constexpr BinaryFn table[][kForms] = {
      {logical<AndB, kVectorVector>, logical<AndB, kVectorScalar>, logical<AndB, kScalarVector>},
      {logical<OrB, kVectorVector>, logical<OrB, kVectorScalar>, logical<OrB, kScalarVector>},
      {logical<XorB, kVectorVector>, logical<XorB, kVectorScalar>, logical<XorB, kScalarVector>},
  };
  return table[static_cast<size_t>(op)][form];
}

// Selects by bytes in 4-byte lanes; a and b may each be one element.
template <bool kScalarA, bool kScalarB>
void select32(const uint8_t* cond, const void* pa, const void* pb, void* py, int64_t n) {
  if (n <= 0) return;
  const DU d;
  const hn::Rebind<uint8_t, DU> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const uint32_t* a = static_cast<const uint32_t*>(pa);
  const uint32_t* b = static_cast<const uint32_t*>(pb);
  uint32_t* y = static_cast<uint32_t*>(py);
  const auto sa = hn::Set(d, *a), sb = hn::Set(d, *b), zero = hn::Zero(d);
  for (int64_t i = 0; i < n; i += lanes) {
    const size_t rest = static_cast<size_t>(std::min(lanes, n - i));
    const bool whole = rest == static_cast<size_t>(lanes);
    auto c = hn::Zero(d8);
    if (whole) {
      c = hn::LoadU(d8, cond + i);
    } else {
      alignas(64) uint8_t buf[HWY_MAX_BYTES] = {};
      std::memcpy(buf, cond + i, rest);
      c = hn::Load(d8, buf);
    }
    auto va = sa, vb = sb;
    if (!kScalarA) va = whole ? hn::LoadU(d, a + i) : load_n(d, a + i, rest);
    if (!kScalarB) vb = whole ? hn::LoadU(d, b + i) : load_n(d, b + i, rest);
    const auto v = hn::IfThenElse(hn::Eq(hn::PromoteTo(d, c), zero), vb, va);
    if (whole) {
      hn::StoreU(v, d, y + i);
    } else {
      store_n(v, d, y + i, rest);
    }
  }
}

using SelectFn = void (*)(const uint8_t*, const void*, const void*, void*, int64_t);
SelectFn select32_entry(bool scalar_a, bool scalar_b) {
  if (scalar_a) return scalar_b ? select32<true, true> : select32<true, false>;
  return scalar_b ? select32<false, true> : select32<false, false>;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(logical_entry);
HWY_EXPORT(select32_entry);

void logical_u8(Logical op, const NdPlan& plan, const uint8_t* a, const uint8_t* b, uint8_t* y,
                int64_t begin, int64_t end) {
  BinaryFn fn[kForms];
  for (int f = 0; f < kForms; ++f)
    fn[f] = HWY_DYNAMIC_DISPATCH(logical_entry)(op, static_cast<Form>(f));
  const void* base[] = {a, b};
  const int elems[] = {1, 1};
  nd_walk<2>(
      plan, base, elems, begin, end, INT64_MAX, [&](int64_t at, int64_t n, const OperandView* v) {
        if (v[0].scalar && v[1].scalar) {
          fn[kVectorVector](v[0].ptr, v[1].ptr, y + at, 1);
          std::memset(y + at, y[at], static_cast<size_t>(n));
          return;
        }
        const Form form = v[1].scalar ? kVectorScalar : v[0].scalar ? kScalarVector : kVectorVector;
        fn[form](v[0].ptr, v[1].ptr, y + at, n);
      });
}

void not_u8(const uint8_t* x, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] == 0;
}

namespace {

uint32_t bits_of(const float* x) {
  uint32_t u;
  std::memcpy(&u, x, sizeof u);
  return u;
}

template <class T>
void select(const OperandView* v, void* py, int64_t at, int64_t n) {
  const T* a = reinterpret_cast<const T*>(v[1].ptr);
  const T* b = reinterpret_cast<const T*>(v[2].ptr);
  const uint8_t* c = reinterpret_cast<const uint8_t*>(v[0].ptr);
  T* y = static_cast<T*>(py) + at;
  const int64_t sc = v[0].scalar ? 0 : 1, sa = v[1].scalar ? 0 : 1, sb = v[2].scalar ? 0 : 1;
  for (int64_t i = 0; i < n; ++i) {
    const T p = a[i * sa], q = b[i * sb];
    y[i] = c[i * sc] != 0 ? p : q;
  }
}

}  // namespace

void is_nan_f32(const float* x, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = (bits_of(x + i) & 0x7fffffffu) > 0x7f800000u;
}

void is_inf_f32(const float* x, uint8_t* y, int64_t n, bool positive, bool negative) {
  // A pattern that no infinity has stands for "not asked".
  const uint32_t p = positive ? 0x7f800000u : 0x7fffffffu, m = negative ? 0xff800000u : 0x7fffffffu;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = bits_of(x + i);
    y[i] = ((u == p) | (u == m)) & (u != 0x7fffffffu);
  }
}

void where(int elem_size, const NdPlan& plan, const uint8_t* cond, const void* a, const void* b,
           void* y, int64_t begin, int64_t end) {
  const void* base[] = {cond, a, b};
  const int elems[] = {1, elem_size, elem_size};
  nd_walk<3>(plan, base, elems, begin, end, kAnyBlock,
             [&](int64_t at, int64_t n, const OperandView* v) {
               if (elem_size == 4 && !v[0].scalar) {
                 HWY_DYNAMIC_DISPATCH(select32_entry)
                 (v[1].scalar, v[2].scalar)(reinterpret_cast<const uint8_t*>(v[0].ptr), v[1].ptr,
                                            v[2].ptr, static_cast<char*>(y) + at * 4, n);
                 return;
               }
               switch (elem_size) {
                 case 1: return select<uint8_t>(v, y, at, n);
                 case 2: return select<uint16_t>(v, y, at, n);
                 case 4: return select<uint32_t>(v, y, at, n);
                 default: return select<uint64_t>(v, y, at, n);
               }
             });
}

}  // namespace onnxtool::simd
#endif
