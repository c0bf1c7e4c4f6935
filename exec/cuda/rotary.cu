// SPDX-License-Identifier: Apache-2.0
// RotaryEmbedding (RoFormer, arXiv 2104.09864): a thread turns one pair of elements, or copies one
// that is not turned. A position outside of the tables is reported when the host waits.
#include "exec/cuda/gpu.h"
#include "exec/cuda/types.h"
#include "exec/plan/rotation.h"

namespace onnxtool {
namespace cuda {
namespace {

struct Tables {
  const void *cos, *sin;
  const int64_t* ids;
};

__global__ void rotate(Rotation f, DType type, DType table_type, const void* x, Tables t, void* y,
                       uint32_t* bad) {
  const int64_t each = f.head - f.half;  // threads of a head
  GRID_LOOP(i, f.batch * f.len * f.heads * each) {
    const int64_t k = i % each, h = i / each % f.heads, l = i / each / f.heads % f.len,
                  b = i / each / f.heads / f.len;
    const int64_t at =
        (f.packed ? (b * f.len + l) * f.heads + h : (b * f.heads + h) * f.len + l) * f.head;
    if (k >= f.half) {
      const int64_t e = at + k + f.half;
      store_float(y, e, type, load_as_float(x, e, type));
      continue;
    }
    int64_t row = b * f.len + l;
    if (f.by_id) {
      row = t.ids[f.one_id ? 0 : row];
      if (f.by_start && row >= 0 && row < f.rows) row += l;
      if (row < 0 || row >= f.rows) {
        *bad = 1;
        row = 0;
      }
    }
    const float c = load_as_float(t.cos, row * f.half + k, table_type);
    const float s = load_as_float(t.sin, row * f.half + k, table_type);
    const int64_t first = at + (f.interleaved ? 2 * k : k),
                  second = first + (f.interleaved ? 1 : f.half);
    const float p = load_as_float(x, first, type), q = load_as_float(x, second, type);
    store_float(y, first, type, c * p - s * q);
    store_float(y, second, type, s * p + c * q);
  }
}

const char* build(const StepInfo& s, Rotation* f) {
  if (auto* why = plan_rotation(s, f)) return why;
  if (!is_float_type(s.in[0].dtype) || s.out[0].dtype != s.in[0].dtype) return "the element type";
  if (!is_float_type(s.in[f->cos].dtype) || s.in[f->sin].dtype != s.in[f->cos].dtype)
    return "the tables' type";
  return nullptr;
}

const char* accept(const StepInfo& s) {
  Rotation f;
  return build(s, &f);
}
Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext&) {
  Rotation f;
  if (auto* why = build(s, &f)) return unsupported(why);
  const DType type = s.in[0].dtype, table_type = s.in[f.cos].dtype;
  return prepared([=](const RunArgs& a) {
    const Tables t = {a.in[f.cos], a.in[f.sin], f.by_id ? in<int64_t>(a, f.ids) : nullptr};
    return launch(rotate, blocks_for(f.batch * f.len * f.heads * (f.head - f.half)), kThreads, a, f,
                  type, table_type, a.in[0], t, a.out[0], bad_index(a));
  });
}

}  // namespace
}  // namespace cuda
}  // namespace onnxtool

ONNXTOOL_CUDA_KERNELS(rotary, {.name = "rotary",
                               .ops = "RotaryEmbedding com.microsoft.RotaryEmbedding",
                               .rank = 30,
                               .accept = cuda::accept,
                               .prepare = cuda::prepare,
                               .device = true})
