// SPDX-License-Identifier: Apache-2.0
// Gather and Pad on the byte-moving kernels.
#include <atomic>
#include <cstring>

#include "exec/cpu/copy_step.h"
#include "exec/plan/copies.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* accept_gather(const StepInfo& s) {
  if (s.in.size() < 2 || !s.post.empty() || !all_plain(s)) return "layouts";
  if (!movable(s.in[0].dtype) || s.in[0].dtype != s.out[0].dtype) return "the element type";
  if (s.in[1].dtype != DType::kInt32 && s.in[1].dtype != DType::kInt64) return "the index type";
  return normalize_axis(s.attr_int("axis", 0), s.in[0].rank()) ? nullptr : "the axis";
}

Result<std::unique_ptr<Prepared>> prepare_gather(const StepInfo& s, PrepareContext&) {
  auto axis = static_cast<size_t>(*normalize_axis(s.attr_int("axis", 0), s.in[0].rank()));
  Lanes l = lanes(s.in[0].dims, static_cast<int64_t>(axis), static_cast<int64_t>(axis));
  int64_t count = s.in[1].size(), run = l.inner * element_size(s.in[0].dtype);
  bool wide = s.in[1].dtype == DType::kInt64;
  int64_t rows = l.outer * count, grain = grain_for(5 + 0.1 * static_cast<double>(run));
  auto p = prepared([=](const RunArgs& a) -> Status {
    std::atomic<int64_t> bad{0};
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      int64_t n =
          wide
              ? simd::gather_i64(a.in[0], in<int64_t>(a, 1), a.out[0], l.n, count, run, begin, end)
              : simd::gather_i32(a.in[0], in<int32_t>(a, 1), a.out[0], l.n, count, run, begin, end);
      if (n) bad += n;
    });
    if (bad)
      return invalid(
          format("{} indices are outside of axis {} with extent {}", bad.load(), axis, l.n));
    return ok();
  });
  p->any_alignment = 1;
  return p;
}

std::optional<simd::PadPlan> pad_plan(const StepInfo& s) {
  auto padding = step_padding(s);
  if (!padding) return std::nullopt;
  static constexpr simd::PadMode kModes[] = {simd::PadMode::kConstant, simd::PadMode::kEdge,
                                             simd::PadMode::kReflect, simd::PadMode::kWrap};
  const simd::PadMode mode = kModes[static_cast<size_t>(padding->mode)];
  std::vector<int64_t>&before = padding->before, &after = padding->after;
  if (s.in[0].layout != s.out[0].layout && !all_plain(s)) return std::nullopt;
  if (!all_plain(s)) {  // channels-last: the same, in memory order
    std::rotate(before.begin() + 1, before.begin() + 2, before.end());
    std::rotate(after.begin() + 1, after.begin() + 2, after.end());
  }
  Dims dims = all_plain(s) ? s.in[0].dims : physical_dims(s.in[0].dims, Layout::kChannelsLast);
  simd::PadPlan plan;
  if (!simd::plan_pad(dims, before, after, mode, element_size(s.in[0].dtype), &plan))
    return std::nullopt;
  return plan;
}

const char* accept_pad(const StepInfo& s) {
  if (!s.post.empty() || !movable(s.in[0].dtype) || s.in[0].dtype != s.out[0].dtype)
    return "the element type";
  if (s.version() < 11 && s.attr_float("value", 0) != 0 && s.in[0].dtype != DType::kFloat)
    return "an old form";
  return pad_plan(s) ? nullptr : "pads or layouts";
}

Result<std::unique_ptr<Prepared>> prepare_pad(const StepInfo& s, PrepareContext&) {
  simd::PadPlan plan = *pad_plan(s);
  struct Value {
    alignas(16) std::byte bytes[16] = {};
  } value;
  if (s.version() < 11 && s.in[0].dtype == DType::kFloat) {
    float v = s.attr_float("value", 0);
    std::memcpy(value.bytes, &v, sizeof(v));
  }
  bool given = s.has(2);
  int64_t grain = grain_for(3 + 0.1 * static_cast<double>(plan.out_cols * plan.elem_size));
  return prepared([=](const RunArgs& a) {
    const void* v = given ? a.in[2] : value.bytes;
    parallel_for(plan.rows, grain, [&](int64_t begin, int64_t end) {
      simd::pad_run(plan, a.in[0], a.out[0], v, begin, end);
    });
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(gather, {"gather", "Gather", 20, cpu::accept_gather, cpu::prepare_gather},
                     {"pad", "Pad", 20, cpu::accept_pad, cpu::prepare_pad})
