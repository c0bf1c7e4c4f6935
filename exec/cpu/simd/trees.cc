// SPDX-License-Identifier: Apache-2.0
#include "exec/cpu/simd/trees.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/trees.cc"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "exec/cpu/simd/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {

using VU = hn::Vec<DU>;

template <bool kWide, bool kNanLeft, size_t kGroup>
HWY_INLINE void clear_leaves(const Trees::Test& test, const float* xt, VU (&low)[kGroup],
                             VU (&high)[kGroup]) {
  const DF d;
  const DU du;
  const VF threshold = hn::Set(d, test.threshold);
  const float* x = xt + test.feature * static_cast<size_t>(kTreeRows);
  const VU keep_low = hn::Set(du, test.keep[0]);
  const VU keep_high = hn::Set(du, test.keep[1]);
  ONNXTOOL_UNROLL
  for (size_t g = 0; g < kGroup; ++g) {
    const VF v = hn::LoadU(d, x + g * hn::Lanes(d));
    const auto right =
        hn::RebindMask(du, kNanLeft ? hn::Gt(v, threshold) : hn::Not(hn::Le(v, threshold)));
    low[g] = hn::IfThenElse(right, hn::And(low[g], keep_low), low[g]);
    if (kWide) high[g] = hn::IfThenElse(right, hn::And(high[g], keep_high), high[g]);
  }
}

// kGroup vectors of rows share the broadcasts of a test.
template <bool kWide, size_t kGroup>
void find_leaves(const Trees& t, const Trees::Tree& tree, const float* xt, size_t rows,
                 uint32_t* leaf) {
  const DU du;
  const size_t lanes = hn::Lanes(du);
  for (size_t row = 0; row < rows; row += kGroup * lanes) {
    VU low[kGroup], high[kGroup];
    ONNXTOOL_UNROLL
    for (size_t g = 0; g < kGroup; ++g) low[g] = high[g] = hn::Set(du, ~0u);
    for (uint32_t i = tree.begin; i < tree.nan_left; ++i)
      clear_leaves<kWide, false, kGroup>(t.tests[i], xt + row, low, high);
    for (uint32_t i = tree.nan_left; i < tree.end; ++i)
      clear_leaves<kWide, true, kGroup>(t.tests[i], xt + row, low, high);
    ONNXTOOL_UNROLL
    for (size_t g = 0; g < kGroup; ++g) {
      alignas(64) uint32_t bits[2][HWY_MAX_BYTES / 4];
      hn::Store(low[g], du, bits[0]);
      if (kWide) hn::Store(high[g], du, bits[1]);
      for (size_t k = 0; k < lanes; ++k)
        leaf[row + g * lanes + k] =
            static_cast<uint32_t>(kWide ? std::countr_zero(bits[0][k] | uint64_t{bits[1][k]} << 32)
                                        : std::countr_zero(bits[0][k]));
    }
  }
}

HWY_INLINE uint32_t next(const Trees::Step& s, float x) {
  const bool stays = (s.feature & Trees::kEqual) != 0 ? x == s.threshold : x <= s.threshold;
  const bool nan_left = (s.feature & Trees::kNanLeft) != 0 && std::isnan(x);
  return s.left + static_cast<uint32_t>(!(stays | nan_left));
}

void walk_block(const Trees& t, const Trees::Tree& tree, const float* xt, int64_t rows,
                uint32_t* leaf) {
  const Trees::Step* steps = t.steps.data();
  for (int64_t r = 0; r < rows; ++r) leaf[r] = tree.root;
  for (uint32_t level = 0; level < tree.depth; ++level) {
    uint32_t moved = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const Trees::Step& s = steps[leaf[r]];
      const size_t feature = s.feature & ~Trees::kFlags;
      const uint32_t to =
          next(s, xt[feature * static_cast<size_t>(kTreeRows) + static_cast<size_t>(r)]);
      moved |= to ^ leaf[r];
      leaf[r] = to;
    }
    if (moved == 0) break;  // all at their leaves
  }
  for (int64_t r = 0; r < rows; ++r) leaf[r] = steps[leaf[r]].leaf;
}

HWY_INLINE void vote(const Trees& t, uint32_t leaf, double* acc, uint8_t* seen, int64_t stride) {
  for (uint32_t k = t.first_vote[leaf]; k < t.first_vote[leaf + 1]; ++k) {
    const Trees::Vote& v = t.votes[k];
    acc[v.target * stride] += v.weight;
    if (seen != nullptr) seen[v.target * stride] = 1;
  }
}

void block(const Trees& t, const float* xt, int64_t rows, double* acc, uint8_t* seen) {
  uint32_t leaf[kTreeRows];
  const auto n = static_cast<size_t>(rows);
  const bool one = n <= hn::Lanes(DF());
  for (const Trees::Tree& tree : t.trees) {
    if (tree.begin == tree.end)
      walk_block(t, tree, xt, rows, leaf);
    else if (tree.end - tree.begin < 32)
      one ? find_leaves<false, 1>(t, tree, xt, n, leaf)
          : find_leaves<false, 2>(t, tree, xt, n, leaf);
    else
      one ? find_leaves<true, 1>(t, tree, xt, n, leaf) : find_leaves<true, 2>(t, tree, xt, n, leaf);
    if (tree.target >= 0 && seen == nullptr) {
      const double* weights = t.weights.data() + tree.first_leaf;
      double* to = acc + tree.target * kTreeRows;
      for (int64_t r = 0; r < rows; ++r) to[r] += weights[leaf[r]];
    } else {
      for (int64_t r = 0; r < rows; ++r)
        vote(t, tree.first_leaf + leaf[r], acc + r, seen ? seen + r : nullptr, kTreeRows);
    }
  }
}

void row(const Trees& t, const float* x, double* acc, uint8_t* seen) {
  constexpr size_t kTogether = 8;
  const Trees::Step* steps = t.steps.data();
  for (size_t at = 0; at < t.trees.size(); at += kTogether) {
    const size_t n = std::min(kTogether, t.trees.size() - at);
    const Trees::Tree* trees = &t.trees[at];
    uint32_t node[kTogether] = {}, depth = 0;
    for (size_t k = 0; k < n; ++k) {
      node[k] = trees[k].root;
      depth = std::max(depth, trees[k].depth);
    }
    for (size_t k = n; k < kTogether; ++k) node[k] = node[0];
    for (uint32_t level = 0; level < depth; ++level) {
      uint32_t moved = 0;
      for (size_t k = 0; k < kTogether; ++k) {
        const Trees::Step& s = steps[node[k]];
        const uint32_t to = next(s, x[s.feature & ~Trees::kFlags]);
        moved |= to ^ node[k];
        node[k] = to;
      }
      if (moved == 0) break;
    }
    for (size_t k = 0; k < n; ++k) {
      const uint32_t leaf = trees[k].first_leaf + steps[node[k]].leaf;
      if (trees[k].target >= 0 && seen == nullptr)
        acc[trees[k].target] += t.weights[leaf];
      else
        vote(t, leaf, acc, seen, 1);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(block);
HWY_EXPORT(row);

void trees_block(const Trees& t, const float* xt, int64_t rows, double* acc, uint8_t* seen) {
  HWY_DYNAMIC_DISPATCH(block)(t, xt, rows, acc, seen);
}
void trees_row(const Trees& t, const float* x, double* acc, uint8_t* seen) {
  HWY_DYNAMIC_DISPATCH(row)(t, x, acc, seen);
}

}  // namespace onnxtool::simd
#endif
