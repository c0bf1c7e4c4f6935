// SPDX-License-Identifier: Apache-2.0
// Data movement without arithmetic: transpose, strided copies (slice, concat, split, expand, tile),
// pad, gather. Elements are 1, 2, 4, 8 or 16 bytes and moved as bits. Plans are plain data made
// once per shape; running them allocates nothing. Source and destination never overlap.
#pragma once

#include <cstdint>
#include <span>

#include "exec/cpu/simd/nd.h"

namespace onnxtool::simd {

// A copy between two strided views of one shape, dims merged and ordered. The same plan runs
// transposes (a blocked two-dimensional core where the inner strides differ), slices with any step,
// expand (source stride 0), concat and split (offset pointers).
struct CopyPlan {
  int rank = 0;  // outer dims
  int elem_size = 4;
  enum Kind : uint8_t { kRun, kFill, kStrided, kTranspose } kind = kRun;
  int64_t dims[kMaxRank] = {};  // outer dims, slowest first
  int64_t src[kMaxRank] = {};   // strides of the outer dims, elements
  int64_t dst[kMaxRank] = {};
  int64_t cols = 1, src_col = 1, dst_col = 1;  // inner loop; kTranspose: dense in dst
  int64_t rows = 1, dst_row = 0;               // kTranspose: second inner loop, dense in src
  int64_t block = 1, blocks = 1;               // an item is so many cols (kTranspose: rows)
  int64_t items = 0;                           // units of work for copy_run
  int64_t item_bytes = 0;                      // bytes written by one item, about
};

// Plans dst[i * dst_strides] = src[i * src_strides] over dims (elements). False where elem_size is
// not one of 1, 2, 4, 8, 16 or more than kMaxRank outer dims remain after merging.
bool plan_copy(std::span<const int64_t> dims, std::span<const int64_t> src_strides,
               std::span<const int64_t> dst_strides, int elem_size, CopyPlan* plan);

// Plans y = transpose(x, perm) for dense x of shape dims (perm as in ONNX Transpose).
bool plan_transpose(std::span<const int64_t> dims, std::span<const int64_t> perm, int elem_size,
                    CopyPlan* plan);

// Runs items [begin, end) of plan.items.
void copy_run(const CopyPlan& plan, const void* src, void* dst, int64_t begin, int64_t end);

// Batched [rows, cols] -> [cols, rows] of dense matrices: the NCHW <-> NHWC core.
// NCHW -> NHWC: batch N, rows C, cols H*W. NHWC -> NCHW: batch N, rows H*W, cols C.
void transpose_2d(const void* src, void* dst, int64_t rows, int64_t cols, int elem_size,
                  int64_t batch0, int64_t batch1);

// Pad. Output rows [begin, end) of plan.rows; negative pads crop.
enum class PadMode : uint8_t { kConstant, kEdge, kReflect, kWrap };
struct PadPlan {
  int rank = 0;  // outer dims
  int elem_size = 4;
  PadMode mode = PadMode::kConstant;
  int64_t in_dims[kMaxRank] = {}, out_dims[kMaxRank] = {}, before[kMaxRank] = {};
  int64_t in_cols = 1, out_cols = 1, before_cols = 0;
  int64_t rows = 1;
};
// False where elem_size is unsupported, rank > kMaxRank after merging, an output extent would be
// negative, or mode repeats and an axis is empty or cropped at one end and padded at the other.
bool plan_pad(std::span<const int64_t> in_dims, std::span<const int64_t> before,
              std::span<const int64_t> after, PadMode mode, int elem_size, PadPlan* plan);
// value: pointer to one element (kConstant), else unused.
void pad_run(const PadPlan& plan, const void* src, void* dst, const void* value, int64_t begin,
             int64_t end);

// Gather along an axis: src [outer, axis, run_bytes], dst [outer, count, run_bytes]; output rows
// [begin, end) of outer * count. Negative indices count from the end. Returns the number of indices
// outside [-axis, axis); their rows are zero-filled.
int64_t gather_i32(const void* src, const int32_t* idx, void* dst, int64_t axis, int64_t count,
                   int64_t run_bytes, int64_t begin, int64_t end);
int64_t gather_i64(const void* src, const int64_t* idx, void* dst, int64_t axis, int64_t count,
                   int64_t run_bytes, int64_t begin, int64_t end);

// dst[0..n) = the element at value.
void fill(void* dst, const void* value, int elem_size, int64_t n);

}  // namespace onnxtool::simd
