// SPDX-License-Identifier: Apache-2.0
// Broadcast plans (nd.h) and the walk over them (nd_walk.h).
#include "exec/cpu/simd/nd.h"

#include "exec/cpu/simd/nd_walk.h"

namespace onnxtool::simd {

namespace {

// Dims collected from the innermost outwards; a dim joins the one below where every operand steps
// through both as through one.
struct Merger {
  int operands = 0;
  int rank = 0;
  bool overflow = false;
  int64_t dims[kMaxRank + 1];
  int64_t stride[kMaxOperands][kMaxRank + 1];

  void push(int64_t extent, const int64_t* strides) {
    if (extent == 1) return;
    if (rank > 0) {
      bool joins = true;
      for (int i = 0; i < operands; ++i)
        joins = joins && strides[i] == stride[i][rank - 1] * dims[rank - 1];
      if (joins) {
        dims[rank - 1] *= extent;
        return;
      }
    }
    if (rank == kMaxRank + 1) {
      overflow = true;
      return;
    }
    dims[rank] = extent;
    for (int i = 0; i < operands; ++i) stride[i][rank] = strides[i];
    ++rank;
  }

  bool finish(NdPlan* plan) const {
    if (overflow) return false;
    *plan = NdPlan();
    plan->operands = operands;
    if (rank == 0) return true;
    plan->cols = dims[0];
    for (int i = 0; i < operands; ++i) {
      if (stride[i][0] != 0 && stride[i][0] != 1) return false;
      plan->inner[i] = static_cast<uint8_t>(stride[i][0]);
    }
    plan->rank = rank - 1;
    for (int d = 0; d < plan->rank; ++d) {
      plan->dims[d] = dims[rank - 1 - d];
      plan->rows *= plan->dims[d];
      for (int i = 0; i < operands; ++i) plan->stride[i][d] = stride[i][rank - 1 - d];
    }
    return true;
  }
};

}  // namespace

bool plan_broadcast(std::span<const std::span<const int64_t>> shapes, std::span<const int64_t> out,
                    NdPlan* plan) {
  if (shapes.size() > static_cast<size_t>(kMaxOperands)) return false;
  Merger merger;
  merger.operands = static_cast<int>(shapes.size());
  int64_t step[kMaxOperands];
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i].size() > out.size()) return false;
    step[i] = 1;
  }
  for (size_t d = 0; d < out.size(); ++d) {
    const int64_t extent = out[out.size() - 1 - d];
    int64_t strides[kMaxOperands];
    for (size_t i = 0; i < shapes.size(); ++i) {
      const int64_t own = d < shapes[i].size() ? shapes[i][shapes[i].size() - 1 - d] : 1;
      if (own != 1 && own != extent) return false;
      strides[i] = own == 1 ? 0 : step[i];
      step[i] *= own;
    }
    merger.push(extent, strides);
  }
  return merger.finish(plan);
}

bool plan_strided(std::span<const std::span<const int64_t>> strides, std::span<const int64_t> out,
                  NdPlan* plan) {
  if (strides.size() > static_cast<size_t>(kMaxOperands)) return false;
  Merger merger;
  merger.operands = static_cast<int>(strides.size());
  for (const auto& s : strides)
    if (s.size() != out.size()) return false;
  for (size_t d = out.size(); d-- > 0;) {
    int64_t at[kMaxOperands];
    for (size_t i = 0; i < strides.size(); ++i) at[i] = strides[i][d];
    merger.push(out[d], at);
  }
  return merger.finish(plan);
}

NdPlan plan_flat(int operands, int64_t n) {
  NdPlan plan;
  plan.operands = operands;
  plan.cols = n;
  for (int i = 0; i < operands; ++i) plan.inner[i] = 1;
  return plan;
}

RowCursor::RowCursor(const NdPlan& plan, int64_t row) : plan_(plan), index_{}, offset_{} {
  for (int d = plan.rank - 1; d >= 0; --d) {
    index_[d] = row % plan.dims[d];
    row /= plan.dims[d];
    for (int i = 0; i < plan.operands; ++i) offset_[i] += index_[d] * plan.stride[i][d];
  }
}

void RowCursor::next() {
  for (int d = plan_.rank - 1; d >= 0; --d) {
    if (++index_[d] < plan_.dims[d]) {
      for (int i = 0; i < plan_.operands; ++i) offset_[i] += plan_.stride[i][d];
      return;
    }
    for (int i = 0; i < plan_.operands; ++i) offset_[i] -= (plan_.dims[d] - 1) * plan_.stride[i][d];
    index_[d] = 0;
  }
}

OperandKind operand_kind(const NdPlan& plan, int operand) {
  bool zero = true, flat = plan.inner[operand] == 1;
  int64_t dense = plan.cols;
  for (int d = plan.rank - 1; d >= 0; --d) {
    zero = zero && plan.stride[operand][d] == 0;
    flat = flat && plan.stride[operand][d] == dense;
    dense *= plan.dims[d];
  }
  if (flat) return OperandKind::kFlat;
  if (!zero) return OperandKind::kOther;
  return plan.inner[operand] == 0 ? OperandKind::kConstant : OperandKind::kRow;
}

namespace {

template <size_t kSize>
void repeat(const char* src, char* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(dst + i * kSize, src, kSize);
}

}  // namespace

void expand_rows(const NdPlan& plan, RowCursor& cursor, int64_t rows, const Expand* list,
                 int count) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int k = 0; k < count; ++k) {
      const Expand& e = list[k];
      const char* src = e.base + cursor.offset(e.operand) * e.elem;
      char* dst = e.dst + r * plan.cols * e.elem;
      if (plan.inner[e.operand] != 0) {
        std::memcpy(dst, src, static_cast<size_t>(plan.cols * e.elem));
        continue;
      }
      switch (e.elem) {
        case 1: repeat<1>(src, dst, plan.cols); break;
        case 2: repeat<2>(src, dst, plan.cols); break;
        case 4: repeat<4>(src, dst, plan.cols); break;
        default: repeat<8>(src, dst, plan.cols); break;
      }
    }
    cursor.next();
  }
}

}  // namespace onnxtool::simd
