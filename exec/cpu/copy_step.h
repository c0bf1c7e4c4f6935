// SPDX-License-Identifier: Apache-2.0
// Strided copies as parts of prepared steps.
#pragma once
#include "exec/cpu/simd/copy.h"
#include "exec/cpu/util.h"

namespace onnxtool::cpu {

struct Copy {
  simd::CopyPlan plan;
  int64_t src_offset = 0, dst_offset = 0;  // bytes
  size_t in = 0, out = 0;                  // operands of the step
};

inline void run_copy(const Copy& c, const void* src, void* dst) {
  const auto* from = static_cast<const std::byte*>(src) + c.src_offset;
  auto* to = static_cast<std::byte*>(dst) + c.dst_offset;
  int64_t grain = grain_for(0.15 * static_cast<double>(c.plan.item_bytes) + 2);
  parallel_for(c.plan.items, grain,
               [&](int64_t begin, int64_t end) { simd::copy_run(c.plan, from, to, begin, end); });
}

inline std::unique_ptr<Prepared> prepared_copies(std::vector<Copy> copies) {
  return prepared([copies = std::move(copies)](const RunArgs& a) {
    for (const Copy& c : copies) run_copy(c, a.in[c.in], a.out[c.out]);
  });
}

}  // namespace onnxtool::cpu
