// SPDX-License-Identifier: Apache-2.0
// Internal to exec/cpu/simd: cuts a range of a broadcast plan into flat segments in which every
// operand is either contiguous or one repeated element. Rows shorter than a vector's worth of work
// are handled many at a time, their broadcast operands expanded into a block on the stack.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "exec/cpu/simd/nd.h"

namespace onnxtool::simd {

inline constexpr int64_t kWalkBlock = 512;  // elements of an expanded segment
inline constexpr int64_t kShortRow = 128;   // rows below this are expanded
inline constexpr int64_t kMaxElemSize = 8;
inline constexpr int64_t kAnyBlock = int64_t{1} << 61;  // as long as they come

struct OperandView {
  const char* ptr = nullptr;
  bool scalar = false;  // one element stands for all
};

// Operand offsets (elements) at one row, moved along without divisions.
class RowCursor {
 public:
  RowCursor(const NdPlan& plan, int64_t row);
  void next();
  int64_t offset(int operand) const { return offset_[operand]; }

 private:
  const NdPlan& plan_;
  int64_t index_[kMaxRank];
  int64_t offset_[kMaxOperands];
};

enum class OperandKind : uint8_t {
  kFlat,      // laid out as the output
  kConstant,  // one element for the whole output
  kRow,       // the same row everywhere
  kOther,
};
OperandKind operand_kind(const NdPlan& plan, int operand);

// dst[0..rows*cols) = operand's rows from the cursor on, elem bytes each; the cursor moves along.
struct Expand {
  const char* base;
  char* dst;
  int elem;
  int operand;
};
void expand_rows(const NdPlan& plan, RowCursor& cursor, int64_t rows, const Expand* list,
                 int count);

// Calls f(first output element, n, views) for consecutive segments of [begin, end). base[i] and
// elem[i]: operand i's data and element size. block: the longest segment wanted.
// kMax: compile-time bound on plan.operands (size of the expansion buffer).
template <int kMax, class F>
void nd_walk(const NdPlan& plan, const void* const* base, const int* elem, int64_t begin,
             int64_t end, int64_t block, F&& f) {
  if (begin >= end) return;
  OperandView views[kMax];
  OperandKind kind[kMax];
  bool all_flat = true;
  for (int i = 0; i < plan.operands; ++i) {
    kind[i] = operand_kind(plan, i);
    all_flat = all_flat && (kind[i] == OperandKind::kFlat || kind[i] == OperandKind::kConstant);
    views[i].ptr = static_cast<const char*>(base[i]);
    views[i].scalar = kind[i] == OperandKind::kConstant;
  }
  const auto at = [&](int i, int64_t element) {
    return static_cast<const char*>(base[i]) + element * elem[i];
  };
  if (all_flat) {
    for (int64_t p = begin; p < end; p += block) {
      for (int i = 0; i < plan.operands; ++i)
        if (!views[i].scalar) views[i].ptr = at(i, p);
      f(p, std::min(block, end - p), static_cast<const OperandView*>(views));
    }
    return;
  }
  RowCursor cursor(plan, begin / plan.cols);
  const auto row_part = [&](int64_t first, int64_t n) {  // inside the cursor's row
    const int64_t row_start = first / plan.cols * plan.cols;
    for (int64_t p = first; p < first + n; p += block) {
      for (int i = 0; i < plan.operands; ++i) {
        views[i].scalar = plan.inner[i] == 0;
        views[i].ptr = at(i, cursor.offset(i) + (views[i].scalar ? 0 : p - row_start));
      }
      f(p, std::min(block, first + n - p), static_cast<const OperandView*>(views));
    }
  };
  int64_t p = begin;
  if (p % plan.cols != 0) {
    const int64_t n = std::min(end, (p / plan.cols + 1) * plan.cols) - p;
    row_part(p, n);
    p += n;
    cursor.next();
  }
  if (plan.cols < kShortRow) {
    alignas(64) char buf[kMax][kWalkBlock * kMaxElemSize];
    const int64_t per_block = std::min(block, kWalkBlock) / plan.cols;
    int64_t filled_rows = 0;  // rows of kRow operands already expanded
    while (end - p >= plan.cols) {
      const int64_t rows = std::min(per_block, (end - p) / plan.cols);
      Expand list[kMax];
      int count = 0;
      for (int i = 0; i < plan.operands; ++i) {
        views[i].scalar = kind[i] == OperandKind::kConstant;
        if (kind[i] == OperandKind::kFlat) views[i].ptr = at(i, p);
        if (kind[i] == OperandKind::kConstant) views[i].ptr = at(i, 0);
        if (kind[i] != OperandKind::kRow && kind[i] != OperandKind::kOther) continue;
        views[i].ptr = buf[i];
        if (kind[i] == OperandKind::kRow && filled_rows >= rows) continue;
        list[count++] = {static_cast<const char*>(base[i]), buf[i], elem[i], i};
      }
      filled_rows = std::max(filled_rows, rows);
      expand_rows(plan, cursor, rows, list, count);
      f(p, rows * plan.cols, static_cast<const OperandView*>(views));
      p += rows * plan.cols;
    }
  } else {
    while (end - p >= plan.cols) {
      row_part(p, plan.cols);
      p += plan.cols;
      cursor.next();
    }
  }
  if (p < end) row_part(p, end - p);
}

}  // namespace onnxtool::simd
