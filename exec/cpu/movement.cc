// SPDX-License-Identifier: Apache-2.0
// Data movement that amounts to strided copies.
#include "exec/cpu/copy_step.h"
#include "exec/plan/copies.h"

namespace onnxtool {
namespace cpu {
namespace {

std::optional<std::vector<Copy>> make(const StepInfo& s) {
  auto planned = step_copies(s);
  if (!planned) return std::nullopt;
  std::vector<Copy> copies;
  const int size = element_size(s.in[0].dtype);
  for (const StridedCopy& p : *planned) {
    Copy c;
    if (!simd::plan_copy(p.dims, p.src, p.dst, size, &c.plan)) return std::nullopt;
    c.src_offset = p.src_offset * size;
    c.dst_offset = p.dst_offset * size;
    c.in = p.in;
    c.out = p.out;
    copies.push_back(c);
  }
  return copies;
}

const char* accept(const StepInfo& s) {
  return make(s) ? nullptr : "shapes, types or a parameter known only while running";
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  auto copies = make(s);
  if (!copies) return unsupported("the copy cannot be planned");
  return prepared_copies(std::move(*copies));
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(movement, {"copy", kCopyOps, 20, cpu::accept, cpu::prepare})
