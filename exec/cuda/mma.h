// SPDX-License-Identifier: Apache-2.0
// Tensor cores, one warp at a time: a tile of 16 x 8 sums gets a 16 x K tile times a K x 8 tile,
// where K is 32 bytes of either operand: 16 of half or bfloat16, 32 of 8-bit integers. Which lane
// holds what: PTX ISA, "Matrix fragments for mma.m16n8k16" and "... m16n8k32". Seen as words of 32
// bits all types are alike: a row of A (a column of B) is eight words; with g = lane / 4 and
// t = lane % 4 a lane holds words t and t + 4 of rows g and g + 8 (of column g). Also copies from
// memory to shared memory beside the computation.
#pragma once
#include "exec/cuda/types.h"

namespace onnxtool::cuda {

struct alignas(16) Piece {  // what one load or copy moves
  uint32_t w[4];
};

struct TileA {
  uint32_t w[4];  // word t of rows g and g + 8, word t + 4 of both
};
struct TileB {
  uint32_t w[2];  // words t and t + 4 of column g
};
template <typename Sum>
struct TileC {
  Sum v[4] = {};  // columns 2 t and 2 t + 1 of row g, then of row g + 8
};
template <typename T>
struct SumOf {
  using Type = int32_t;
};
template <>
struct SumOf<half_t> {
  using Type = float;
};
template <>
struct SumOf<bfloat_t> {
  using Type = float;
};

// `at`: word t of the tile's row g, for this lane; rows are `row` bytes apart.
__device__ inline TileA load_a(const std::byte* at, int row) {
  const auto word = [at](int offset) { return *reinterpret_cast<const uint32_t*>(at + offset); };
  return {{word(0), word(8 * row), word(16), word(8 * row + 16)}};
}
__device__ inline TileB load_b(const std::byte* at) {
  return {{*reinterpret_cast<const uint32_t*>(at), *reinterpret_cast<const uint32_t*>(at + 16)}};
}

#ifdef __CUDACC__
#define ONNXTOOL_MMA(type, shape, sum_type, reg)                           \
  asm("mma.sync.aligned." shape ".row.col." type                           \
      " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "                           \
      "{%0,%1,%2,%3};"                                                     \
      : "+" reg(c.v[0]), "+" reg(c.v[1]), "+" reg(c.v[2]), "+" reg(c.v[3]) \
      : "r"(a.w[0]), "r"(a.w[1]), "r"(a.w[2]), "r"(a.w[3]), "r"(b.w[0]), "r"(b.w[1]))

// c += a b. T is the type of A; B has the same, but for 8-bit integers, where it is int8.
template <typename T>
__device__ void mma(TileC<typename SumOf<T>::Type>& c, const TileA& a, const TileB& b);
template <>
__device__ inline void mma<half_t>(TileC<float>& c, const TileA& a, const TileB& b) {
  ONNXTOOL_MMA("f32.f16.f16.f32", "m16n8k16", float, "f");
}
template <>
__device__ inline void mma<bfloat_t>(TileC<float>& c, const TileA& a, const TileB& b) {
  ONNXTOOL_MMA("f32.bf16.bf16.f32", "m16n8k16", float, "f");
}
template <>
__device__ inline void mma<int8_t>(TileC<int32_t>& c, const TileA& a, const TileB& b) {
  ONNXTOOL_MMA("s32.s8.s8.s32", "m16n8k32", int32_t, "r");
}
template <>
__device__ inline void mma<uint8_t>(TileC<int32_t>& c, const TileA& a, const TileB& b) {
  ONNXTOOL_MMA("s32.u8.s8.s32", "m16n8k32", int32_t, "r");
}
#undef ONNXTOOL_MMA

// 16 bytes, both sides aligned to as many. Shared memory holds them after wait_copies() of the
// thread that copied, for others after a barrier.
__device__ inline void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// For all but the last kBut commits.
template <int kBut>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kBut) : "memory");
}
#else
template <typename T>
void mma(TileC<typename SumOf<T>::Type>& c, const TileA& a, const TileB& b) {
  using Sum = typename SumOf<T>::Type;
  using Weight = std::conditional_t<std::is_same_v<Sum, float>, T, int8_t>;
  struct Operands {
    const TileA* a;
    const TileB* b;
  } mine{&a, &b};
  const uint64_t* lanes = emulated_share(reinterpret_cast<uint64_t>(&mine));
  const auto of = [&](unsigned lane) { return *reinterpret_cast<const Operands*>(lanes[lane]); };
  const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned column = 2 * t + i % 2;
    for (unsigned word = 0; word < 8; ++word) {
      T x[4 / sizeof(T)];
      Weight y[4 / sizeof(T)];
      memcpy(x, &of(g * 4 + word % 4).a->w[i / 2 + word / 4 * 2], 4);
      memcpy(y, &of(column * 4 + word % 4).b->w[word / 4], 4);
      for (size_t k = 0; k < 4 / sizeof(T); ++k) {
        if constexpr (std::is_same_v<Sum, float>)
          c.v[i] += to_float(x[k]) * to_float(y[k]);
        else
          c.v[i] += int32_t{x[k]} * int32_t{y[k]};
      }
    }
  }
  __syncwarp();
}
inline void copy_async(void* shared, const void* global) { emulated_copy(shared, global, 16); }
inline void commit_copies() { emulated_commit(); }
template <int kBut>
void wait_copies() {
  emulated_wait(kBut);
}
#endif

}  // namespace onnxtool::cuda
