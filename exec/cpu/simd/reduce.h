// SPDX-License-Identifier: Apache-2.0
// Reductions along one (merged) axis, fp32. x is [outer, n, inner] dense, y is [outer, inner]; the
// unit of work is the lane (o * inner + i), as in softmax_f32. Several axes that do not merge are
// reduced one after the other. y may be x only where n = 1.
// Sums are blocked; error in units of 2^-24 * sum |x| (products: of the result): at most 40 for
// inner = 1 (72 on the baseline target), 32 + n / 32 otherwise; typically the square root of that.
#pragma once

#include <cstdint>

namespace onnxtool::simd {

enum class Reduce : uint8_t {
  kSum,
  kMean,
  kMax,  // NaN wins
  kMin,  // NaN wins
  kProd,
  kL1,
  kL2,
  kSumSquare,
  kLogSum,
  kLogSumExp,
  kCount
};

// Lanes [begin, end) of outer * inner. n = 0 gives the neutral element (kMean: NaN; kMax: -inf).
// For inner > 1 split at multiples of 256 lanes for full speed.
void reduce_f32(Reduce op, const float* x, float* y, int64_t n, int64_t inner, int64_t begin,
                int64_t end);

// One long lane (inner = 1) split over threads: chunk c covers elements [c * kReduceChunk, ...).
// reduce_chunks(n) partials are computed in any order by reduce_partial_f32, then one call of
// reduce_combine_f32 gives the result, the same for any number of threads.
// (Not the same rounding as reduce_f32, within the same bound.) A partial is 2 floats.
inline constexpr int64_t kReduceChunk = int64_t{1} << 15;
inline int64_t reduce_chunks(int64_t n) { return (n + kReduceChunk - 1) / kReduceChunk; }
void reduce_partial_f32(Reduce op, const float* x, int64_t n, float* partials, int64_t chunk0,
                        int64_t chunk1);
float reduce_combine_f32(Reduce op, const float* partials, int64_t n);

// Index of the greatest (or least) element along n, ties to the first (or last) one; NaN counts as
// greatest and as least. Lanes as above.
void arg_reduce_f32(bool greatest, bool select_last, const float* x, int64_t* y, int64_t n,
                    int64_t inner, int64_t begin, int64_t end);

}  // namespace onnxtool::simd
