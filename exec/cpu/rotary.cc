// SPDX-License-Identifier: Apache-2.0
// RotaryEmbedding of ai.onnx and of com.microsoft, fp32 (RoFormer, arXiv 2104.09864).
#include "exec/cpu/rotary.h"

#include <atomic>

#include "exec/cpu/util.h"
#include "exec/plan/rotation.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace cpu {
namespace {

const char* form_of(const StepInfo& s, Rotation* f) {
  if (const char* why = plan_rotation(s, f)) return why;
  const bool floats =
      is_f32(s.in[0]) && is_f32(s.out[0]) && is_f32(s.in[f->cos]) && is_f32(s.in[f->sin]);
  return floats ? nullptr : "not float";
}

const char* accept(const StepInfo& s) {
  Rotation f;
  return form_of(s, &f);
}

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Rotation f;
  if (const char* why = form_of(s, &f)) return unsupported(why);
  return prepared([f](const RunArgs& a) -> Status {
    std::atomic<bool> failed{false};
    std::atomic<int64_t> bad{0};
    const double ns = 0.7 * static_cast<double>(f.heads * f.head);
    parallel_for(f.batch * f.len, grain_for(ns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / f.len, l = i % f.len;
        int64_t row = i;
        if (f.by_id) {
          row = in<int64_t>(a, f.ids)[f.one_id ? 0 : i];
          if (f.by_start && row >= 0 && row < f.rows) row += l;
        }
        if (row < 0 || row >= f.rows) {
          bad = row;
          failed = true;
          return;
        }
        const float* c = in<float>(a, f.cos) + row * f.half;
        const float* n = in<float>(a, f.sin) + row * f.half;
        for (int64_t h = 0; h < f.heads; ++h) {
          const int64_t at =
              (f.packed ? (i * f.heads + h) : ((b * f.heads + h) * f.len + l)) * f.head;
          const float* x = in<float>(a, 0) + at;
          float* y = out<float>(a) + at;
          rotate_head(x, y, c, n, f.half, f.head, f.interleaved);
        }
      }
    });
    if (failed)
      return invalid(format("position {} is outside of the tables of {} rows", bad.load(), f.rows));
    return ok();
  });
}

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(rotary, {"rotary", "RotaryEmbedding com.microsoft.RotaryEmbedding", 30,
                              cpu::accept, cpu::prepare})
