// SPDX-License-Identifier: Apache-2.0
// The instruction set in use (simd.h).
#include "exec/cpu/simd/simd.h"

#include "exec/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exec/cpu/simd/simd.cc"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace onnxtool::simd {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

int lanes() { return static_cast<int>(hn::Lanes(hn::ScalableTag<float>())); }
const char* name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace onnxtool::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onnxtool::simd {

HWY_EXPORT(lanes);
HWY_EXPORT(name);

const char* target_name() { return HWY_DYNAMIC_DISPATCH(name)(); }
int vector_floats() { return HWY_DYNAMIC_DISPATCH(lanes)(); }

bool use_target_for_test(int nth) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t all = hwy::SupportedTargets() & HWY_TARGETS;
  int64_t left = all;
  for (int i = 0; i < nth && left != 0; ++i) left &= left - 1;  // lower bits are better targets
  const bool found = left != 0;
  hwy::SetSupportedTargetsForTest(found ? (left & -left) : 0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return found;
}

}  // namespace onnxtool::simd
#endif
